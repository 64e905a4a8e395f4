"""The decisions, pure: no AWS, environment, clock, randomness or logging; `now` is always an argument."""
