"""What a worker decides: which queue next, how many pollers and slots, what follows a failure. Pure."""
