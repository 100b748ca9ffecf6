"""`penstock backends`: the deployments of the gateway that runs, in a table that keeps itself up to date; and what can
be done to them.

On a terminal the table is live until Ctrl-C; elsewhere, and with `--once`, it is printed once. What is set with these
commands lasts through reloads, and until the gateway ends.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from proxy.admin.backends import BackendsStatus, DeploymentStatus, SetBreaker, SetWeight, Which
from proxy.admin.client import AdminClient, NoAnswer, Reach
from proxy.config.load import parse

_EVERY = 1.0
_WIDE = 400  # columns where nobody looks on: nothing is cut
_STATES = {"closed": "green", "half_open": "yellow", "open": "red", "draining": "yellow", "drained": "yellow"}
_HEADINGS = (
    "BACKEND", "DEPLOYMENT", "REGION", "STATE", "WEIGHT", "IN FLIGHT", "REQ/S", "TOKENS/MIN", "LEFT", "UTIL",
    "TTFT P50", "P90", "P99", "FAILED", "429", "LAST ERROR",
)  # fmt: skip
_NUMBERS = frozenset(_HEADINGS[4:15])
_FOLDED = {"STATE": 26, "LAST ERROR": 30}
_LEFT_OUT = ("P90", "REGION", "REQ/S", "UTIL", "LEFT", "LAST ERROR", "429", "WEIGHT", "FAILED", "P99")
"""What a narrow terminal does without, the first one first."""


def show(arguments: argparse.Namespace) -> int:
    """Raises `CannotAsk`, and `ConfigError` as all of these do."""
    with _client(arguments) as client:
        found = _all(client)
        if arguments.json:
            print(msgspec.json.format(msgspec.json.encode(found)).decode())
        elif arguments.once or not sys.stdout.isatty():
            console = Console(width=None if sys.stdout.isatty() else _WIDE)
            console.print(_fitting(console, found) if console.is_terminal else _table(found, _HEADINGS))
        else:
            _watch(client, found)
    return 0


def drain(arguments: argparse.Namespace) -> int:
    return _do(arguments, "drain", Which(deployment=arguments.deployment), _draining)


def undrain(arguments: argparse.Namespace) -> int:
    return _do(arguments, "undrain", Which(deployment=arguments.deployment), lambda _: "is used again")


def open_breaker(arguments: argparse.Namespace) -> int:
    wanted = SetBreaker(state="open", deployment=arguments.deployment, lasting=arguments.lasting)
    return _do(arguments, "breaker", wanted, lambda d: f"is set aside{_until(d)}")


def close_breaker(arguments: argparse.Namespace) -> int:
    wanted = SetBreaker(state="closed", deployment=arguments.deployment)
    return _do(arguments, "breaker", wanted, lambda _: "is no longer set aside")


def weight(arguments: argparse.Namespace) -> int:
    wanted = SetWeight(deployment=arguments.deployment, weight=arguments.weight, over=arguments.over)
    return _do(arguments, "weight", wanted, _weighing)


def _client(arguments: argparse.Namespace) -> AdminClient:
    reach = Reach(address=arguments.address, certificate=arguments.certificate, key=arguments.key, ca=arguments.ca)
    return AdminClient(parse(arguments.config).admin, reach)


def _all(client: AdminClient) -> BackendsStatus:
    return client.get("/api/backends", BackendsStatus)


def _do(arguments: argparse.Namespace, action: str, wanted: object, says: Any) -> int:
    with _client(arguments) as client:
        path = f"/api/backends/{quote(arguments.backend, safe='')}/{action}"
        done = client.post(path, wanted, BackendsStatus)
    for deployment in done.deployments:
        print(f"{deployment.backend}/{deployment.deployment} {says(deployment)}")
    return 0


def _draining(deployment: DeploymentStatus) -> str:
    if deployment.drained == "drained":
        return "is drained: nothing is under way there"
    return f"is draining: {deployment.in_flight} under way there will finish"


def _until(deployment: DeploymentStatus) -> str:
    if deployment.until is None:
        return ""
    return f" until {datetime.fromtimestamp(deployment.until, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _weighing(deployment: DeploymentStatus) -> str:
    if deployment.weight_goal is not None:
        return f"has the weight {deployment.weight:g}, on its way to {deployment.weight_goal:g}"
    return f"has the weight {deployment.weight:g}" + ("" if deployment.weight_set else ", as configured")


# The table.


def _watch(client: AdminClient, found: BackendsStatus) -> None:
    """Until Ctrl-C. A gateway that does not answer for a while may do so again."""
    lost = ""
    try:
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                live.update(Group(_fitting(live.console, found), Text(lost, style="red")), refresh=True)
                time.sleep(_EVERY)
                try:
                    found, lost = _all(client), ""
                except NoAnswer as error:
                    lost = f"As of {datetime.fromtimestamp(found.time, UTC):%H:%M:%S} UTC: {error}"
    except KeyboardInterrupt:
        pass


def _fitting(console: Console, found: BackendsStatus) -> Table:
    """As much of the table as the terminal is wide enough for."""
    headings = list(_HEADINGS)
    for heading in _LEFT_OUT:
        table = _table(found, headings, framed=True)
        if Measurement.get(console, console.options.update(width=_WIDE), table).maximum <= console.width:
            break
        headings.remove(heading)
    return _table(found, headings, framed=True)


def _table(found: BackendsStatus, headings: Sequence[str], *, framed: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD if framed else None, pad_edge=False, show_edge=False)
    for heading in headings:
        number = heading in _NUMBERS
        table.add_column(
            heading,
            justify="right" if number else "left",
            no_wrap=number or not framed,
            max_width=_FOLDED.get(heading) if framed else None,
        )
    for deployment in found.deployments:
        cells = dict(zip(_HEADINGS, _row(deployment, found.time), strict=True))
        table.add_row(*(cells[heading] for heading in headings))
    return table


def _row(d: DeploymentStatus, now: float) -> Iterable[Text]:
    first = d.first_byte
    yield Text(d.backend)
    yield Text(d.deployment)
    yield Text(d.region)
    yield _state(d, now)
    yield Text(_weight(d), style="yellow" if d.weight_set else "")
    yield Text("-" if d.in_flight is None else f"{d.in_flight:,}")
    yield Text(f"{d.requests_per_second:.1f}")
    yield Text(f"{d.tokens_per_minute:,}")
    yield Text("-" if d.remaining_tokens is None else f"{d.remaining_tokens:,}")
    yield Text("-" if d.utilisation is None else f"{d.utilisation:.0%}")
    for seconds in (None, None, None) if first is None else (first.p50, first.p90, first.p99):
        yield Text("-" if seconds is None else f"{seconds * 1000:,.0f} ms")
    yield _share(d.error_share, "red")
    yield _share(d.throttled_share, "yellow")
    yield _last_error(d, now)


def _state(d: DeploymentStatus, now: float) -> Text:
    text = Text(d.state.replace("_", "-"), style=_STATES[d.state])
    if d.state != "closed":
        why = "by hand" if d.held else (d.reason or "").replace("_", " ")
        left = f" {max(0.0, d.until - now):.0f} s" if d.until is not None else ""
        text.append(f" ({why}{left})")
    if d.drained is not None:
        text.append(f", {d.drained}", style=_STATES[d.drained])
    return text


def _weight(d: DeploymentStatus) -> str:
    return f"{d.weight:g}" if d.weight_goal is None else f"{d.weight:g} to {d.weight_goal:g}"


def _share(share: float | None, style: str) -> Text:
    return Text("-" if share is None else f"{share:.1%}", style=style if share else "")


def _last_error(d: DeploymentStatus, now: float) -> Text:
    if not d.errors:
        return Text("-")
    last = d.errors[0]
    times = "" if last.count == 1 else f" x{last.count}"
    return Text(f"{last.text.replace('_', ' ')}{times}, {max(0.0, now - last.time):.0f} s ago")
