"""One workload, message by message, on a virtual clock."""
