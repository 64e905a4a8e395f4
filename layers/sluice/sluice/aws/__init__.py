"""The world: adapters that observe and act through boto3 and keep the Protocols of `ports`."""
