"""Reading a file that the configuration names: bounded, and with one kind of error."""

from pathlib import Path


class Unreadable(Exception):
    """A file that gives nothing; the message says why, without the file's name."""


def read(path: Path | str, most: int) -> bytes:
    """The whole file. Raises `Unreadable`, also for one of more than `most` bytes."""
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or type(error).__name__})") from None
    except ValueError:  # a NUL in the name
        raise Unreadable("is not a file's name") from None
    if len(content) > most:
        raise Unreadable(f"has more than {most} bytes")
    return content
