"""Base64url without padding (RFC 7515 section 2), one spelling for each value: no stray bits, one alphabet. Pure."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


def decode(text: bytes) -> bytes:
    """Raises `ValueError` for anything but the one way to write these bytes."""
    found = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if encode(found) != text:
        raise ValueError("not base64url")
    return found


def encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
