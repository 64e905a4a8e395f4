"""The report of `sluice demo`."""
