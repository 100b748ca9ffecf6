"""Whose a thing is: the client's that made it within its tenant, or of those of one tenant who share."""

import pytest

from proxy.config.structs import Client
from proxy.stored.entry import Entry, Owner, may_use, owners_for


def client(name: str, tenant: str | None = None, share: str = "client") -> Client:
    return Client(name=name, tenant=tenant, share_state=share)  # type: ignore[arg-type]


def entry(tenant: str | None, name: str) -> Entry:
    return Entry("file-1", "file", Owner(tenant, name), "swc", 0.0)


A, B, C = client("a", "t", "tenant"), client("b", "t", "tenant"), client("c", "u", "tenant")
ALONE = client("d", "t")

TABLE = [
    ("its own", client("x", "t"), entry("t", "x"), client("x", "t"), True),
    ("its own, without a tenant", client("x"), entry(None, "x"), client("x"), True),
    ("another's", client("x"), entry(None, "y"), client("y"), False),
    ("of its name, from a tenant it was in", client("x", "u"), entry("t", "x"), client("x", "u"), False),
    ("of its name, from before it had a tenant", client("x", "u"), entry(None, "x"), client("x", "u"), False),
    ("of one that shares with it", A, entry("t", "b"), B, True),
    ("of one in its tenant that shares nothing", A, entry("t", "d"), ALONE, False),
    ("of one that shares, to whom it shares nothing", ALONE, entry("t", "a"), A, False),
    ("of one that shares in another tenant", A, entry("u", "c"), C, False),
    ("of one that has left the tenant", A, entry("t", "b"), client("b", "u", "tenant"), False),
    ("of one that is configured no more", A, entry("t", "gone"), None, False),
    ("of no tenant", client("x", None, "tenant"), entry(None, "y"), client("y", None, "tenant"), False),
]


@pytest.mark.parametrize(("what", "who", "thing", "owner", "may"), TABLE, ids=[row[0] for row in TABLE])
def test_who_may_use_a_thing(what: str, who: Client, thing: Entry, owner: Client | None, may: bool) -> None:
    assert may_use(who, thing, owner) is may, what


def test_whose_things_are_listed() -> None:
    clients = {one.name: one for one in (A, B, C, ALONE)}
    assert set(owners_for(A, clients)) == {Owner("t", "a"), Owner("t", "b")}
    assert owners_for(ALONE, clients) == (Owner("t", "d"),)
