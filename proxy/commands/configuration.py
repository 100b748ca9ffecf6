"""`penstock check --against-running`, and `penstock config show`, `history`, `apply` and `rollback`: asked of the
gateway that runs.

Where it listens, and the token it takes, are read from the file that it was started with. It judges a text itself, by
the files and variables that it sees; relative paths are relative to its own file.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from proxy.admin.client import AdminClient, NotDone, Reach
from proxy.admin.config import TOML, Applied, Difference, InForce, RollBack, Versions
from proxy.config.difference import Change, sentence
from proxy.config.load import content, parse

_WITHIN = 75.0
"""Seconds for what may take the gateway a minute."""

_JUDGING: dict[str, Any] = {"content_type": TOML, "within": _WITHIN}


def against_running(arguments: argparse.Namespace) -> int:
    """1 if the gateway would refuse it. Raises `CannotAsk` and `ConfigError`, as all of these do."""
    with _client(arguments) as client:
        told = client.send("POST", "/api/config/check", content(arguments.config), Difference, **_JUDGING)
    if arguments.json:
        _print_json(told)
    else:
        print("\n".join(_difference(told)))
    return 1 if told.restart else 0


def show(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        if arguments.json:
            _print_json(client.get("/api/config", InForce))
            return 0
        path = "/api/config" if arguments.version is None else f"/api/config/history/{arguments.version}"
        sys.stdout.buffer.write(client.raw(path, accept=TOML))
    return 0


def history(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        told = client.get("/api/config/history", Versions)
    if arguments.json:
        _print_json(told)
        return 0
    lines = [("VERSION", "SINCE", "FROM", "DIGEST", "CHANGED")]
    for each in told.versions:
        since = datetime.fromtimestamp(each.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        mark = "*" if each.version == told.version else ""
        lines.append((f"{each.version}{mark}", since, each.source, each.digest[:19], each.summary))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def apply(arguments: argparse.Namespace) -> int:
    """What it is to replace is the version that its difference is told from."""
    text = content(arguments.candidate)
    with _client(arguments) as client:
        told = client.send("POST", "/api/config/check", text, Difference, **_JUDGING)
        replaced = {"if-match": f'"{told.version}"'}
        applied = client.send("PUT", "/api/config", text, Applied, headers=replaced, **_JUDGING)
    return _applied(applied, arguments)


def rollback(arguments: argparse.Namespace) -> int:
    wanted = msgspec.json.encode(RollBack(to=arguments.to))
    with _client(arguments) as client:
        applied = client.send("POST", "/api/config/rollback", wanted, Applied, within=_WITHIN)
    return _applied(applied, arguments)


def problems(refused: NotDone) -> str:
    """What the gateway would not, and each reason it gave, a line each."""
    lines = [
        f"{each.file}: {each.key + ': ' if each.key else ''}{each.found}; {each.remedy}" for each in refused.problems
    ]
    return "\n".join([*lines, "the gateway refuses this; nothing has changed"] if lines else [str(refused)])


def _applied(applied: Applied, arguments: argparse.Namespace) -> int:
    if arguments.json:
        _print_json(applied)
        return 0
    print(f"version {applied.version} is in force, and in {applied.file}; what was there is in {applied.previous}")
    print("\n".join(_changes(applied.changes, applied.left_out)))
    return 0


def _difference(told: Difference) -> Iterator[str]:
    if not told.changes:
        yield f"no difference from version {told.version}, which is in force"
        return
    yield f"differs from version {told.version}, which is in force:"
    yield from _changes(told.changes, told.left_out)
    if told.restart:
        yield "a reload would refuse this: it needs a restart"


def _changes(changes: Sequence[Change], left_out: int) -> Iterator[str]:
    for change in changes:
        yield f"  {sentence(change)}"
        if change.note:
            yield f"    {change.effect}: {change.note}"
    if left_out:
        yield f"  and {left_out} more"
    if not changes:
        yield "  no key has changed"


def _client(arguments: argparse.Namespace) -> AdminClient:
    reach = Reach(address=arguments.address, certificate=arguments.certificate, key=arguments.key, ca=arguments.ca)
    return AdminClient(parse(arguments.config).admin, reach)


def _print_json(told: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(told)).decode())
