"""What this build does not do yet.

A restriction is never parsed and ignored: a key of this table, set to anything but one of its neutral values, keeps
the gateway from starting, and is named. What a later build does, it takes out of here.
"""

from collections.abc import Iterator

from proxy.config import structs
from proxy.config.problem import Problem, quoted
from proxy.config.structs import Config, Table
from proxy.config.walk import walk

NEUTRAL: dict[type[Table], dict[str, tuple[object, ...]]] = {
    structs.ClientCertificates: {"resumption": (False,)},
    structs.State: {"redis": (None,)},
    structs.Client: {"on_disconnect": ("cancel",)},
    structs.Limits: {"tokens_per_day": (None,)},
}
"""Table, key, and the values under which the key asks for nothing that this build lacks."""


def unimplemented(config: Config) -> Iterator[Problem]:
    """Every key that is set and would have no effect."""
    for key, table, name, value in walk(config):
        neutral = NEUTRAL.get(type(table), {}).get(name)
        if neutral is not None and value not in neutral:
            yield Problem(key, f"{_shown(value)} is not implemented in this build", _remedy(neutral))


def _shown(value: object) -> str:
    """The value where it is a name or a switch; else just that there is one: an address may hold a password."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.isidentifier():
        return quoted(value)
    return "what it asks for"


def _remedy(neutral: tuple[object, ...]) -> str:
    names = [quoted(value) for value in neutral if isinstance(value, str)]
    return "leave it out" + (f", or give {' or '.join(names)}" if names else "")
