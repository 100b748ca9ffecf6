"""What single steps of a request cost, in microseconds of CPU time: identity, authorization, selection.

The best of several rounds, so that what else runs on the machine counts least; each round is the mean of many calls.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from bench.mock.mint import KeyPair, TokenIssuer
from proxy.config.structs import (
    Backend,
    CertificateMatch,
    Client,
    Deployment,
    Grant,
    Issuer,
    Model,
    Routing,
    TokenMatch,
)
from proxy.identity import jwks
from proxy.identity.authenticate import Directory, Presented
from proxy.identity.certificate import CertificateFacts
from proxy.identity.key import RANDOM_BYTES, KeyedHash, make
from proxy.identity.known import ClientKey, IssuerKeys, Known
from proxy.identity.principal import Principal
from proxy.identity.token import Verifier, parse
from proxy.policy.grants import Permissions
from proxy.policy.operations import OPERATIONS, Targets
from proxy.policy.request import Request, read_json
from proxy.routing.select import Router
from proxy.routing.wanted import wanted

_ROUNDS = 7
_LASTS = 0.1  # seconds, a round
_MANY = 20
_GROUPS = 16  # of a token as large as Entra's are
_CHAT = OPERATIONS["chat.completions"]
Step: TypeAlias = tuple[str, Callable[[], object]]


def run(output: Path | None) -> int:
    """`python -m bench micro`: print each step's cost, and write them to a file if one is named; the exit code."""
    steps = (*_of_identity(), *_of_authorization(), *_of_selection())
    figures = {name: round(_cost(step), 2) for name, step in steps}
    for name, cost in figures.items():
        print(f"{name:44} {cost:8.2f} µs")
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _cost(step: Callable[[], object]) -> float:
    """Microseconds a call."""
    calls = 1
    while _timed(step, calls) < _LASTS:
        calls *= 2
    return min(_timed(step, calls) for _ in range(_ROUNDS)) / calls * 1e6


def _timed(step: Callable[[], object], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        step()
    return time.process_time() - began


def _of_identity() -> Iterator[Step]:
    keys = [KeyPair("es", "ES256"), KeyPair("rs", "RS256"), KeyPair("ed", "EdDSA")]
    issuer = TokenIssuer("https://issuer.example", *keys)
    known, now = Known(), time.time()
    known.signing_keys["issuer"] = IssuerKeys(1, jwks.read(msgspec.json.encode(issuer.jwks)).keys)
    issued = make(b"\1" * RANDOM_BYTES).encode()
    known.key_hash = KeyedHash(b"a-pepper")
    known.client_keys = {known.key_hash.digest(issued): ClientKey("key-1", "a", float("inf"))}
    facts = CertificateFacts("sha256:" + "0" * 64, "CN=CA", "CN=a", frozenset(("spiffe://x/a",)))
    client = Client(
        name="a",
        certificate=CertificateMatch(san_uri=("spiffe://x/a",)),
        token=TokenMatch(issuer="issuer", client="app"),
        keys=True,
        key_hashes=("sha256:" + hashlib.sha256(b"a-key").hexdigest(),),
    )
    settings = Issuer(
        name="issuer",
        issuer=issuer.iss,
        audiences=(issuer.audience,),
        algorithms=tuple(key.alg for key in keys),
    )

    groups = [f"{n:08x}-0000-0000-0000-000000000000" for n in range(_GROUPS)]
    tokens = {key.alg: issuer.mint(key=key, oid="user", groups=groups) for key in keys}
    directory = Directory((client,), (settings,))
    for what, presented in (
        ("a token, seen before", Presented(tokens=(tokens["ES256"],))),
        ("a key of the configuration", Presented(keys=(b"a-key",))),
        ("a key that was issued", Presented(keys=(issued,))),
        ("a certificate", Presented(facts)),
        ("a certificate and a token, seen before", Presented(facts, (), (tokens["ES256"],))),
    ):
        yield what, _bound(directory, presented, known, now)
    for alg, token in tokens.items():
        yield f"a token, for the first time, {alg}", _verified(settings, token, known.signing_keys["issuer"], now)


def _of_authorization() -> Iterator[Step]:
    """A grant's part of a request: its head is admitted and its body authorized, and the body is read."""
    plain = Grant(models=("gpt-4o",), operations=("chat.completions", "embeddings"))
    full = Grant(
        models=("gpt-*",),
        operations=("chat.completions",),
        scopes=("chat.read", "chat.write"),
        roles=("service",),
        max_tokens=4096,
        max_choices=1,
        streaming="required",
        tools="forbidden",
        images="forbidden",
        audio="forbidden",
    )
    message = {"role": "user", "content": "What does a penstock do? " * 20}
    body = json.dumps({"model": "gpt-4o", "messages": [message], "max_tokens": 64, "stream": True}).encode()
    who = Principal("a", None, "token", "", scopes=frozenset(("chat.write",)), roles=frozenset(("service",)))
    for what, grant in (("a grant without conditions", plain), ("a grant with every condition", full)):
        permissions = Permissions(Client(name="a", grants=(grant,)), frozenset(("gpt-4o",)))
        yield what, _granted(permissions, who, read_json(_CHAT, body, permissions.closely))
    yield "a body, read", lambda: read_json(_CHAT, body)
    yield "a body, read closely", lambda: read_json(_CHAT, body, closely=True)


def _of_selection() -> Iterator[Step]:
    """From a request to the deployment that is asked first, and what its record says of the others."""
    for number in (1, 2, 20):
        deployments = tuple(Deployment(backend=f"b{n}", deployment="d", weight=1 + n % 3) for n in range(number))
        yield f"a deployment, chosen of {number}", _selected(Model(name="gpt-4o", deployments=deployments))
    deployments = tuple(
        Deployment(
            backend=f"b{n}",
            deployment="d",
            weight=1 + n % 3,
            operations=("chat.completions",),
            api_versions=("2024-06-01", "2024-10-21"),
            context=128_000,
            tokens_per_minute=10_000_000,
            spill_at=0.9,
            canary=0.05 if n == _MANY - 1 else None,
        )
        for n in range(_MANY)
    )
    yield f"a deployment, chosen of {_MANY}, by all there is", _selected(Model(name="gpt-4o", deployments=deployments))


def _selected(model: Model) -> Callable[[], object]:
    backends = [
        Backend(name=one.backend, url="https://x.example", region="here", credential="g") for one in model.deployments
    ]
    router, now = Router((model,), backends, Routing(), random.Random(0).random), 1_000.0
    for one in model.deployments:
        load = router.load((one.backend, one.deployment))
        assert load is not None
        load.answered(0.2, now, stream=True)
        load.hinted(1_000_000, 1_000, 0.4, now)
    client = Client(name="a", tenant="t", regions=("here",))
    target = Targets().parse(b"POST", b"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21")
    body = {"messages": [{"role": "user", "content": "hi"}], "prompt_cache_key": "a-session", "stream": True}
    request = read_json(_CHAT, json.dumps(body).encode())
    found = router.deployments(model.name)
    assert found is not None

    def step() -> None:
        plan = router.order(wanted(found, client, None, target, request, 500), now)
        assert plan.next(now, set()) is not None
        plan.considered()

    return step


def _granted(permissions: Permissions, who: Principal, request: Request) -> Callable[[], object]:
    def step() -> None:
        permissions.admit(_CHAT, "gpt-4o", who)
        permissions.authorize(_CHAT, "gpt-4o", who, request)

    return step


def _bound(directory: Directory, presented: Presented, known: Known, now: float) -> Callable[[], object]:
    return lambda: directory.authenticate(presented, known, now)


def _verified(settings: Issuer, token: bytes, keys: IssuerKeys, now: float) -> Callable[[], object]:
    verifier = Verifier(settings, settings.issuer)
    return lambda: verifier.verify(parse(token), keys, now)
