"""The form of a key: made of 256 bits, found by scanners, and typing errors told without a look-up."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.identity import key as form
from proxy.identity.authenticate import split_bearer
from proxy.identity.key import KeyedHash, is_whole, make

RANDOMNESS = st.binary(min_size=32, max_size=32)
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_stays_as_it_is_for_ever() -> None:
    """Checksums must hold from one version to the next."""
    assert make(bytes(32)) == "penstock_00000000000000000000000000000000000000000000TLBgP"
    assert make(bytes(range(32))) == "penstock_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf0y1Xab"
    assert make(b"\xff" * 32) == "penstock_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp13GUmb3"


@given(RANDOMNESS)
def test_a_key_is_found_by_scanners_and_whole(randomness: bytes) -> None:
    key = make(randomness)
    assert is_whole(key.encode())
    assert re.findall(form.SCAN, f'api_key="{key}", other={key};\n') == [key, key]
    assert split_bearer(b"Bearer " + key.encode()) == (key.encode(), None)


@given(RANDOMNESS, RANDOMNESS)
def test_no_two_randomnesses_make_one_key(one: bytes, other: bytes) -> None:
    assert (make(one) == make(other)) == (one == other)


@given(RANDOMNESS, st.integers(9, 57), st.sampled_from(DIGITS))
def test_one_wrong_character_shows(randomness: bytes, at: int, wrong: str) -> None:
    key = make(randomness)
    mistyped = key[:at] + wrong + key[at + 1 :]
    assert is_whole(mistyped.encode()) == (mistyped == key)


@given(RANDOMNESS, st.integers(9, 56))
def test_two_neighbours_that_changed_places_show(randomness: bytes, at: int) -> None:
    key = make(randomness)
    mistyped = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert is_whole(mistyped.encode()) == (mistyped == key)


@given(RANDOMNESS, st.integers(0, 57))
def test_what_is_cut_short_or_drawn_out_shows(randomness: bytes, length: int) -> None:
    key = make(randomness).encode()
    assert not is_whole(key[:length])
    assert not is_whole(key + key[:1])
    assert not is_whole(key + b"\n")
    assert not is_whole(key.swapcase())


@pytest.mark.parametrize("key", [b"", b"penstock_", b"eyJhbGciOiJub25lIn0.e30.", b"sk-" + b"a" * 55, b"\xff" * 58])
def test_what_is_no_key_of_ours(key: bytes) -> None:
    assert not is_whole(key)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_never_less_than_256_bits(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        make(bytes(size))


def test_the_keyed_hash_is_hmac_sha256_and_shows_no_pepper() -> None:
    hashing = KeyedHash(b"Jefe")  # RFC 4231, test case 2
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert [hashing.digest(b"what do ya want for nothing?").hex() for _ in range(2)] == [expected] * 2
    assert "Jefe" not in repr(hashing)
