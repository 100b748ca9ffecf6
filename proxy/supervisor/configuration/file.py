"""Writing the configuration file: whole or not at all, and what was there is kept beside it.

As files are replaced by those who care for them: a draft beside it is made durable and renamed, so that no reader ever
sees half of it. A link is followed, so that what it leads to is replaced and not the link.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from proxy.supervisor.configuration.watch import Stamp, stamp_of

_MODE = 0o600


def replace(path: Path, text: bytes) -> Stamp:
    """Put `text` in the place of what is there, under the same mode; the stamp the file has by it. Raises `OSError`.

    What was there, in force or not, is kept as `FILE.previous`.
    """
    target = path.resolve()
    try:
        old, status = target.read_bytes(), target.stat()
    except FileNotFoundError:
        return put(target, text)
    put(previous(target), old, status)
    return put(target, text, status)


def previous(path: Path) -> Path:
    """Where what was replaced is kept."""
    return path.with_name(path.name + ".previous")


def put(target: Path, content: bytes, like: os.stat_result | None = None) -> Stamp:
    """Have a file hold this, with the mode and owner of another; else its owner's alone. Raises `OSError`."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                with contextlib.suppress(PermissionError):  # only root may give files away
                    os.fchown(descriptor, like.st_uid, like.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            stamp = stamp_of(os.fstat(descriptor))
        os.rename(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    _sync(target.parent)
    return stamp


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
