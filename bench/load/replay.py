"""Recorded load: who asked for what when, from a log. Pure but for reading the file.

Two kinds of log are known, by their first line:

- the gateway's audit log, a JSON record a line: its times, clients, operations and models, and the tokens of prompt and
  completion, which give the sizes. Records of anything but completions, responses and embeddings are passed over.
- an access log in the common or the combined format, as nginx, Apache, HAProxy, Envoy and others write it
  (https://httpd.apache.org/docs/current/logs.html#common). It has whole seconds, over which its requests are spread
  evenly, and no sizes: those are drawn. Its client is the user or, without one, the address. Lines of other methods
  than POST are passed over.

The last line may be half written. A log that another program rotates or compresses is read only as far as this file has
it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from bench.failure import BenchError

_LINES_AT_MOST = 2_000_000
_LONGEST = 1 << 20  # letters of one line
_SHOWN = 60
_MONTHS = {name: number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_ACCESS = re.compile(
    r'(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<target>\S+)[^"]*" \d{3} (?:\d+|-)'
)
_TIME = re.compile(r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


class Recorded(msgspec.Struct, frozen=True):
    """A request as it was. `at`: seconds from the first one. What is not known is None; sizes are in tokens."""

    at: float
    client: str
    kind: Literal["stream", "plain", "embeddings"] | None = None
    model: str | None = None
    prompt: int | None = None
    completion: int | None = None


class _Tokens(msgspec.Struct):
    prompt: int = 0
    completion: int = 0


class _Record(msgspec.Struct):
    """What of an audit record matters."""

    time: str
    client: str | None = None
    source: str | None = None
    operation: str | None = None
    model: str | None = None
    stream: bool = False
    tokens: _Tokens | None = None


_record = msgspec.json.Decoder(_Record)
_Entry = tuple[float, Recorded]


def recorded(path: Path) -> list[Recorded]:
    """What is in a log, in order. Raises `BenchError`, which names file and line."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            entries = list(_entries(path, iter(partial(lines.readline, _LONGEST), "")))
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror}); name a log") from None
    if not entries:
        raise BenchError(f"{path}: no request in it can be replayed; name a log that has some")
    entries.sort(key=lambda entry: entry[0])
    first = entries[0][0]
    return [msgspec.structs.replace(one, at=time - first) for time, one in entries]


def _entries(path: Path, lines: Iterable[str]) -> Iterator[_Entry]:
    seconds: list[_Entry] = []  # of an access log, whose seconds are spread once all are known
    read = None
    for number, line in enumerate(lines, 1):
        if number > _LINES_AT_MOST:
            raise BenchError(f"{path}: has more than {_LINES_AT_MOST:,} lines; cut out what is to be replayed")
        text = line.strip()
        if not text:
            continue
        read = read or (_of_audit if text.startswith("{") else _of_access)
        try:
            found = read(text)
        except (ValueError, msgspec.DecodeError) as error:
            if not line.endswith("\n"):
                break  # it is being written
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
            raise BenchError(
                f"{path}: line {number} is no record of {'the audit log' if read is _of_audit else 'an access log'}: "
                f"{error}: '{shown}'; name an audit log, or an access log in common or combined format"
            ) from None
        if found is not None:
            seconds.append(found)
    yield from _spread(seconds) if read is _of_access else seconds


def _of_audit(line: str) -> _Entry | None:
    """Raises `ValueError`."""
    record = _record.decode(line)
    kind = _kind(record.operation or "", stream=record.stream)
    if kind is None:
        return None
    tokens = record.tokens
    return datetime.fromisoformat(record.time).timestamp(), Recorded(
        0.0,
        record.client or record.source or "",
        kind,
        record.model,
        tokens.prompt if tokens is not None else None,
        tokens.completion if tokens is not None else None,
    )


def _of_access(line: str) -> _Entry | None:
    """Raises `ValueError`."""
    match = _ACCESS.match(line)
    time = _TIME.fullmatch(match["time"]) if match is not None else None
    if match is None or time is None:
        raise ValueError('it has not the form HOST - USER [TIME] "METHOD PATH …" STATUS BYTES')
    if match["method"] != "POST":
        return None
    day, month, year, hour, minute, second, sign, hours, minutes = time.groups()
    if month not in _MONTHS:
        raise ValueError(f"'{month}' is no month")
    ahead = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    moment = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=timezone(ahead))
    client = match["user"] if match["user"] != "-" else match["host"]
    kind: Literal["embeddings"] | None = "embeddings" if "/embeddings" in match["target"] else None
    return moment.timestamp(), Recorded(0.0, client, kind)


def _kind(operation: str, *, stream: bool) -> Literal["stream", "plain", "embeddings"] | None:
    if operation == "embeddings":
        return "embeddings"
    if "completions" in operation or operation.startswith("responses"):
        return "stream" if stream else "plain"
    return None


def _spread(entries: list[_Entry]) -> Iterator[_Entry]:
    """Requests of one second, evenly over it, in the order in which they are written."""
    counts = Counter(time for time, _ in entries)
    seen: Counter[float] = Counter()
    for time, one in entries:
        yield time + (seen[time] + 0.5) / counts[time], one
        seen[time] += 1
