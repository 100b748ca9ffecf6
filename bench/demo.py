"""`scripts/demo`: a gateway in front of a mock Azure OpenAI in two regions, and one streamed answer through it.

Everything it makes is in `.demo` at the top of the checkout: certificates, configurations, the audit log. The gateway's
configuration there is a working example of its scenario.
"""

import argparse
import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki, build
from proxy.config.structs import Seconds

_READY_WITHIN = 30.0
_KEY = "demo-key-not-a-secret"
_PROMPT = "How does the water get to the turbines?"

_CERTIFICATE = 'certificate = { issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/turbine-7"] }'
_KEY_HASH = f'key_hashes = ["sha256:{hashlib.sha256(_KEY.encode()).hexdigest()}"]'

SCENARIOS: dict[str, str] = {
    "certificates": "the client shows a certificate; mutual TLS",
    "keys": "the client has a key of its own",
    "multi-region": "one region is down, and the other answers in its place",
}
"""What the demo can show; scenarios of identity providers come with tokens."""


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


def main(argv: list[str] | None = None) -> int:
    """Run the demo; its exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Penstock in front of a mock Azure OpenAI, on this machine.",
        epilog="example: ./scripts/demo --once --scenario keys",
    )
    parser.add_argument("--once", action="store_true", help="end after the answer; the exit code tells how it went")
    parser.add_argument(
        "--scenario",
        choices=SCENARIOS,
        default="certificates",
        help="; ".join(f"{name}: {what}" for name, what in SCENARIOS.items()),
    )
    arguments = parser.parse_args(argv)
    try:
        _run(Path(".demo").resolve(), arguments.scenario, once=arguments.once)
    except DemoFailed as failed:
        print(f"the demo failed: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


def _run(folder: Path, scenario: str, *, once: bool) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    print(f"scenario {scenario}: {SCENARIOS[scenario]}")
    pki = build(folder / "pki")
    place = folder / scenario
    place.mkdir(parents=True, exist_ok=True)
    with mock_process(_azure(pki)) as mock:
        print(f"mock Azure OpenAI: {', '.join(mock.urls.values())}")
        port, admin, health = (_free_port() for _ in range(3))
        config = place / "penstock.toml"
        config.write_text(configuration(pki, mock, scenario, port, admin, health))
        print(f"configuration: {config}")
        with _gateway(config, mock, health):
            if scenario == "multi-region":
                mock.fault("reset", instance="sweden")
            earlier = len(_records(place))
            _ask(pki, scenario, port)
            _show(place, pki, scenario, port, admin, earlier)
            if not once:
                print("\nup until you press Ctrl-C", flush=True)
                signal.pause()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _azure(pki: Pki) -> MockConfig:
    deployment = Deployment(name="gpt-4o", first_token=Seconds(0.2), between_tokens=Seconds(0.04))
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=(
            Instance(name="sweden", region="Sweden Central", tier="provisioned", deployments=(deployment,)),
            Instance(name="france", region="France Central", deployments=(deployment,)),
        ),
    )


def configuration(pki: Pki, mock: MockProcess, scenario: str, port: int, admin: int, health: int) -> str:
    """The gateway's configuration for a scenario."""
    server = pki.pairs["server"]
    by_certificate = scenario != "keys"
    return f"""[listen]
address = "127.0.0.1:{port}"
certificate = "{server.certificate}"
private_key = "{server.key}"

[listen.health]
address = "127.0.0.1:{health}"

[listen.client_certificates]
mode = "{"required" if by_certificate else "off"}"
roots = [{f'"{pki.client_root}"' if by_certificate else ""}]

[admin]
address = "127.0.0.1:{admin}"

[[clients]]
name = "turbine-7"
tenant = "power"
{_CERTIFICATE if by_certificate else _KEY_HASH}

[[clients.grants]]
models = ["gpt-4o"]
operations = ["chat.completions", "responses"]

[clients.limits]
requests_per_minute = 600
tokens_per_minute = 120_000
concurrent_requests = 64

[credentials.gateway]
kind = "managed_identity"                 # of the mock's metadata endpoint

[[backends]]
name = "sweden"
url = "{mock.urls["sweden"]}"
region = "swedencentral"
tier = "provisioned"
credential = "gateway"
ca = "{pki.server_root}"

[[backends]]
name = "france"
url = "{mock.urls["france"]}"
region = "francecentral"
credential = "gateway"
ca = "{pki.server_root}"

[[models]]
name = "gpt-4o"
tokenizer = "o200k_base"
deployments = [
  {{ backend = "sweden", deployment = "gpt-4o", priority = 0 }},
  {{ backend = "france", deployment = "gpt-4o", priority = 1 }},
]
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _gateway(config: Path, mock: MockProcess, health: int) -> Iterator[None]:
    environment = os.environ | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": mock.identity}
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    log = config.with_name("gateway.log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            if not _wait(lambda: process.poll() is not None or _ready(health)) or process.poll() is not None:
                raise DemoFailed(f"the gateway did not start:\n{log.read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _ready(health: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait(is_so: Callable[[], bool]) -> bool:
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.1)
    return False


def _ask(pki: Pki, scenario: str, port: int) -> None:
    """One streamed chat completion; its tokens are printed as they arrive."""
    context = ssl.create_default_context(cafile=str(pki.server_root))
    headers = {"content-type": "application/json"}
    if scenario == "keys":
        headers["api-key"] = _KEY
    else:
        pair = pki.pairs["turbine-7"]
        context.load_cert_chain(pair.certificate, pair.key)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": _PROMPT}], "max_tokens": 24, "stream": True}
    request = urllib.request.Request(
        f"https://localhost:{port}/openai/v1/chat/completions", json.dumps(body).encode(), headers
    )
    print(f"\nasked: {_PROMPT}\nanswer: ", end="", flush=True)
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:  # noqa: S310
            for line in answer:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        print(choice["delta"].get("content") or "", end="", flush=True)
            print(f"\nanswered by {answer.headers['x-penstock-backend']} in {answer.headers['x-penstock-region']}")
    except OSError as error:
        raise DemoFailed(f"no answer: {error}") from None


def _records(place: Path) -> list[str]:
    audit = place / "log" / "audit.jsonl"
    return audit.read_text().splitlines() if audit.exists() else []


def _show(place: Path, pki: Pki, scenario: str, port: int, admin: int, earlier: int) -> None:
    """The record of the request, the address of the status page, and how to ask again."""
    if not _wait(lambda: len(_records(place)) > earlier):
        raise DemoFailed(f"no record in {place / 'log' / 'audit.jsonl'}")
    record = json.loads(_records(place)[-1])
    shown = ("client", "tenant", "model", "backend", "region", "attempts", "tokens", "ttfb_ms", "duration_ms", "end")
    print("\nrecord:", json.dumps({name: record[name] for name in shown}))
    if record["end"] != "complete":
        raise DemoFailed(f"the request ended as {record['end']}")
    token = (place / "state" / "admin.token").read_text().strip()
    proof = f"-H 'api-key: {_KEY}'"
    if scenario != "keys":
        pair = pki.pairs["turbine-7"]
        proof = f"--cert {pair.certificate} --key {pair.key}"
    print(f"\nstatus page: http://127.0.0.1:{admin}/  (any user name; the password is {token})")
    print(
        f"\ncurl --cacert {pki.server_root} {proof} -H 'content-type: application/json' "
        f"https://localhost:{port}/openai/v1/chat/completions "
        """-d '{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":true}'"""
    )


if __name__ == "__main__":
    sys.exit(main())
