"""Workers ended at random over an SQS that fails at random: what they promise must hold all the same.

`python -m tests.worker_chaos` plays every scenario with real processes of the worker and its real AWS client;
the tests here play a small share of that, and show that each broken promise would be noticed.
"""
