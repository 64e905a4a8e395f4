"""The worker's pure decisions: which queue is next, how many pollers and slots, what follows a failure."""
