"""The clients of a scenario, each with a credential of its own, made for one run."""

import time
from datetime import timedelta
from pathlib import Path

from bench.load.job import Identity
from bench.mock.mint import TokenIssuer
from bench.scenarios.structs import Scenario, named, pool
from certs.bad import Plan, Workshop
from certs.pki import Pki

ISSUER = "clients"
"""The issuer of the clients' tokens: its name in the gateway's configuration, and at the mock."""

_LIFE = 3600.0  # of a token, after the scenario's end
_VALID = timedelta(days=90)  # a certificate is; the gateway warns of those that expire sooner


def key_of(client: str) -> str:
    """The client's key."""
    return f"key-of-{client}"


def uri_of(client: str) -> str:
    """What the client's certificate says that it is."""
    return f"spiffe://contoso/{client}"


def identities(scenario: Scenario, pki: Pki, folder: Path, issuer: TokenIssuer) -> tuple[Identity, ...]:
    """All who ask. The PKI must have the keys of its authorities; certificates go into the folder, which is made."""
    there = pool(scenario)
    expires = int(time.time() + scenario.warm_up + scenario.duration + _LIFE)
    return (
        *_certificates(there["certificates"], pki, folder),
        *(Identity(client=name, api_key=key_of(name)) for name in (*there["keys"], *named(scenario))),
        *(Identity(client=name, token=issuer.mint(azp=name, exp=expires).decode()) for name in there["tokens"]),
    )


def _certificates(names: tuple[str, ...], pki: Pki, folder: Path) -> list[Identity]:
    if not names:
        return []
    folder.mkdir()
    workshop = Workshop(pki)

    def made(name: str) -> Identity:
        def change(plan: Plan) -> None:
            plan.subject, plan.uris, plan.ends = f"CN={name},O=Contoso", (uri_of(name),), _VALID

        pair = workshop.make(folder, name, change)
        return Identity(client=name, certificate=str(pair.certificate), private_key=str(pair.key))

    return [made(name) for name in names]
