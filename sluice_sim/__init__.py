"""A simulated cloud on a virtual clock that runs the deployed handlers, alarms and policies.

The modules here are pure: templates, metric math, alarms, target tracking, the clock. `embedded` joins them
with moto into an AWS that lives in one process.
"""
