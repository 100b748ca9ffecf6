"""A user's id in records: readable, recognisable or absent."""

import re

from proxy.record.users import shown


def test_plain_and_none() -> None:
    assert shown("plain", b"")("ada") == "ada"
    assert shown("plain", b"")(None) is None
    assert shown("none", b"")("ada") is None


def test_a_hash_is_stable_keyed_and_tells_nothing() -> None:
    ours = shown("hash", b"k" * 32)
    name = ours("ada@contoso.example")
    assert name is not None
    assert re.fullmatch(r"hmac:[0-9a-f]{32}", name)
    assert shown("hash", b"k" * 32)("ada@contoso.example") == name
    assert shown("hash", b"l" * 32)("ada@contoso.example") != name
    assert ours("bob@contoso.example") != name
    assert ours(None) is None
    assert ours("\ud800") is not None
