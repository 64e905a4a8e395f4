"""Adapters that implement the Protocols of `ports` through boto3."""
