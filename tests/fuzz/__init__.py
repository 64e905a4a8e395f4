"""Inputs that nobody thought of, for everything that reads what others wrote: `python -m tests.fuzz`."""
