"""What a later answer tells of a thing that is remembered: the files that it has made, its new end, and, once, what it
used.
"""

import time
from typing import TYPE_CHECKING, Any

import msgspec

from proxy.stored import answers
from proxy.stored.entry import Entry

if TYPE_CHECKING:
    from proxy.exchange import Exchange


async def take(exchange: "Exchange", entry: Entry, answer: dict[str, Any], body: bytes) -> None:
    """Have it remembered, and counted for whoever asks. Raises `Refused`."""
    stored, now = exchange.worker.stored, time.time()
    news = answers.files_of(entry, answer, now)
    fresh = answers.entry_of(entry.kind, answer, entry.owner, entry.backend, now)
    if entry.kind == "vector_store" and fresh is not None and fresh.expires != entry.expires:
        news.append(msgspec.structs.replace(entry, expires=fresh.expires))
    await stored.keep(news)
    if entry.model:
        exchange.record.model = entry.model
    if entry.pending and answers.finished(answer) and await stored.count_once(entry):
        tokens = answers.used(entry, answer, body)
        if tokens is not None:
            exchange.record.tokens = tokens
            exchange.charged = max(0, tokens.total - entry.tokens)
