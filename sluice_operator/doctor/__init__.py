"""What `sluice doctor` reads of workloads and the control plane, and examines by its checks."""
