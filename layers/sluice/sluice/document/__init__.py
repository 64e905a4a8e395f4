"""A workload's document in SSM: its fields, its versions, and what is wrong with one."""
