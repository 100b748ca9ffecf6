"""Where a request that has to do with stored state comes in: what it may is settled, and who serves it."""

from typing import TYPE_CHECKING

import msgspec

from proxy.policy.operations import OPERATIONS
from proxy.policy.request import State
from proxy.refusal import Reason, Refused
from proxy.stored_exchange.content import Content
from proxy.stored_exchange.direct import Direct
from proxy.stored_exchange.kept import Kept
from proxy.stored_exchange.listing import Listing
from proxy.stored_exchange.owned import owned, place_of
from proxy.stored_exchange.single import Single

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_IGNORED_BODY = 64 << 10
_NOT_THERE = "The resource that holds what the request names does not serve this model."
_SERVED_BY: dict[str, type[Direct]] = {"list": Listing, "content": Content}


async def serve_stored(exchange: "Exchange") -> None:
    """A request for an operation on stored state. Raises `Refused`, `ClientGone`."""
    head = exchange.head
    assert head is not None
    operation = exchange.target.operation
    assert operation.state is not None
    if head.method == b"HEAD":
        raise Refused(Reason.METHOD_NOT_ALLOWED, operation.name)
    if ("stream", "true") in exchange.target.query:
        raise Refused(Reason.UNJUDGED, "stream", message="A stored response is not streamed: ask for it without.")
    permissions = exchange.view.permissions[exchange.client.name]
    rule = permissions.allow(operation, exchange.principal)
    exchange.record.rule = rule.name if exchange.note is None else f"{rule.name}; {exchange.note}"
    if operation.body == "none":
        await _ignore_body(exchange)
    else:
        exchange.judge_body(head)
        await exchange.read_body(head, permissions.closely)
    exchange.forwarding = forwarding = _SERVED_BY.get(operation.state.act, Single)(exchange)
    await forwarding.run()


async def serve_kept(exchange: "Exchange", state: State) -> None:
    """A stateless operation's request whose body makes or names stored state. Raises `Refused`, `ClientGone`."""
    plain = exchange.target.operation
    assert plain.stored is not None
    operation = OPERATIONS[plain.stored]
    exchange.record.operation = operation.name
    exchange.target = msgspec.structs.replace(exchange.target, operation=operation)
    requested = exchange.requested()
    named = exchange.view.aliases.get(requested, requested)
    exchange.authorize(exchange.view.permissions[exchange.client.name], named)
    # It is metered as what it is without being kept, but it is not safe to repeat.
    forwarded = msgspec.structs.replace(plain, inference=False)
    exchange.target = msgspec.structs.replace(exchange.target, operation=forwarded)
    await exchange.admit()
    place = place_of(exchange, await owned(exchange, state.names))
    backends = () if place is None else exchange.view.resources[place]
    if backends and all(one.backend not in backends for one in exchange.view.models[exchange.served].deployments):
        raise Refused(Reason.RESOURCE_GONE, f"{exchange.served} is not at {place}", message=_NOT_THERE)
    exchange.forwarding = kept = Kept(exchange, state, backends)
    await kept.run()


async def _ignore_body(exchange: "Exchange") -> None:
    """Official clients may send `{}` where no body is expected; anything else has a meaning that is not known."""
    head = exchange.head
    assert head is not None
    if head.length > _IGNORED_BODY or head.chunked:
        raise Refused(Reason.BODY_TOO_LARGE, "no body is expected")
    if head.length:
        await exchange.read_body(head, False)
        if exchange.body.strip() not in (b"", b"{}", b"null"):
            raise Refused(Reason.UNJUDGED, "body", message="This operation takes no body.")
