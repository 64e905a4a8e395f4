"""What arrives and how long it takes: traces, generators, service times."""
