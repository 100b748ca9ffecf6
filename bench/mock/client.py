"""The mock's control address, from Python. Synchronous, one short connection a call."""

import http.client
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from bench.mock.control import Stats, TokenChange
from bench.mock.faults import ENTRA, IDENTITY, Fault, Kind
from bench.mock.oidc import Published
from bench.mock.received import Shown
from bench.mock.revocation import RevocationChange
from bench.mock.vault import Secret, Version

IdentityMode = Literal["ok", "down", "error", "throttle", "slow"]
_IDENTITY_FAULTS = {"down": Kind.RESET, "error": Kind.ERROR, "throttle": Kind.THROTTLE, "slow": Kind.LATE}
_ANSWER_WITHIN = 10.0
_LOOK_EVERY = 0.01


class ControlFailed(Exception):
    """The mock refused what it was told; `status` is its answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the mock answered {status}: {message}")
        self.status = status


class MockControl:
    """`url`: what the ready line calls `control`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._address = urlsplit(url).netloc

    def fault(self, kind: Kind | str, **fields: object) -> None:
        """Switch a fault on; the fields are those of `Fault`. Raises `msgspec.ValidationError`."""
        fault = msgspec.convert({"kind": Kind(kind).value, **fields}, Fault)
        self._ask("PUT", "/faults", msgspec.json.encode(fault))

    def faults(self) -> list[Fault]:
        """Those that are on."""
        return msgspec.json.decode(self._ask("GET", "/faults"), type=list[Fault])

    def clear(self, instance: str | None = None, deployment: str | None = None, kind: Kind | str | None = None) -> None:
        """Switch off the faults that match all that is given; all without anything."""
        given = {"instance": instance, "deployment": deployment, "kind": Kind(kind).value if kind else None}
        self._ask("DELETE", "/faults" + _query(given))

    def identity_mode(self, mode: IdentityMode, delay: float = 5.0) -> None:
        """What both token endpoints do from now on; `delay` in seconds is for `slow`."""
        for endpoint in (IDENTITY, ENTRA):
            self.clear(instance=endpoint)
            if mode != "ok":
                self.fault(_IDENTITY_FAULTS[mode], instance=endpoint, delay=delay if mode == "slow" else 0.0)

    def tokens(self, *, life: float | None = None, revoke: bool = False) -> None:
        """Set the life of tokens to come, in seconds; make those that were issued invalid."""
        self._ask("PUT", "/tokens", msgspec.json.encode(TokenChange(life, revoke)))

    def issuer(self, name: str, keys: dict[str, Any], configuration: dict[str, Any] | None = None) -> None:
        """Have an issuer publish these keys, with members to replace in the document it is discovered by."""
        self._ask("PUT", "/issuers", msgspec.json.encode(Published(name, keys, configuration or {})))

    def secret(self, name: str, value: str, content_type: str = "application/x-pem-file") -> str:
        """Put a secret's new version into the vault; the version."""
        answer = self._ask("PUT", "/vault", msgspec.json.encode(Secret(name, value, content_type)))
        return msgspec.json.decode(answer, type=Version).version

    def revocation(self, **fields: object) -> None:
        """Revoke, restore, or have CRLs and OCSP go wrong; the fields are those of `RevocationChange`."""
        self._ask("PUT", "/revocation", msgspec.json.encode(msgspec.convert(fields, RevocationChange)))

    def received(
        self, instance: str | None = None, deployment: str | None = None, since: float = 0.0, last: int | None = None
    ) -> list[Shown]:
        """Requests, the oldest first; others than instances' only if named. `since` is Unix time."""
        given = {"instance": instance, "deployment": deployment, "since": repr(since), "last": last}
        return msgspec.json.decode(self._ask("GET", "/received" + _query(given)), type=list[Shown])

    def await_received(
        self, enough: Callable[[list[Shown]], bool], within: float = 5.0, instance: str | None = None
    ) -> list[Shown]:
        """What was received, as soon as it is enough. Raises `TimeoutError`."""
        until = time.monotonic() + within
        while not enough(found := self.received(instance)):
            if time.monotonic() > until:
                raise TimeoutError(f"not received within {within:g} s; there are {len(found)} requests")
            time.sleep(_LOOK_EVERY)
        return found

    def forget(self) -> None:
        """Remember none of what was received so far."""
        self._ask("DELETE", "/received")

    def stats(self) -> Stats:
        return msgspec.json.decode(self._ask("GET", "/stats"), type=Stats)

    def _ask(self, method: str, target: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(self._address, timeout=_ANSWER_WITHIN)
        try:
            connection.request(method, target, body)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ControlFailed(response.status, answer.decode("utf-8", "replace"))
        return answer


def _query(given: Mapping[str, str | int | None]) -> str:
    return "?" + urlencode({name: value for name, value in given.items() if value is not None})
