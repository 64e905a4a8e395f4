"""The workload document in SSM: its fields, its versions, and the problems in one."""
