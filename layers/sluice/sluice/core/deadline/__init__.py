"""The deadline engine: the fewest instances with which every waiting message starts within its promise."""
