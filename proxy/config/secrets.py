"""Secrets by reference: read when they are needed, and never shown."""

import os
from pathlib import Path

from proxy.config.structs import SecretRef


class Secret:
    """A value that no log, error or representation shows. `reveal` is for the one place that uses it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(…)"

    def reveal(self) -> str:
        return self._value


class SecretMissing(Exception):
    """A reference that leads nowhere; the message says where it points."""


def resolve(ref: SecretRef) -> Secret:
    """What the reference stands for, without white space around it. Raises `SecretMissing`."""
    if (ref.env is None) == (ref.file is None):
        raise SecretMissing("a secret needs exactly one of 'env' and 'file'")
    if ref.env is not None:
        value = os.environ.get(ref.env, "").strip()
        if not value:
            raise SecretMissing(f"the environment variable {ref.env} is not set")
        return Secret(value)
    assert ref.file is not None
    try:
        value = Path(ref.file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretMissing(f"{ref.file} cannot be read ({getattr(error, 'strerror', 'not UTF-8')})") from None
    if not value:
        raise SecretMissing(f"{ref.file} is empty")
    return Secret(value)
