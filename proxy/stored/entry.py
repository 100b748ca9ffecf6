"""One stored thing as it is remembered, whose it is, and what workers ask of the memory. Plain data."""

import msgspec

from proxy.config.structs import Client

PAGE = 100
"""Things in one page of a listing, at most."""


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """A client within its tenant. A client that moves to another tenant leaves behind what it stored."""

    tenant: str | None
    client: str


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """`backend` is where it was made. `created` and `expires` are Unix times; None: it stays until it is deleted.

    `label` is what listings filter by (a file's purpose). `pending` is true while what it uses is not counted yet, and
    `tokens` what was reserved for that. `model` is the client's name for the model that it is of, and `operation` what
    a batch file's lines are.
    """

    id: str
    kind: str
    owner: Owner
    backend: str
    created: float
    expires: float | None = None
    label: str = ""
    model: str = ""
    operation: str = ""
    tokens: int = 0
    pending: bool = False

    def live(self, now: float) -> bool:
        return self.expires is None or now < self.expires


class Find(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What is remembered of these ids."""

    ids: tuple[str, ...]


class Keep(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Remember these, of one owner. Of one that is remembered already only `expires` changes, and only its owner's."""

    entries: tuple[Entry, ...]


class Page(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Those of some owners and one kind, in order, from `after` or up to `before` on."""

    owners: tuple[Owner, ...]
    kind: str
    label: str | None = None
    after: str | None = None
    before: str | None = None
    ascending: bool = False
    limit: int = 20


class Drop(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """These are deleted."""

    ids: tuple[str, ...]


class Count(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What this one used is counted now: the answer is `ok` for the first who asks."""

    id: str


Question = Find | Keep | Page | Drop | Count


class Told(msgspec.Struct, frozen=True, array_like=True):
    """The answer. `why` where it is not `ok`: "full", "taken", "unknown", "counted", "unavailable"."""

    why: str = ""
    entries: tuple[Entry, ...] = ()
    more: bool = False

    @property
    def ok(self) -> bool:
        return not self.why


def owner_of(client: Client) -> Owner:
    return Owner(client.tenant, client.name)


def may_use(client: Client, entry: Entry, owner: Client | None) -> bool:
    """Whether a thing is a client's own, or of one of its tenant with whom it shares.

    `owner` is the client that made it, as it is configured now. Both must be configured to share.
    """
    own = entry.owner
    if own.client == client.name:
        return own.tenant == client.tenant
    return (
        client.share_state == "tenant"
        and owner is not None
        and owner.share_state == "tenant"
        and client.tenant is not None
        and own.tenant == client.tenant == owner.tenant
    )


def owners_for(client: Client, clients: dict[str, Client]) -> tuple[Owner, ...]:
    """Those whose things a client is shown."""
    if client.share_state != "tenant" or client.tenant is None:
        return (owner_of(client),)
    return tuple(
        owner_of(other)
        for other in clients.values()
        if other.name == client.name or (other.share_state == "tenant" and other.tenant == client.tenant)
    )
