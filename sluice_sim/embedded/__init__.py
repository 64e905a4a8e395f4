"""An AWS account inside one process: moto for the API, our own alarms, scaling, Lambda and instances around it."""
