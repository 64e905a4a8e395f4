"""One workload, one trace, one policy: messages, instances and AWS's scaling on a virtual clock, exact."""
