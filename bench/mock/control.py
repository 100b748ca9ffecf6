"""The control address: what goes wrong, what was received, and counts. Plain HTTP on loopback, JSON both ways.

PUT    /faults      switch a fault on: the fields of `bench.mock.faults.Fault`
GET    /faults      those that are on
DELETE /faults      off, those that match ?instance=NAME&deployment=NAME&kind=KIND; all without them
PUT    /issuers     what an issuer publishes from now on: the fields of `bench.mock.oidc.Published`
PUT    /vault       a secret's new version: the fields of `bench.mock.vault.Secret`
PUT    /tokens      {"life": seconds of those to come, "revoke": true for those that were issued}
PUT    /revocation  what is revoked, and what goes wrong: `bench.mock.revocation.RevocationChange`
GET    /received    requests, the oldest first: ?instance=NAME&deployment=NAME&since=UNIX&last=NUMBER
DELETE /received
GET    /stats       `bench.mock.control.Stats`
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench.mock.connection import Connection, Counts
from bench.mock.door import Door
from bench.mock.faults import Fault, Faults, Kind
from bench.mock.identity import Tokens
from bench.mock.instance import Resource
from bench.mock.oidc import Issuers, Published
from bench.mock.received import Log
from bench.mock.request import Request
from bench.mock.revocation import RevocationChange, RevocationServer
from bench.mock.vault import Secret, Vault

_LAST = 100_000


class Stats(TypedDict):
    """`events`: handed to clients so far. `received`: remembered now. `open`: connections, of every kind. `posted`: by
    instance, the requests asked with POST.
    """

    events: int
    received: int
    accepted: int
    handshakes: int
    open: int
    tokens: int
    posted: dict[str, int]


class TokenChange(msgspec.Struct, forbid_unknown_fields=True):
    life: float | None = None
    revoke: bool = False


class Control:
    """Answers at the control address."""

    def __init__(
        self,
        resources: Sequence[Resource],
        doors: Mapping[str, Door],
        faults: Faults,
        log: Log,
        tokens: Tokens,
        issuers: Issuers,
        vault: Vault,
        counts: Counts,
        revocation: RevocationServer,
    ) -> None:
        self._resources = resources
        self._ways_in = doors
        self._faults = faults
        self._log = log
        self._tokens = tokens
        self._issuers = issuers
        self._vault = vault
        self._counts = counts
        self._revocation = revocation
        self._doors: dict[tuple[bytes, str], Callable[[bytes, dict[str, str]], object]] = {
            (b"PUT", "/faults"): self._switch_on,
            (b"GET", "/faults"): lambda *_: self._faults.on(),
            (b"DELETE", "/faults"): self._switch_off,
            (b"PUT", "/issuers"): lambda body, _: self._issuers.publish(msgspec.json.decode(body, type=Published)),
            (b"PUT", "/vault"): lambda body, _: self._vault.put(msgspec.json.decode(body, type=Secret)),
            (b"PUT", "/tokens"): self._change_tokens,
            (b"PUT", "/revocation"): self._change_revocation,
            (b"GET", "/received"): self._show,
            (b"DELETE", "/received"): lambda *_: self._log.clear(),
            (b"GET", "/stats"): lambda *_: self.stats(),
        }

    def handle(self, connection: Connection, request: Request) -> None:
        status = 200
        found: object
        try:
            url = urlsplit(request.target.decode("latin-1"))
            door = self._doors.get((request.method, url.path))
            if door is None:
                status, found = 404, {"error": "there is nothing here; see `bench.mock.control`"}
            else:
                query = {name: values[-1] for name, values in parse_qs(url.query).items()}
                found = door(request.body, query)
        except (ValueError, msgspec.MsgspecError) as error:
            status, found = 400, {"error": str(error)}
        body = msgspec.json.encode(found)
        connection.send(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, b"OK" if status == 200 else b"Error", len(body), body)
        )
        connection.finish()

    def stats(self) -> Stats:
        return {
            "events": sum(resource.events for resource in self._resources),
            "received": len(self._log),
            "accepted": self._counts.accepted,
            "handshakes": self._counts.handshakes,
            "open": self._counts.open,
            "tokens": self._tokens.issued,
            "posted": {resource.config.name: resource.posted for resource in self._resources},
        }

    def _switch_on(self, body: bytes, _: dict[str, str]) -> None:
        fault = msgspec.json.decode(body, type=Fault)
        self._faults.add(fault)
        self._shut()

    def _switch_off(self, _: bytes, query: dict[str, str]) -> None:
        kind = Kind(query["kind"]) if "kind" in query else None
        self._faults.clear(query.get("instance"), query.get("deployment"), kind)
        self._shut()

    def _shut(self) -> None:
        """Shut the doors of instances that are down, and open the others. Those at one door are down together."""
        down = self._faults.down()
        shut = {door for name, door in self._ways_in.items() if name in down or None in down}
        for door in self._ways_in.values():
            door.shut() if door in shut else door.open()

    def _change_tokens(self, body: bytes, _: dict[str, str]) -> None:
        change = msgspec.json.decode(body, type=TokenChange)
        if change.life is not None:
            self._tokens.life = change.life
        if change.revoke:
            self._tokens.revoke()

    def _change_revocation(self, body: bytes, _: dict[str, str]) -> None:
        self._revocation.change(msgspec.json.decode(body, type=RevocationChange))

    def _show(self, _: bytes, query: dict[str, str]) -> object:
        since, last = float(query.get("since", "0")), int(query.get("last", str(_LAST)))
        return self._log.shown(since, query.get("instance"), query.get("deployment"), max(1, last))
