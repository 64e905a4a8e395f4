"""Reads what `sluice cost` bills: what the control plane and the workloads have deployed and used."""
