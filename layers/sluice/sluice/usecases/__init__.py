"""The entry points, one for each trigger, and the steps that they are made of."""
