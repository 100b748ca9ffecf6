"""The configurations that were in force, newest last: few, bounded, and kept beside the state for the next start.

Each is the file as it was, under the number of its version, with what is known of it beside: `000007.toml` and
`000007.json`. It holds what the file holds: references to secrets, no secret. What files it names had in them is not
kept. A text that is in force again under another number, because a file that it names has changed, stays one entry.
"""

import contextlib
import hashlib
import logging
import re
from pathlib import Path

import msgspec

from proxy.admin.config import Version
from proxy.config.files import Unreadable, read
from proxy.supervisor.configuration.file import put

KEPT = 10
_META = 64 << 10
_TEXT = 8 << 20
_NAME = re.compile(r"[0-9]{6,15}\.json")

_log = logging.getLogger("penstock.supervisor")


class UnknownVersion(Exception):
    """There is no such version, or none any more."""


class History:
    """What is kept in `folder`. What cannot be read there is passed over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[tuple[Version, bytes]] = sorted(_read(folder), key=lambda kept: kept[0].version)[-KEPT:]

    def __repr__(self) -> str:
        return f"<History {len(self._kept)} versions>"

    @property
    def entries(self) -> tuple[Version, ...]:
        return tuple(entry for entry, _ in self._kept)

    def next_version(self, text: bytes) -> int:
        """The version a gateway starts with: it goes on counting, unless this is what was in force last."""
        if not self._kept:
            return 1
        newest, kept = self._kept[-1]
        return newest.version if kept == text else newest.version + 1

    def text(self, version: int) -> bytes:
        """Raises `UnknownVersion`."""
        for entry, text in self._kept:
            if entry.version == version:
                return text
        raise UnknownVersion(version)

    def before(self) -> int:
        """The version before the newest. Raises `UnknownVersion`."""
        if len(self._kept) < 2:
            raise UnknownVersion
        return self._kept[-2][0].version

    def keep(self, entry: Version, text: bytes) -> None:
        """A version is in force. Raises `OSError` if it is kept in memory alone."""
        gone: list[Version] = []
        if self._kept and self._kept[-1][1] == text:
            older = self._kept.pop()[0]
            if older.version == entry.version:
                entry = older
            else:
                gone.append(older)
                entry = msgspec.structs.replace(older, version=entry.version)
        self._kept.append((entry, text))
        gone += [older for older, _ in self._kept[:-KEPT]]
        del self._kept[:-KEPT]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(self._path(entry, "toml"), text)
        put(self._path(entry, "json"), msgspec.json.encode(entry))  # last: it is what makes the other count
        for older in gone:
            for suffix in ("json", "toml"):
                with contextlib.suppress(FileNotFoundError):
                    self._path(older, suffix).unlink()

    def _path(self, entry: Version, suffix: str) -> Path:
        return self._folder / f"{entry.version:06}.{suffix}"


def digest(text: bytes) -> str:
    return "sha256:" + hashlib.sha256(text).hexdigest()


def _read(folder: Path) -> list[tuple[Version, bytes]]:
    found = []
    paths = sorted(
        (path for path in folder.glob("*.json") if _NAME.fullmatch(path.name)), key=lambda path: int(path.stem)
    )
    for path in paths[-2 * KEPT :]:
        try:
            entry = msgspec.json.decode(read(path, _META), type=Version)
            text = read(path.with_suffix(".toml"), _TEXT)
        except (Unreadable, msgspec.DecodeError) as error:
            _log.warning("%s is no version of the configuration any more: %s", path, error)
            continue
        if digest(text) == entry.digest and path.stem == f"{entry.version:06}":
            found.append((entry, text))
        else:
            _log.warning("%s is not what it was when it was in force", path.with_suffix(".toml"))
    return found
