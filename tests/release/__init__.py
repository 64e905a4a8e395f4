"""What a release consists of, and that building it twice makes the same bytes."""
