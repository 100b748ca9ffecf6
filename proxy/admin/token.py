"""The admin token: 256 random bits in a file that its owner alone can read, made at the first start."""

import os
import secrets
import stat
from pathlib import Path

_BYTES = 32
_SHORTEST = 32
_LONGEST = 4096


class TokenError(Exception):
    """A token that cannot be used; the message says where and what to do, and never holds the token."""


def load_or_make(path: Path) -> str:
    """The token kept at `path`; a new one if there is no such file. Raises `TokenError`."""
    try:
        return _make(path)
    except FileExistsError:
        return _load(path)
    except OSError as error:
        raise TokenError(f"{path}: the admin token cannot be made: {error.strerror}") from None


def checked(token: str, where: str) -> str:
    """The token itself, if it is one that cannot be guessed. Raises `TokenError`."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise TokenError(f"{where}: the admin token must be one line of visible ASCII characters")
    if len(token) < _SHORTEST:
        raise TokenError(f"{where}: the admin token must have at least {_SHORTEST} characters, it has {len(token)}")
    return token


def _make(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        token = secrets.token_urlsafe(_BYTES)
        file.write(token + "\n")
        file.flush()
        os.fsync(descriptor)
    return token


def _load(path: Path) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise TokenError(f"{path}: the admin token cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise TokenError(f"{path}: the admin token must be a regular file")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TokenError(
            f"{path}: the admin token can be reached by others (mode {stat.S_IMODE(mode):04o}); chmod 600 it, "
            "or remove it to have a new one made"
        )
    if len(content) > _LONGEST:
        raise TokenError(f"{path}: the admin token is longer than {_LONGEST} bytes")
    return checked(content.decode("ascii", "replace").strip(), str(path))
