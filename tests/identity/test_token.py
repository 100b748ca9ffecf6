"""Tokens: honest ones of several issuers are understood, every trick in the table is refused for the right reason."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.mock.mint import KeyPair
from proxy.identity import base64url, jwks
from proxy.identity.authenticate import Directory, Presented
from proxy.identity.certificate import CertificateFacts
from proxy.identity.known import AskKeys, IssuerKeys, Known, Undecided
from proxy.identity.principal import Principal
from proxy.identity.token import TokenFault, parse
from proxy.refusal import Refused
from tests.identity.attacks import CLIENTS, ISSUERS, TENANT_A, Attack, Honest, World, attacks, honest

NOW = time.time()
WORLD = World(lambda: NOW)
ATTACKS = attacks(WORLD)
HONEST = list(honest(WORLD))


def told(world: World, version: int = 1) -> Known:
    known = Known()
    for name, document in world.documents().items():
        known.signing_keys[name] = IssuerKeys(version, jwks.read(msgspec.json.encode(document)).keys)
    return known


KNOWN = told(WORLD)


@pytest.fixture
def directory() -> Directory:
    return Directory(CLIENTS, ISSUERS)


def judge(
    directory: Directory, token: bytes, now: float = NOW, known: Known = KNOWN, facts: CertificateFacts | None = None
) -> Principal | str:
    """Whom a token names, or the reason and the rule it is refused by."""
    try:
        return directory.authenticate(Presented(facts, (), (token,)), known, now)
    except Refused as refused:
        reason, rule = refused.reason, refused.rule
    except Undecided as undecided:
        reason, rule = undecided.otherwise, undecided.rule
    assert reason.terms.status == 401
    assert "eyJ" not in f"{rule}{reason.terms.message}"
    return f"{reason.value} {rule}"


def test_the_table_is_long_and_names_each_attack_once() -> None:
    assert len(ATTACKS) >= 60
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_attacks(directory: Directory, attack: Attack) -> None:
    for _ in range(2):
        assert judge(directory, attack.token) == f"{attack.reason} {attack.rule}"


@pytest.mark.parametrize("row", HONEST, ids=[row.name for row in HONEST])
def test_honest_tokens(directory: Directory, row: Honest) -> None:
    for _ in range(2):
        principal = judge(directory, row.token)
        assert isinstance(principal, Principal)
        assert (principal.client, principal.user, principal.kind) == (row.client, row.user, "token")
        assert principal.fingerprint.startswith("sha256:")


def test_a_token_refuses_no_other(directory: Directory) -> None:
    """Attacks in between change nothing for those who are honest."""
    for attack in ATTACKS:
        judge(directory, attack.token)
    for row in HONEST:
        assert isinstance(judge(directory, row.token), Principal)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scp": "chat.read chat.write"}, {"chat.read", "chat.write"}),
        ({"scope": "chat.read  chat.write "}, {"chat.read", "chat.write"}),
        ({"scp": ["chat.read", "chat.write"]}, {"chat.read", "chat.write"}),
        ({"scp": "a", "scope": ["b"]}, {"a", "b"}),
        ({"scp": ""}, set()),
    ],
)
def test_scopes(directory: Directory, claims: dict[str, Any], scopes: set[str]) -> None:
    principal = judge(directory, WORLD.of_contoso(**claims))
    assert isinstance(principal, Principal)
    assert principal.scopes == scopes


def test_roles_and_groups(directory: Directory) -> None:
    principal = judge(directory, WORLD.of_contoso(roles=["r1", "r2"], groups="g"))
    assert isinstance(principal, Principal)
    assert (set(principal.roles), set(principal.groups)) == ({"r1", "r2"}, {"g"})


def test_time_runs_out_for_what_was_verified(directory: Directory) -> None:
    token = WORLD.of_contoso(exp=NOW + 100)
    assert isinstance(judge(directory, token), Principal)
    assert isinstance(judge(directory, token, NOW + 129), Principal), "the leeway"
    assert judge(directory, token, NOW + 130) == "invalid_token contoso:expired"


def test_a_change_of_keys_is_for_now(directory: Directory) -> None:
    token = WORLD.of_contoso()
    assert isinstance(judge(directory, token), Principal)
    rotated = told(World(), version=2)
    assert judge(directory, token, known=rotated) == "invalid_token contoso:signature"
    rotated.signing_keys["contoso"] = IssuerKeys(3, jwks.read(msgspec.json.encode({"keys": [KeyPair("2").jwk]})).keys)
    assert judge(directory, token, known=rotated) == "invalid_token contoso:kid_unknown"
    assert isinstance(judge(directory, token, known=told(WORLD, version=4)), Principal)


def test_keys_that_are_not_there_are_asked_for_once_an_issuer(directory: Directory) -> None:
    for kid in ("one", "two"):
        with pytest.raises(Undecided) as caught:
            directory.authenticate(Presented(tokens=(WORLD.of_contoso(header={"kid": kid}),)), KNOWN, NOW)
        assert caught.value.question == AskKeys("contoso")
    assert judge(directory, WORLD.of_contoso(), known=Known()) == "invalid_token contoso:kid_unknown"


def test_what_is_remembered_is_bounded() -> None:
    directory = Directory(CLIENTS, ISSUERS, remembered=8)
    for number in range(50):
        assert isinstance(judge(directory, WORLD.of_contoso(jti=str(number))), Principal)
        assert len(directory._tokens) <= 8


def test_a_tenant_is_one_of_the_list() -> None:
    alone = msgspec.structs.replace(ISSUERS[2], tenants=("cccccccc",))
    assert judge(Directory(CLIENTS, (alone,)), WORLD.of_entra(TENANT_A)) == "invalid_token iss"


@pytest.mark.parametrize("key", [WORLD.ec, WORLD.rsa, WORLD.ed], ids=["ec", "rsa", "ed"])
def test_no_character_of_a_token_can_be_another(directory: Directory, key: KeyPair) -> None:
    token = WORLD.of_contoso(key=key)
    assert isinstance(judge(directory, token), Principal)
    for index, byte in enumerate(token):
        for other in (byte ^ 1, b"A"[0], b"."[0]):
            if other != byte:
                assert isinstance(judge(directory, token[:index] + bytes((other,)) + token[index + 1 :]), str)


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=60).map(base64url.encode)).map(b".".join))
def test_any_bytes_are_refused_by_a_word(token: bytes) -> None:
    with pytest.raises(TokenFault) as caught:
        parse(token)
    assert caught.value.word.isidentifier()


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "tid", "azp", "oid", "scp", "roles", "groups", "cnf"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
    )
)
def test_any_claims_are_judged(claims: dict[str, Any]) -> None:
    result = judge(Directory(CLIENTS, ISSUERS), WORLD.ec.token(WORLD.ec.header(), WORLD.payload() | claims))
    assert isinstance(result, Principal) or result.startswith(("invalid_token ", "unknown_token_client "))
