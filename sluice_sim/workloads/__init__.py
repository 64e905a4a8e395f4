"""The load of a simulation: traces of arrivals, their generators, and service times."""
