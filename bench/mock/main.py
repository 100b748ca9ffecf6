"""The mock as a program: all instances, the identity endpoints and the control address, in one process.

Control, plain HTTP on loopback:

    POST   /faults      a fault, as JSON (see `bench.mock.faults.Fault`)
    DELETE /faults      switch all off, or those of ?instance=NAME
    POST   /identity    {"mode": "ok|down|error|throttle|slow", "delay": seconds, "life": seconds}
    GET    /received    requests remembered, newest last; ?since=UNIX&instance=NAME
    DELETE /received
    GET    /stats       events sent, connections, handshakes, tokens issued
"""

import json
import random
import resource
import signal
import ssl
import sys
from collections import deque
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench.mock.answers import dump
from bench.mock.config import MockConfig, MockConfigError, load
from bench.mock.engine import Connection, Engine, Request
from bench.mock.faults import Fault, Faults
from bench.mock.identity import Identity
from bench.mock.instance import Received, Resource


def run(path: str) -> int:
    """`penstock mock`: serve until SIGTERM or SIGINT; the exit code."""
    try:
        mock = Mock(load(Path(path)))
    except (MockConfigError, OSError, ssl.SSLError) as error:
        print(error, file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: mock.engine.stop())
    print(json.dumps({"event": "ready", **mock.addresses}), flush=True)
    mock.engine.run()
    return 0


class Mock:
    """Everything of one configuration, listening. `addresses` says where."""

    def __init__(self, config: MockConfig) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.engine = Engine()
        self._faults = Faults(random.Random(0))
        self._received: deque[Received] = deque(maxlen=config.remember)
        self._identity = Identity(self.engine, config.token_life)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config.certificate, config.private_key)
        self._resources = [
            Resource(self.engine, instance, self._faults, self._received, self._identity.valid)
            for instance in config.instances
        ]
        listen = self.engine.listen
        urls = {r.config.name: _url("https", listen(r.config.address, r.handle, context)) for r in self._resources}
        self.addresses: dict[str, object] = {
            "instances": urls,
            "identity": _url("http", listen(config.identity, self._identity.metadata, None)),
            "entra": _url("https", listen(config.entra, self._identity.entra, context)),
            "control": _url("http", listen(config.control, self._control, None)),
        }

    def _control(self, connection: Connection, request: Request) -> None:
        url = urlsplit(request.target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        status, body = 200, b"{}"
        try:
            match request.method, url.path:
                case "POST", "/faults":
                    self._faults.add(msgspec.json.decode(request.body, type=Fault))
                case "DELETE", "/faults":
                    self._faults.clear(query.get("instance"))
                case "POST", "/identity":
                    for name, value in json.loads(request.body).items():
                        setattr(self._identity, name, value)
                case "GET", "/received":
                    body = self._shown(query)
                case "DELETE", "/received":
                    self._received.clear()
                case "GET", "/stats":
                    body = dump(self._stats())
                case _:
                    status, body = 404, b'{"error":"unknown"}'
        except (ValueError, msgspec.MsgspecError) as error:
            status, body = 400, dump({"error": str(error)})
        connection.send(b"HTTP/1.1 %d -\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        connection.finish()

    def _shown(self, query: dict[str, str]) -> bytes:
        since = float(query.get("since", "0"))
        instance = query.get("instance")
        return dump([r.shown() for r in self._received if r.at >= since and instance in (None, r.instance)])

    def _stats(self) -> dict[str, int]:
        return {
            "events": sum(resource.events for resource in self._resources),
            "received": len(self._received),
            "accepted": self.engine.accepted,
            "handshakes": self.engine.handshakes,
            "open": self.engine.open,
            "tokens": self._identity.issued,
        }


def _url(scheme: str, address: tuple[str, int]) -> str:
    host = "localhost" if scheme == "https" and address[0] == "127.0.0.1" else address[0]
    return f"{scheme}://{host}:{address[1]}"
