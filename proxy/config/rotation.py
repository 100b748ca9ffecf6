"""What the types cannot say of rotation and expiry: certificates in vaults, and when people are warned.

Offline: a vault is not asked.
"""

import re
from collections.abc import Iterator
from datetime import datetime

from proxy.config import pem
from proxy.config.address import https_fault
from proxy.config.problem import Problem, one_of, quoted
from proxy.config.structs import Config, KeyVaultRef

_DAYS = 3650
_WARNINGS = 16
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


def problems(config: Config, now: datetime) -> Iterator[Problem]:
    """Everything that is wrong with them at `now`."""
    listen = config.listen
    placed = [("listen", listen.certificate, listen.private_key)]
    placed += [(f"listen.certificates[{n}]", p.certificate, p.private_key) for n, p in enumerate(listen.certificates)]
    in_vaults = [(at, ref, key) for at, ref, key in placed if isinstance(ref, KeyVaultRef)]
    for at, ref, private_key in in_vaults:
        yield from _reference(at, ref, private_key)
    if in_vaults:
        yield from _credential(config)
    settings = config.key_vault
    if 0 < settings.poll < 1:
        yield Problem("key_vault.poll", f"{settings.poll:g} s", 'give at least "1s": vaults throttle')
    if settings.ca is not None:
        yield from pem.trust("key_vault.ca", settings.ca, now)
    yield from _warnings(config.expiry.warn_days)


def _reference(at: str, ref: KeyVaultRef, private_key: str | None) -> Iterator[Problem]:
    fault = https_fault(ref.key_vault)
    if fault is not None:
        yield Problem(
            f"{at}.certificate.key_vault", fault, 'give "https://" and the vault\'s host, and nothing after it'
        )
    if not _NAME.fullmatch(ref.name):
        yield Problem(f"{at}.certificate.name", quoted(ref.name), "a vault's names are letters, digits and hyphens")
    if private_key is not None:
        yield Problem(f"{at}.private_key", "set", "the key comes from the vault with its certificate: leave it out")


def _credential(config: Config) -> Iterator[Problem]:
    name = config.key_vault.credential
    credential = config.credentials.get(name)
    usable = [each for each, definition in config.credentials.items() if definition.kind != "api_key"]
    if credential is None:
        yield Problem("key_vault.credential", f"{quoted(name)} is not defined", one_of(usable))
    elif credential.kind == "api_key":
        yield Problem("key_vault.credential", f"{quoted(name)} is an API key, which no vault takes", one_of(usable))


def _warnings(days: tuple[int, ...]) -> Iterator[Problem]:
    if any(not 1 <= number <= _DAYS for number in days) or len(set(days)) < len(days) or len(days) > _WARNINGS:
        yield Problem(
            "expiry.warn_days",
            quoted(", ".join(map(str, days))),
            f"give at most {_WARNINGS} numbers of days, each once, from 1 to {_DAYS}",
        )
