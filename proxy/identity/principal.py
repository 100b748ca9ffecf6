"""Who a request is from, once that is settled."""

from typing import Literal

import msgspec

CredentialKind = Literal["certificate", "token", "key", "none"]


class Principal(msgspec.Struct, frozen=True):
    """A known client, and the credential that named it. `fingerprint` is safe to record."""

    client: str
    tenant: str | None
    kind: CredentialKind
    fingerprint: str
    user: str | None = None
