"""What an operation of Azure OpenAI's data plane is, as far as decisions rest on it. Plain data."""

from typing import Literal

import msgspec


class State(msgspec.Struct, frozen=True):
    """What an operation does with stored state.

    `act`: "list" is answered from what is remembered, "content" is passed on as it comes. `kind` is of what it makes or
    lists; other things are named by the path's placeholders, each after its kind. Of a JSON body, `members` are all
    that may be there, `ids` those of them that are ids (one or a list), by kind. `query` are the parameters that pass
    on.
    """

    act: Literal["create", "list", "get", "delete", "change", "content"]
    kind: str = ""
    members: frozenset[str] = frozenset()
    ids: tuple[tuple[str, str], ...] = ()
    query: frozenset[str] = frozenset()


class Operation(msgspec.Struct, frozen=True):
    """One operation of Azure OpenAI's data plane.

    `body`: how its request body is read. `inference`: stateless, so that trying again elsewhere is safe. The rest is
    what bounds of grants concern: `limits` are the parameters that bound its completion, the one to set first;
    `choices` those that ask for several answers; `streams`: its answer can be a stream; `inputs`: what it is made of.
    `state`: it is on stored state, and `*` does not include it. `stored`: the name of the operation that a request is,
    if it makes or names stored state.
    """

    name: str
    path: str
    body: Literal["json", "multipart", "none"]
    method: str = "POST"
    inference: bool = True
    surfaces: tuple[str, ...] = ("deployments", "v1")
    limits: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    streams: bool = False
    inputs: frozenset[str] = frozenset()
    state: State | None = None
    stored: str | None = None
