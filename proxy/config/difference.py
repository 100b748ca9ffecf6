"""What differs between two configurations, key by key, and what each difference does to those who are served. Pure.

What has a name is known by it, wherever it stands in the file: clients, models, backends, issuers; deployments by
backend and deployment. Grants are tried in order, so theirs counts. Files count by what is in them: `Side` has that.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from proxy.config.contents import Content
from proxy.config.problem import line, within
from proxy.config.shown import NOT_SET, shown
from proxy.config.structs import Backend, Client, Config, Deployment, Issuer, Model, Table

FIXED = (
    "listen.address",
    "listen.workers",
    "listen.health.address",
    "admin",
    "state",
    "audit.path",
    "audit.key",
    "audit.required",
)
"""What a running gateway cannot change."""

_ALIGNED_AT_MOST = 200
_LINE = 160

Effect: TypeAlias = Literal["applies", "ends", "restart"]
"""`applies`: to what comes from now on; `ends`: what was allowed may be refused; `restart`: not while it runs."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `old` and `new` are lines to show, None where there is nothing; `note` says what follows."""

    key: str
    kind: Literal["added", "removed", "changed", "content"]
    old: str | None = None
    new: str | None = None
    effect: Effect = "applies"
    note: str = ""


class Side(NamedTuple):
    """A configuration and what is in the files that it names."""

    config: Config
    contents: Mapping[str, Content] = {}


class _Place(NamedTuple):
    """Where a value is: its key, the same with `*` for each name and index, and the last name of a key."""

    key: str
    pattern: str
    name: str

    def field(self, name: str) -> "_Place":
        return _Place(within(self.key, name), f"{self.pattern}.{name}" if self.pattern else name, name)

    def entry(self, name: str) -> "_Place":
        return _Place(within(self.key, name), f"{self.pattern}.*", self.name)

    def at(self, index: int) -> "_Place":
        return _Place(f"{self.key}[{index}]", f"{self.pattern}.*", self.name)


_AGAIN = "is judged again at each next request, on open connections too"
_NO_LONGER = "is refused from the next request on, on open connections too; what streams is finished"
_GOES_ON = "gets no further request; what streams from it goes on"


class _Consequence(NamedTuple):
    """What follows from a change under `pattern`: from any, or only where something is `lost` that was there.

    `whole`: only from the removal of all of it. `troubles`: somebody may be refused.
    """

    pattern: str
    note: str
    lost: bool = False
    whole: bool = False
    troubles: bool = True


_CONSEQUENCES = (
    _Consequence("clients.*.key_hashes", f"a key that is no longer here {_NO_LONGER}", lost=True),
    _Consequence("clients.*.keys", f"an issued key {_NO_LONGER}", lost=True),
    _Consequence("clients.*.certificate", f"who no longer matches {_NO_LONGER}"),
    _Consequence("clients.*.token", f"who no longer matches {_NO_LONGER}"),
    _Consequence("clients.*.require", f"who shows less {_NO_LONGER}"),
    _Consequence("clients.*.grants", f"what nothing else allows {_NO_LONGER}"),
    _Consequence("clients.*", f"whatever it asks {_NO_LONGER}", whole=True),
    _Consequence("issuers.*", f"a token of this issuer {_AGAIN}"),
    _Consequence("models.*.deployments.*", _GOES_ON, whole=True, troubles=False),
    _Consequence("models.*", f"a request for it {_NO_LONGER}", whole=True),
    _Consequence("backends.*", _GOES_ON, whole=True, troubles=False),
    _Consequence("listen.client_certificates.roots", f"a certificate under what was taken out {_NO_LONGER}", lost=True),
    _Consequence("listen.client_certificates", f"every client's certificate {_AGAIN}"),
)
"""The first that fits counts."""


def difference(old: Side, new: Side) -> list[Change]:
    """Everything that differs, in the order of the file's tables."""
    return [_judged(change, pattern) for change, pattern in _Walk(old, new).tables(_Place("", "", ""))]


def summary(changes: Sequence[Change]) -> str:
    """All of it in one line."""
    if not changes:
        return "no key has changed"
    first = sentence(changes[0])
    return line(first, _LINE) + (f", and {len(changes) - 1} more" if len(changes) > 1 else "")


def sentence(change: Change) -> str:
    """A change without what follows from it."""
    match change.kind:
        case "added":
            return f"{change.key} added: {change.new}"
        case "removed":
            return f"{change.key} removed: {change.old}"
        case "content" if change.old is not None:
            return f"{change.key}: another content: {change.old} → {change.new}"
        case "content":
            return f"{change.key}: another content"
        case _:
            return f"{change.key}: {change.old} → {change.new}"


Found: TypeAlias = Iterator[tuple[Change, str]]
"""Changes, and the pattern of each one's place."""


class _Walk:
    """Both sides at once."""

    def __init__(self, old: Side, new: Side) -> None:
        self._old = old
        self._new = new

    def tables(self, place: _Place) -> Found:
        return self._tables(place, self._old.config, self._new.config)

    def _tables(self, place: _Place, old: Table, new: Table) -> Found:
        for name in old.__struct_fields__:
            yield from self._values(place.field(name), getattr(old, name), getattr(new, name))

    def _values(self, place: _Place, old: Any, new: Any) -> Found:
        if isinstance(old, Table) and type(old) is type(new):
            yield from self._tables(place, old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            yield from self._named(place, old, new)
        elif isinstance(old, tuple) and isinstance(new, tuple):
            yield from self._tuples(place, old, new)
        elif old != new:
            yield _changed(place, old, new)
        elif isinstance(old, str):
            yield from self._content(place, old)

    def _named(self, place: _Place, old: Mapping[str, Any], new: Mapping[str, Any]) -> Found:
        for name, value in old.items():
            if name in new:
                yield from self._values(place.entry(name), value, new[name])
            else:
                yield _removed(place.entry(name), value)
        for name, value in new.items():
            if name not in old:
                yield _added(place.entry(name), value)

    def _tuples(self, place: _Place, old: tuple[Any, ...], new: tuple[Any, ...]) -> Found:
        entries = (*old, *new)
        if not any(isinstance(entry, Table) for entry in entries):
            if old != new:
                yield _changed(place, old, new)
            for path in dict.fromkeys(entry for entry in old if entry in new):
                yield from self._content(place, path)
        elif all(isinstance(entry, tuple(_NAMED)) for entry in entries):
            yield from self._named(place, _by_name(old), _by_name(new))
        else:
            yield from self._in_order(place, old, new)

    def _in_order(self, place: _Place, old: tuple[Any, ...], new: tuple[Any, ...]) -> Found:
        """What stayed is found again wherever it moved to; of what did not, the first is compared with the first."""
        for stayed, i, i_end, j, j_end in _aligned(old, new):
            pairs = min(i_end - i, j_end - j)
            for k in range(pairs):
                yield from self._values(place.at(j + k), old[i + k], new[j + k])
            if stayed:
                continue
            for k in range(i + pairs, i_end):
                yield _removed(place.at(k), old[k])
            for k in range(j + pairs, j_end):
                yield _added(place.at(k), new[k])

    def _content(self, place: _Place, path: str) -> Found:
        """The same path: is there the same in it?"""
        old, new = self._old.contents.get(path), self._new.contents.get(path)
        if old is None or new is None or old.digest == new.digest:
            return
        gone = [entry for entry in old.holds if entry not in new.holds]
        come = [entry for entry in new.holds if entry not in old.holds]
        shows = bool(gone or come)
        change = Change(
            key=place.key,
            kind="content",
            old=(", ".join(gone) or "nothing taken out") if shows else None,
            new=(", ".join(come) or "nothing put in") if shows else None,
            effect="ends" if gone or not shows else "applies",
        )
        yield change, place.pattern


_NAMED: dict[type[Table], Any] = {
    Client: lambda client: client.name,
    Model: lambda model: model.name,
    Backend: lambda backend: backend.name,
    Issuer: lambda issuer: issuer.name,
    Deployment: lambda deployment: f"{deployment.backend}/{deployment.deployment}",
}


def _by_name(tables: tuple[Table, ...]) -> dict[str, Table]:
    """What is there twice under a name, which `check` may still have to refuse, gets a number."""
    found: dict[str, Table] = {}
    for table in tables:
        name = base = _NAMED[type(table)](table)
        count = 1
        while name in found:
            count += 1
            name = f"{base}#{count}"
        found[name] = table
    return found


def _aligned(old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[tuple[bool, int, int, int, int]]:
    if len(old) + len(new) > _ALIGNED_AT_MOST:
        yield False, 0, len(old), 0, len(new)
        return
    for tag, i, i_end, j, j_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        yield tag == "equal", i, i_end, j, j_end


def _changed(place: _Place, old: Any, new: Any) -> tuple[Change, str]:
    """`ends` where something is no longer there that was."""
    before, after = shown(old, place.name), shown(new, place.name)
    if before == after:
        after += " (they differ in what is not shown)"
    if isinstance(old, tuple) and isinstance(new, tuple):
        loses = bool(set(old) - set(new))
    else:
        loses = old is not None and old is not False
    effect: Effect = "ends" if loses else "applies"
    return Change(key=place.key, kind="changed", old=before, new=after, effect=effect), place.pattern


def _removed(place: _Place, old: Any) -> tuple[Change, str]:
    return Change(key=place.key, kind="removed", old=shown(old, place.name), effect="ends"), place.pattern


def _added(place: _Place, new: Any) -> tuple[Change, str]:
    return Change(key=place.key, kind="added", new=shown(new, place.name)), place.pattern


def _judged(change: Change, pattern: str) -> Change:
    """With what it does: so far `effect` says only whether it takes something away."""
    if any(_under(change.key, key) for key in FIXED):
        return _with(change, "restart", "a running gateway cannot change this: restart it")
    for follows in _CONSEQUENCES:
        if _follows(follows, change, pattern):
            return _with(change, "ends" if follows.troubles else "applies", follows.note)
    return _with(change, "applies", "")


def _follows(consequence: _Consequence, change: Change, pattern: str) -> bool:
    if not _under(pattern, consequence.pattern) or change.kind == "added":
        return False
    itself = pattern == consequence.pattern
    if consequence.whole:
        return itself and change.kind == "removed"
    return change.effect == "ends" or not (consequence.lost or (itself and change.old == NOT_SET))


def _with(change: Change, effect: Effect, note: str) -> Change:
    return msgspec.structs.replace(change, effect=effect, note=note)


def _under(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith((prefix + ".", prefix + "["))
