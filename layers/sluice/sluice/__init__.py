"""Sluice: keeps the latency promise of an SQS queue with the fewest workers.

Every entry point reads observe -> decide -> act -> report. `core` decides and knows no AWS, `aws` observes
and acts, `usecases` joins them, and only `wiring` knows how a process is set up.
"""
