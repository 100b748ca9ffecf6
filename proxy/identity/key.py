"""The form of a key, and the digest it is known by.

A key is `penstock_`, 43 characters of randomness (256 bits) and 6 of checksum (CRC-32 over all before it), both base62
with the digits first. So a scanner for secrets finds it by

    \\bpenstock_[0-9A-Za-z]{49}\\b

and a key that was mistyped or cut short is told from one that is unknown without a look-up: CRC-32 misses no single
wrong character and no two neighbours that changed places. It never begins as a token does (`eyJ`). Pure: randomness
comes in as bytes.
"""

import hmac
import re
from zlib import crc32

PREFIX = b"penstock_"
RANDOM_BYTES = 32
SCAN = r"\bpenstock_[0-9A-Za-z]{49}\b"
"""For scanners; what it finds is a key of ours if `is_whole` says so too."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = 43  # 62^43 is just more than 2^256
_CHECK = 6  # 62^6 is more than 2^32
_FORM = re.compile(rb"penstock_[0-9A-Za-z]{49}")


def make(randomness: bytes) -> str:
    """The key that these 32 random bytes are. Raises `ValueError` for any other number of them."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a key is made of {RANDOM_BYTES} bytes")
    front = PREFIX.decode("ascii") + _base62(int.from_bytes(randomness, "big"), _BODY)
    return front + _checksum(front.encode("ascii"))


def is_whole(key: bytes) -> bool:
    """Whether this has the form of a key and its checksum is right: not whether anyone was ever given it."""
    return _FORM.fullmatch(key) is not None and key[-_CHECK:] == _checksum(key[:-_CHECK]).encode("ascii")


def _checksum(front: bytes) -> str:
    return _base62(crc32(front), _CHECK)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


class KeyedHash:
    """HMAC-SHA256 under the pepper (RFC 2104), with the pepper worked in beforehand: under 2 µs a key."""

    __slots__ = ("_prepared",)

    def __init__(self, pepper: bytes) -> None:
        self._prepared = hmac.new(pepper, digestmod="sha256")

    def __repr__(self) -> str:
        return "KeyedHash(…)"

    def digest(self, key: bytes) -> bytes:
        """What is stored in place of the key, 32 bytes."""
        taken = self._prepared.copy()
        taken.update(key)
        return taken.digest()
