"""The admin token: made at the first start, or given by whoever runs the gateway."""

from pathlib import Path

from proxy.supervisor import secret_file
from proxy.supervisor.secret_file import SecretUnusable as TokenError

__all__ = ["TokenError", "checked", "load_or_make"]

_WHAT = "admin token"


def load_or_make(path: Path) -> str:
    """The token kept at `path`; a new one if there is no such file. Raises `TokenError`."""
    return secret_file.load_or_make(path, _WHAT)


def checked(token: str, where: str) -> str:
    """The token itself, if it is one that cannot be guessed. Raises `TokenError`."""
    return secret_file.checked(token, where, _WHAT)
