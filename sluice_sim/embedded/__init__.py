"""An AWS account in one process: moto for the API, with our own alarms, scaling, Lambda and instances."""
