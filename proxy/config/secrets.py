"""Secrets by reference: read when they are needed, and never shown."""

import os
import re

from proxy.config.files import Unreadable, read
from proxy.config.structs import SecretRef

_MOST = 64 << 10
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


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
    """A reference that leads to no secret; the message says where it points, and never what is there."""


def resolve(ref: SecretRef) -> Secret:
    """What the reference stands for, without white space around it. Raises `SecretMissing`."""
    if (ref.env is None) == (ref.file is None):
        raise SecretMissing("a secret needs exactly one of env and file")
    if ref.env is not None:
        return Secret(_checked(os.environ.get(ref.env, ""), _variable(ref.env)))
    assert ref.file is not None
    try:
        content = read(ref.file, _MOST)
    except Unreadable as error:
        raise SecretMissing(f"{ref.file} {error}") from None
    return Secret(_checked(content.decode("utf-8", "replace"), ref.file))


def _variable(name: str) -> str:
    """How to speak of an environment variable: one whose name is unusual may be a secret in the wrong place."""
    return f"the environment variable {name}" if _VARIABLE.fullmatch(name) else "the environment variable it names"


def _checked(text: str, where: str) -> str:
    """Every use is in a header or a form, where one printable line is all there is room for."""
    value = text.strip()
    if not value:
        raise SecretMissing(f"{where} is not set or empty")
    if not (value.isascii() and value.isprintable()):
        raise SecretMissing(f"{where} holds more than one line of visible ASCII characters")
    return value
