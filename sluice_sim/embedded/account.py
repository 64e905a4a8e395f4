"""The embedded account's name and place, and how its ARNs look."""

ACCOUNT_ID = "123456789012"
REGION = "eu-west-1"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "embedded",
    "AWS_SECRET_ACCESS_KEY": "embedded",
    "AWS_SESSION_TOKEN": "embedded",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials that open nothing: whatever escaped the embedded AWS would be refused by the real one."""


def arn(service: str, resource: str) -> str:
    """The ARN of a resource of this account."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{resource}"
