"""Keys that were issued: decided by what the worker was told and by the time, at once when that changes."""

import timeit

import pytest

from proxy.config.structs import CertificateMatch, Client
from proxy.identity.authenticate import Directory, Presented
from proxy.identity.certificate import CertificateFacts
from proxy.identity.key import KeyedHash, make
from proxy.identity.known import ClientKey, Known
from proxy.refusal import Reason, Refused
from tests.identity.test_authenticate import facts, hashed

NOW = 1_790_000_000.0
NEVER = float("inf")
LIVE, SECOND, EXPIRED, ENDING, REVOKED, OTHERS, GONE, OFF, STRANGE = (
    make(bytes([n]) * 32).encode() for n in range(1, 10)
)
IN_CONFIG = make(bytes([99]) * 32).encode()
ODD = b"penstock_given-in-the-configuration"
PEPPER = b"the pepper of the tests"
HASHING = KeyedHash(PEPPER)
CERT_A = facts("a")

CLIENTS = (
    Client(name="a", tenant="t", keys=True, certificate=CertificateMatch(san_uri=("spiffe://x/a",))),
    Client(name="b", keys=True, key_hashes=(hashed(IN_CONFIG), hashed(ODD))),
    Client(name="off"),
)


def known() -> Known:
    told = Known()
    told.key_hash = HASHING
    for number, (key, client, expires, revoked) in enumerate(
        (
            (LIVE, "a", NEVER, False),
            (SECOND, "a", NOW + 60, False),
            (EXPIRED, "a", NOW - 60, False),
            (ENDING, "a", NOW, False),
            (REVOKED, "a", NEVER, True),
            (OTHERS, "b", NEVER, False),
            (GONE, "gone", NEVER, False),
            (OFF, "off", NEVER, False),
        )
    ):
        told.client_keys[HASHING.digest(key)] = ClientKey(f"key-{number}", client, expires, revoked)
    return told


ROWS: list[tuple[CertificateFacts | None, tuple[bytes, ...], str]] = [
    (None, (LIVE,), "a key-0"),
    (None, (SECOND,), "a key-1"),
    (None, (LIVE, SECOND), "a key-0"),
    (CERT_A, (LIVE,), "a key-0"),
    (None, (EXPIRED,), "expired_key key-2"),
    (None, (ENDING,), "expired_key key-3"),
    (None, (REVOKED,), "revoked_key key-4"),
    (None, (OTHERS,), "b key-5"),
    (None, (GONE,), "unknown_key key-6: its client takes no keys"),
    (None, (OFF,), "unknown_key key-7: its client takes no keys"),
    (None, (STRANGE,), "unknown_key " + hashed(STRANGE)[:19]),
    (None, (STRANGE[:-1] + b"!",), "unknown_key key_checksum"),
    (None, (LIVE[:-1],), "unknown_key key_checksum"),
    (None, (LIVE + LIVE[-1:],), "unknown_key key_checksum"),
    (None, (LIVE.swapcase(),), "unknown_key " + hashed(LIVE.swapcase())[:19]),
    (None, (LIVE[:9] + LIVE[9:].swapcase(),), "unknown_key key_checksum"),
    (None, (b"penstock_",), "unknown_key key_checksum"),
    (None, (HASHING.digest(LIVE),), "unknown_key " + hashed(HASHING.digest(LIVE))[:19]),
    (None, (HASHING.digest(LIVE).hex().encode(),), "unknown_key " + hashed(HASHING.digest(LIVE).hex().encode())[:19]),
    (None, (IN_CONFIG,), "b " + hashed(IN_CONFIG)[:19]),
    (None, (ODD,), "b " + hashed(ODD)[:19]),
    (None, (LIVE, OTHERS), "credentials_disagree key and key of different clients"),
    (None, (LIVE, REVOKED), "revoked_key key-4"),
    (None, (REVOKED, LIVE), "revoked_key key-4"),
    (CERT_A, (REVOKED,), "revoked_key key-4"),
    (CERT_A, (EXPIRED,), "expired_key key-2"),
    (CERT_A, (OTHERS,), "credentials_disagree key and certificate of different clients"),
]


def decided(directory: Directory, told: Known, presented: Presented, now: float = NOW) -> str:
    try:
        principal = directory.authenticate(presented, told, now)
    except Refused as refused:
        return f"{refused.reason.value} {refused.rule}"
    assert principal.kind == "key"
    return f"{principal.client} {principal.fingerprint}"


@pytest.mark.parametrize(("certificate", "keys", "expected"), ROWS)
def test_whose_a_key_is(certificate: CertificateFacts | None, keys: tuple[bytes, ...], expected: str) -> None:
    directory, told = Directory(CLIENTS), known()
    for _ in range(2):
        assert decided(directory, told, Presented(certificate, keys)) == expected


def test_time_and_revocation_are_for_now() -> None:
    directory, told = Directory(CLIENTS), known()
    second = Presented(keys=(SECOND,))
    assert decided(directory, told, second, NOW + 59.9) == "a key-1"
    assert decided(directory, told, second, NOW + 60) == "expired_key key-1"
    assert decided(directory, told, second, NOW) == "a key-1"
    told.client_keys.update({HASHING.digest(SECOND): ClientKey("key-1", "a", NOW + 60, True)})
    assert decided(directory, told, second, NOW) == "revoked_key key-1"
    told.client_keys = {}
    assert decided(directory, told, second, NOW).startswith("unknown_key sha256:")


def test_who_was_told_nothing_knows_no_key() -> None:
    assert decided(Directory(CLIENTS), Known(), Presented(keys=(LIVE,))).startswith("unknown_key sha256:")


def test_all_credentials_of_a_client_that_requires_them() -> None:
    directory = Directory(
        [Client(name="a", keys=True, require="all", certificate=CertificateMatch(san_uri=("spiffe://x/a",)))]
    )
    told = known()
    assert decided(directory, told, Presented(CERT_A, (LIVE,))) == "a key-0"
    assert decided(directory, told, Presented(None, (LIVE,))) == "credential_missing certificate"
    assert decided(directory, told, Presented(CERT_A, ())) == "credential_missing key"
    assert decided(directory, told, Presented(CERT_A, (REVOKED,))) == "revoked_key key-4"


def test_the_use_of_a_key_is_noted_and_that_of_a_refused_one_is_not() -> None:
    directory, told = Directory(CLIENTS), known()
    for key in (LIVE, REVOKED, EXPIRED, OFF, IN_CONFIG, STRANGE):
        decided(directory, told, Presented(keys=(key,)))
    decided(directory, told, Presented(keys=(LIVE,)), NOW + 1)
    assert told.keys_used == {"key-0": NOW + 1}


def test_a_mistyped_key_is_said_to_be_and_no_more_is_said_of_others() -> None:
    directory, told = Directory(CLIENTS), known()
    messages = {}
    for name, key in (("mistyped", LIVE[:-1] + b"!"), ("revoked", REVOKED), ("expired", EXPIRED), ("strange", STRANGE)):
        with pytest.raises(Refused) as caught:
            directory.authenticate(Presented(keys=(key,)), told, NOW)
        assert caught.value.reason.terms.status == 401
        assert key.decode() not in f"{caught.value.rule}{caught.value.message}{caught.value!r}"
        messages[name] = caught.value.message
    assert "mistyped" in messages.pop("mistyped")
    assert set(messages.values()) == {Reason.UNKNOWN_KEY.terms.message}


def test_a_key_costs_little() -> None:
    """The bound is 5 µs; this allows for a busy machine by taking the best of many."""
    directory, told, presented = Directory(CLIENTS), known(), Presented(keys=(LIVE,))
    best = min(timeit.repeat(lambda: directory.authenticate(presented, told, NOW), number=2_000, repeat=15)) / 2_000
    assert best < 20e-6
