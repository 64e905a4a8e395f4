"""An AWS account in one process: moto's API, with our own alarms, scaling, Lambda and instances."""
