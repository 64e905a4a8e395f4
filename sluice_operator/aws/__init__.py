"""Readers of what the control plane itself does not read, one file a service."""
