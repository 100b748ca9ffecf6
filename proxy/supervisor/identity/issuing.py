"""What may be asked about client keys, by a command or over the admin address, and how keys are shown to both."""

from collections.abc import Iterable

from proxy.admin.keys import KeyStatus, State
from proxy.config.problem import one_of, quoted
from proxy.config.structs import Client
from proxy.config.units import parse_duration
from proxy.supervisor.store.keys import KeyProblem, StoredKey

_LONGEST_LIFE = 100 * 365 * 86_400.0
_NOTE = 200


class UnknownClient(KeyProblem):
    def __init__(self, name: str, clients: Iterable[Client]) -> None:
        super().__init__(f"no client is named {quoted(name)}: {one_of(client.name for client in clients)}")


class TakesNoKeys(KeyProblem):
    def __init__(self, name: str) -> None:
        super().__init__(f"client {quoted(name)} takes no issued keys: set keys = true for it in the configuration")


def judge(client: str, clients: Iterable[Client]) -> None:
    """Whether keys can be issued to a client of this name. Raises `UnknownClient`, `TakesNoKeys`."""
    by_name = {known.name: known for known in clients}
    if client not in by_name:
        raise UnknownClient(client, by_name.values())
    if not by_name[client].keys:
        raise TakesNoKeys(client)


def lifetime(text: str) -> float:
    """Seconds of `"90d"` or `"12h"`. Raises `ValueError`."""
    seconds = parse_duration(text)
    if not 0 < seconds <= _LONGEST_LIFE:
        raise ValueError('give more than nothing and at most 100 years, such as "90d"')
    return seconds


def note(text: str) -> str:
    """Raises `ValueError` for what is not one short line."""
    if len(text) > _NOTE or not text.isprintable():
        raise ValueError(f"a note is one line of at most {_NOTE} characters")
    return text


def shown(row: StoredKey, takes_keys: frozenset[str], now: float, last_used: float | None = None) -> KeyStatus:
    """A key as people see it. `takes_keys`: the names of the clients that do."""
    state: State = row.state(now)
    return KeyStatus(
        id=row.id,
        client=row.client,
        state="suspended" if state == "live" and row.client not in takes_keys else state,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        last_used=max((moment for moment in (row.last_used, last_used) if moment is not None), default=None),
        note=row.note,
    )


def takers(clients: Iterable[Client]) -> frozenset[str]:
    """The names of the clients that take issued keys."""
    return frozenset(client.name for client in clients if client.keys)
