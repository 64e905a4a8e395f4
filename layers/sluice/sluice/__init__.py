"""Sluice: keeps the latency promise of an SQS queue with the fewest workers.

Every entry point reads observe -> decide -> act -> report. `core` decides and does not depend on AWS, `aws`
observes and acts, `usecases` combines them, and `wiring` alone sets up a process.
"""
