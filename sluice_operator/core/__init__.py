"""What follows from the readings: pure, `now` is an argument."""
