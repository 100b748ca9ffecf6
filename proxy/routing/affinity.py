"""What keeps a prompt's cache with one deployment: which one a prompt prefers, among equals. Pure.

By rendezvous hashing (Thaler and Ravishankar, 1998), weighted: when a deployment comes or goes, only those prompts move
that preferred it. What is hashed begins with whose it is, so that nobody can choose where other people's requests go.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import log

import msgspec

from proxy.config.structs import Client
from proxy.policy.request import Request

LEADING = 1024
"""Bytes of a prompt's beginning. What is shorter has no cache worth keeping: Azure's begins at 1,024 tokens."""
_CACHE_KEY = 512  # bytes of one
_PROMPTS = ("messages", "input", "prompt")
_SMALLEST = 2.0**-60
_NULL = msgspec.Raw(b"null")


def affinity(kind: str, client: Client, request: Request | None) -> bytes:
    """What a client's request prefers by, empty if by nothing. `kind` is the model's `affinity`."""
    if request is None or kind == "off":
        return b""
    key = request.members.get("prompt_cache_key")
    if key is not None and key != _NULL:
        return _digest(client, memoryview(key)[:_CACHE_KEY])
    if kind == "prompt":
        for name in _PROMPTS:
            prompt = request.members.get(name)
            if prompt is not None:
                leading = memoryview(prompt)[:LEADING]
                return _digest(client, leading) if len(leading) == LEADING else b""
    return b""


def _digest(client: Client, data: memoryview) -> bytes:
    whose = f"client {client.name}" if client.tenant is None else f"tenant {client.tenant}"
    digest = blake2b(whose.encode(), digest_size=4)
    digest.update(b"\0")
    digest.update(data)
    return digest.digest()


def seed(backend: str, deployment: str) -> float:
    """A deployment's own number, between 0 and 1."""
    digest = blake2b(f"{backend}\0{deployment}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)


def preferred(affinity: bytes, seeds: Sequence[float], weights: Sequence[float]) -> int:
    """The index of the deployment that an affinity prefers: the i-th in `weights[i]` of `sum(weights)` cases.

    Multiples of numbers that have nothing to do with each other, modulo 1, are spread evenly and apart (Weyl, 1916):
    one multiplication each, where a hash would take ten times as long.
    """
    number = int.from_bytes(affinity, "big")
    scores = [weight / -log(number * seed % 1.0 or _SMALLEST) for seed, weight in zip(seeds, weights, strict=True)]
    return scores.index(max(scores))
