"""The JSON bodies of operations on stored state: members by list, ids by kind, all of it written anew. Pure."""

from typing import Any

import msgspec

from proxy.policy import references
from proxy.policy.operation import Operation, State
from proxy.policy.references import Name
from proxy.policy.request import Request, fetches, inputs
from proxy.refusal import Reason, Refused

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Said(msgspec.Struct, frozen=True):
    """What a body says. `sent` is what a backend gets; `request` is what grants judge."""

    members: dict[str, Any]
    sent: bytes
    names: tuple[Name, ...]
    request: Request


def read(operation: Operation, body: bytes | bytearray) -> Said:
    """Raises `Refused`: BAD_JSON, UNJUDGED, STORED_STATE, NOT_FOUND."""
    state = operation.state
    assert state is not None
    try:
        members = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Reason.BAD_JSON, "body") from None
    strange = sorted(members.keys() - state.members)
    if strange:
        shown = strange[0][:64].encode("ascii", "replace").decode("ascii")
        raise Refused(Reason.UNJUDGED, "member", message=f"'{shown}' is not available through this gateway.")
    names = list(_named(state, members))
    request = Request({}, None)
    if "items" in members:
        if fetches(members["items"], names):
            request.features = frozenset(("remote_images",))
        request.uses = frozenset(inputs(members["items"]))
    return Said(members, _encode(members), references.distinct(names), request)


def _named(state: State, members: dict[str, Any]) -> list[Name]:
    names = []
    for key, kind in state.ids:
        value = members.get(key)
        if value is not None:
            names += [references.name(kind, one) for one in (value if isinstance(value, list) else [value])]
    return names


def string(said: Said, key: str) -> str:
    """A member that must be there. Raises `Refused`: BAD_JSON."""
    value = said.members.get(key)
    if not isinstance(value, str):
        raise Refused(Reason.BAD_JSON, key, message=f"'{key}' must be a string.")
    return value
