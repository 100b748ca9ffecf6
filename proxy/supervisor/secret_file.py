"""Secrets that the gateway makes for itself: 256 random bits in a file that its owner alone can read.

Made where there is none yet, whole or not at all: a process that is killed while it makes one leaves no half of it,
and of two that make one at the same time both use the same.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

_BYTES = 32
_SHORTEST = 32
_LONGEST = 4096


class SecretUnusable(Exception):
    """A secret that cannot be used; the message says where and what to do, and never holds the secret."""


def load_or_make(path: Path, what: str) -> str:
    """The secret kept at `path`; a new one if there is no such file. `what` names it. Raises `SecretUnusable`."""
    try:
        _make(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise SecretUnusable(f"{path}: the {what} cannot be made: {error.strerror}") from None
    return load(path, what)


def checked(secret: str, where: str, what: str) -> str:
    """The secret itself, if it is one that cannot be guessed. Raises `SecretUnusable`."""
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise SecretUnusable(f"{where}: the {what} must be one line of visible ASCII characters")
    if len(secret) < _SHORTEST:
        raise SecretUnusable(f"{where}: the {what} must have at least {_SHORTEST} characters, it has {len(secret)}")
    return secret


def _make(path: Path) -> None:
    """Raises `FileExistsError` if there is one, also where it is a link to nowhere."""
    if os.path.lexists(path):
        raise FileExistsError
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_BYTES) + "\n")
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)  # where a rename would replace what another process has made meanwhile
        _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: Path, what: str) -> str:
    """The secret kept at `path`. Raises `SecretUnusable`, also if there is none."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise SecretUnusable(f"{path}: the {what} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise SecretUnusable(f"{path}: the {what} must be a regular file")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretUnusable(
            f"{path}: the {what} can be reached by others (mode {stat.S_IMODE(mode):04o}); chmod 600 it"
        )
    if len(content) > _LONGEST:
        raise SecretUnusable(f"{path}: the {what} is longer than {_LONGEST} bytes")
    return checked(content.decode("ascii", "replace").strip(), str(path), what)
