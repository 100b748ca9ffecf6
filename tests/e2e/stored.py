"""Clients of two tenants before a gateway that knows whose stored things are."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
from openai import AzureOpenAI, OpenAI

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import Gateway, config_text, gateway, hashed

NAMES = {
    "ann": ('tenant = "north"', ""),
    "bob": ('tenant = "north"', ""),
    "eve": ('tenant = "south"', ""),
    "sal": ('tenant = "east"\nshare_state = "tenant"', ""),
    "sam": ('tenant = "east"\nshare_state = "tenant"', ""),
    "fra": ('tenant = "west"\nregions = ["francecentral"]', ""),
    "few": ('tenant = "west"', "tokens_per_minute = 2_000"),
}
"""By name: tenant and regions, and limits. `ann` and `bob` are of one tenant and share nothing; `sal` and `sam` do."""

EVERYTHING = '["*", "responses.*", "conversations.*", "files.*", "batches.*", "vector_stores.*", "fine_tuning.*"]'


def key_of(name: str) -> str:
    return f"key-of-{name}-who-stores"


def clients() -> str:
    parts = [
        f"""[[clients]]
name = "{name}"
{about}
key_hashes = ["{hashed(key_of(name))}"]
[[clients.grants]]
models = ["gpt-4o", "base-model"]
operations = {EVERYTHING}
features = ["background", "server_tools"]
[clients.limits]
{limits}
"""
        for name, (about, limits) in NAMES.items()
    ]
    parts.append(
        f"""[[clients]]
name = "plain"
key_hashes = ["{hashed(key_of("plain"))}"]
[[clients.grants]]
models = ["*"]
operations = ["*"]
features = ["background", "server_tools"]
"""
    )
    return "\n".join(parts)


def stored_text(pki: Pki, mock: MockProcess) -> str:
    base = """[[models]]
name = "base-model"
deployments = [{ backend = "swc", deployment = "gpt-4o" }, { backend = "frc", deployment = "gpt-4o" }]
"""
    return config_text(pki, mock, clients=clients(), more=base)


@contextlib.contextmanager
def stored_gateway(folder: Path, pki: Pki, mock: MockProcess, text: str | None = None) -> Iterator[Gateway]:
    with gateway(folder, pki, mock, text or stored_text(pki, mock)) as running:
        yield running


class Who:
    """One client: raw over `http`, and with the official client."""

    def __init__(self, running: Gateway, name: str) -> None:
        self.name = name
        self._gateway = running
        self.http = running.client(key_of(name))

    def sdk(self) -> OpenAI:
        http = openai.DefaultHttpxClient(verify=self._gateway.context())
        return OpenAI(
            base_url=f"{self._gateway.url}/openai/v1", api_key=key_of(self.name), http_client=http, max_retries=0
        )

    def azure(self) -> AzureOpenAI:
        http = openai.DefaultHttpxClient(verify=self._gateway.context())
        return AzureOpenAI(
            azure_endpoint=self._gateway.url, api_key=key_of(self.name), api_version="2025-04-01-preview",
            http_client=http, max_retries=0,
        )  # fmt: skip

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        target = path if path.startswith("/") else f"/openai/v1/{path}"
        return self.http.request(method, target, json=body, **more)

    def upload(self, content: bytes = b"text", purpose: str = "assistants", **more: Any) -> httpx.Response:
        files = {"file": ("f.jsonl", content)}
        return self.http.post("/openai/v1/files", data={"purpose": purpose}, files=files, **more)

    def close(self) -> None:
        self.http.close()


def line(number: int = 1, **body: Any) -> dict[str, Any]:
    said = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 5, **body}
    return {"custom_id": f"c{number}", "method": "POST", "url": "/v1/chat/completions", "body": said}


def lines(*given: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in given or (line(1), line(2)))
