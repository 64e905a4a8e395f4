"""Workers are ended at random while SQS fails at random: their invariants must still hold.

`python -m tests.worker_chaos` runs every scenario with real processes of the worker and its real AWS client;
the tests here run a small share of that, and show that each violated invariant is detected.
"""
