"""What both reports draw with: canvas, colours, places for labels."""
