"""Who a request is from, once that is settled."""

from typing import Literal

import msgspec

CredentialKind = Literal["certificate", "token", "key", "none"]


class Principal(msgspec.Struct, frozen=True):
    """A known client, and the credential that named it. `fingerprint` is safe to record.

    `scopes`, `roles` and `groups` are a token's; without one they are empty.
    """

    client: str
    tenant: str | None
    kind: CredentialKind
    fingerprint: str
    user: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
