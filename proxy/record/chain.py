"""The chain that makes the audit log tell of its own tampering: every record is sealed together with the one before.

A sealed line ends with `prev`, the hash of the record before it, and `hash`, an HMAC-SHA256 over every byte of the line
up to there. So no line can be changed, removed, added or moved without the key, and what follows tells. What a chain
cannot tell, that its end or its beginning was cut off, the checkpoint tells: where the log begins and how far it has
got, under a MAC of the same key. It lies apart from the log, and is written anew after every append.

Who can write both files can set both back to an earlier state together. Only a copy elsewhere tells of that.

Pure, but for `CheckpointFile`.
"""

import hmac
import os
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

BEGINNING = "0" * 64
"""The `prev` of a chain's first record."""

_PREV = b',"prev":"'
_HASH = b'","hash":"'
_END = b'"}'
_HEX = 64
_SEAL = len(_PREV) + _HEX + len(_HASH) + _HEX + len(_END)
_DIGITS = frozenset(b"0123456789abcdef")
_CHECKPOINT_BYTES = 512  # one sector, so that no loss of power leaves half of it
_TRIES = 5


class Sealed(NamedTuple):
    """A line's own claims. `fits`: its hash is the one that the key gives."""

    prev: str
    hash: str
    fits: bool


class Checkpoint(msgspec.Struct, frozen=True):
    """The log holds the records `first` to `seq`, of which the last has `hash`. `seq` is `first - 1` if there are none.

    `time` is RFC 3339.
    """

    first: int
    seq: int
    hash: str
    time: str


class _Signed(msgspec.Struct, frozen=True):
    checkpoint: Checkpoint
    mac: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Signed).decode


class ChainKey:
    """The key, told apart by use: no MAC of a record is one of a checkpoint or of a user's name."""

    def __init__(self, secret: str) -> None:
        self._master = secret.encode()
        self._records = hmac.new(self.derived("records"), digestmod=sha256)  # copied for each: the key is hashed once
        self._checkpoints = hmac.new(self.derived("checkpoints"), digestmod=sha256)

    def __repr__(self) -> str:
        return "ChainKey(…)"

    def derived(self, use: str) -> bytes:
        """A key of its own for `use`."""
        return hmac.digest(self._master, b"penstock audit " + use.encode(), "sha256")

    def seal(self, line: bytes, prev: str) -> tuple[bytes, str]:
        """A record's JSON with its place in the chain, without line end, and its hash."""
        covered = b"%b%b%b" % (line[:-1], _PREV, prev.encode())
        mac = self._records.copy()
        mac.update(covered)
        found = mac.hexdigest()
        return b"%b%b%b%b" % (covered, _HASH, found.encode(), _END), found

    def read(self, line: bytes) -> Sealed | None:
        """The seal of a line without its end; None if it has none."""
        at = len(line) - _SEAL
        if at < 1 or line[at : at + len(_PREV)] != _PREV or not line.endswith(_END):
            return None
        prev = line[at + len(_PREV) : at + len(_PREV) + _HEX]
        found = line[-len(_END) - _HEX : -len(_END)]
        if line[at + len(_PREV) + _HEX : -len(_END) - _HEX] != _HASH or not _DIGITS.issuperset(prev + found):
            return None
        mac = self._records.copy()
        mac.update(line[: at + len(_PREV) + _HEX])
        return Sealed(prev.decode(), found.decode(), hmac.compare_digest(mac.hexdigest().encode(), found))

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """A checkpoint as it lies on disk: one line of JSON, filled up with spaces."""
        return _encode(_Signed(checkpoint, self._mac(checkpoint))).ljust(_CHECKPOINT_BYTES - 1) + b"\n"

    def verified(self, data: bytes) -> Checkpoint | None:
        """The checkpoint in `data`, if it is one of this key's, to the last byte."""
        try:
            signed = _decode(data)
        except msgspec.DecodeError:
            return None
        genuine = hmac.compare_digest(signed.mac.encode(), self._mac(signed.checkpoint).encode())
        return signed.checkpoint if genuine and data == self.sign(signed.checkpoint) else None

    def _mac(self, checkpoint: Checkpoint) -> str:
        mac = self._checkpoints.copy()
        mac.update(_encode(checkpoint))
        return mac.hexdigest()


class CheckpointFile:
    """Where the checkpoint lies. Written in place, with room taken when it is made: a full disk does not stop it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, data: bytes) -> None:
        """Raises `OSError`."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            os.pwrite(descriptor, data, 0)
            if os.fstat(descriptor).st_size != len(data):
                os.ftruncate(descriptor, len(data))
        finally:
            os.close(descriptor)

    def read(self, key: ChainKey) -> tuple[bool, Checkpoint | None]:
        """Whether there is one, and the checkpoint if it is genuine. Raises `OSError`.

        Read again if it is not: it may have been written at that moment.
        """
        for _ in range(_TRIES):
            try:
                data = self.path.read_bytes()
            except FileNotFoundError:
                return False, None
            checkpoint = key.verified(data)
            if checkpoint is not None:
                return True, checkpoint
        return True, None
