"""Where stored things lie. Pure."""

import hashlib
from collections.abc import Mapping, Sequence

from proxy.refusal import Reason, Refused
from proxy.stored.entry import Entry

PATHS = {
    "file": "files",
    "batch": "batches",
    "vector_store": "vector_stores",
    "fine_tuning_job": "fine_tuning/jobs",
    "response": "responses",
    "conversation": "conversations",
}
"""The path, below a surface, under which a resource has the things of a kind."""


def common(entries: Sequence[Entry], resources: Mapping[str, tuple[str, ...]]) -> str | None:
    """The backend by which all of these things are reached; None for none. `resources`: which backends are one.

    Raises `Refused`: TWO_RESOURCES.
    """
    places = {resources.get(entry.backend, (entry.backend,))[0] for entry in entries}
    if len(places) > 1:
        raise Refused(Reason.TWO_RESOURCES, ", ".join(sorted(places)))
    return entries[0].backend if entries else None


def affinity(key: str, place: str) -> bytes:
    """How much a client's things belong to a resource (rendezvous hashing, Thaler and Ravishankar, 1998)."""
    return hashlib.blake2b(f"{key}\0{place}".encode(), digest_size=8).digest()
