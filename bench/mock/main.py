"""The mock as a program: all instances, the token endpoints and the control address, in one process."""

import gc
import json
import random
import resource
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from bench.mock.assertion import Assertions
from bench.mock.config import MockConfig, MockConfigError, load, parse_address
from bench.mock.connection import Connection, Counts, Handler, serve
from bench.mock.control import Control
from bench.mock.door import Door
from bench.mock.engine import Engine
from bench.mock.faults import Faults
from bench.mock.identity import Identity, Player, Tokens
from bench.mock.instance import Resource
from bench.mock.oidc import Issuers
from bench.mock.received import Log
from bench.mock.request import Request
from bench.mock.revocation import RevocationServer
from bench.mock.vault import Vault


def run(path: str) -> int:
    """`penstock mock`: serve until SIGTERM or SIGINT; the exit code.

    One JSON line on stdout says where everything listens: `{"event": "ready", "instances": {name: url}, "identity": …,
    "entra": …, "issuers": …, "vault": …, "revocation": …, "control": …}`.
    """
    try:
        mock = Mock(load(Path(path)))
    except (MockConfigError, OSError) as error:  # ssl.SSLError is one of these
        print(error, file=sys.stderr)
        return 1
    mock.engine.stop_on(signal.SIGTERM, signal.SIGINT)
    print(json.dumps({"event": "ready", **mock.addresses}), flush=True)
    gc.freeze()  # what is there by now stays; no collection needs to look at it again
    mock.engine.run()
    return 0


class Mock:
    """Everything of one configuration, listening. `addresses` says where. Raises `MockConfigError` and `OSError`."""

    def __init__(self, config: MockConfig) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.engine = Engine()
        self._counts = Counts()
        self._context = _context(config)
        self._doors: dict[str, Door] = {}
        faults, log, tokens = Faults(random.Random(0)), Log(config.remember), Tokens(config.token_life)
        player = Player(self.engine, faults, log)
        issuers = Issuers(player)
        issuing = _url("https", self._serve(config.issuers, issuers.handle))
        assertions = _assertions(config, issuers, issuing)
        identity = Identity(player, tokens, config.client_ids, config.client_secret, assertions)
        resources = [
            Resource(self.engine, instance, faults, log, lambda token: tokens.valid(token, time.time()))
            for instance in config.instances
        ]
        entra = _url("https", self._serve(config.entra, identity.entra))
        vault = Vault(player, tokens, entra)
        revocation = _revocation(self.engine, log, config)
        control = Control(resources, self._doors, faults, log, tokens, issuers, vault, self._counts, revocation)
        self.addresses: dict[str, object] = {
            "instances": self._serve_instances(config, resources),
            "identity": _url("http", self._serve(config.identity, identity.metadata, tls=False)),
            "entra": entra,
            "issuers": issuing,
            "vault": _at_number(self._serve(config.vault, vault.handle)),
            "revocation": _url("http", self._serve(config.revocation, revocation.handle, tls=False)),
            "control": _url("http", self._serve(config.control, control.handle, tls=False)),
        }

    def _serve_instances(self, config: MockConfig, resources: list[Resource]) -> dict[str, str]:
        """Each at its own port, but those that name the same one share it and are told apart by the host asked for."""
        shared: dict[str, list[Resource]] = {}
        for one in resources:
            own = parse_address(one.config.address)[1] == 0
            shared.setdefault(one.config.name if own else one.config.address, []).append(one)
        urls = {}
        for group in shared.values():
            first = group[0]
            handler = first.handle if len(group) == 1 else _by_host(group)
            root = first.config.client_root
            bound = self._open(group, handler, self._context if root is None else _context(config, root))
            for one in group:
                host = "" if one is first else f"{one.config.name}.localhost"
                urls[one.config.name] = _url("https", bound, host)
        return {one.config.name: urls[one.config.name] for one in resources}

    def _open(self, group: list[Resource], handler: Handler, context: ssl.SSLContext) -> tuple[str, int]:
        address = group[0].config.address
        try:
            door = Door(self.engine, parse_address(address), handler, self._counts, context)
        except OSError as error:
            raise MockConfigError(f"{address}: cannot listen there: {error.strerror}") from None
        self._doors.update((one.config.name, door) for one in group)
        return door.address

    def _serve(self, address: str, handler: Handler, *, tls: bool = True) -> tuple[str, int]:
        try:
            return serve(self.engine, parse_address(address), handler, self._counts, self._context if tls else None)
        except OSError as error:
            raise MockConfigError(f"{address}: cannot listen there: {error.strerror}") from None


def _revocation(engine: Engine, log: Log, config: MockConfig) -> RevocationServer:
    try:
        return RevocationServer(engine, log, config.authorities)
    except (OSError, ValueError, TypeError) as error:
        raise MockConfigError(f"authorities: no certificate and key ({type(error).__name__}); give PEM") from None


def _assertions(config: MockConfig, issuers: Issuers, issuing: str) -> Assertions:
    trusted = config.federated_issuer

    def keys(issuer: str) -> dict[str, Any] | None:
        return issuers.keys(trusted) if trusted is not None and issuer == f"{issuing}/{trusted}" else None

    try:
        certificate = Path(config.client_certificate) if config.client_certificate else None
        return Assertions(certificate, keys if trusted is not None else None)
    except (OSError, ValueError) as error:
        raise MockConfigError(f"client_certificate: no certificate ({type(error).__name__}); give PEM") from None


def _context(config: MockConfig, client_root: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.certificate, config.private_key)
    except OSError as error:
        raise MockConfigError(
            f"{config.certificate}, {config.private_key}: no certificate and key ({error.strerror or error})"
        ) from None
    if client_root is not None:
        try:
            context.load_verify_locations(client_root)
        except OSError as error:
            raise MockConfigError(f"{client_root}: no certificate ({error.strerror or error})") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _by_host(group: list[Resource]) -> Handler:
    """Instances at one address: the one whose name the host begins with, else the first."""
    by_name = {one.config.name.lower().encode(): one for one in group}

    def handle(connection: Connection, request: Request) -> None:
        label = request.headers.get(b"host", b"").partition(b":")[0].partition(b".")[0].lower()
        by_name.get(label, group[0]).handle(connection, request)

    return handle


def _at_number(bound: tuple[str, int]) -> str:
    """A vault's address by number, never by name: see `bench.mock.vault`."""
    return _url("https", bound, bound[0])


def _url(scheme: str, bound: tuple[str, int], host: str = "") -> str:
    """Of an address that is bound. TLS on 127.0.0.1 is `localhost`, by which certificates know it."""
    address, port = bound
    if not host:
        host = "localhost" if scheme == "https" and address == "127.0.0.1" else address
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
