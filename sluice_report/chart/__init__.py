"""The drawing base of both reports: canvas, colours, scales, label placement and rendering."""
