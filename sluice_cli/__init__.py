"""The operator's command: it renders what the layer decides and the simulator plays, and decides nothing."""
