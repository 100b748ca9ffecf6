"""`python -m bench timelines`: plays timelines one after the other, each in a world of its own, and judges them."""

import json
import os
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.faults.finding import table
from bench.load.command import raise_descriptor_limit
from bench.scenarios.bars import judge
from bench.scenarios.measure import Became, seconds
from bench.scenarios.page import Shown, page
from bench.scenarios.play import play
from bench.scenarios.scenario import FAILURES, found, known, load
from certs.pki import build

PAGE, TABLE, FIGURES = "timelines.html", "timelines.md", "timelines.json"
"""What is written to the folder that is asked for."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Which timelines: names, or paths of files; none: all. `output`: the folder that the page goes to."""

    names: tuple[str, ...] = ()
    output: Path | None = None
    as_json: bool = False


def listing() -> str:
    """Each scenario that there is, in a line."""
    return "\n".join(f"{name:<28} {load(path).title}" for name, path in known(FAILURES).items())


def run(options: Options) -> int:
    """Play, print the verdicts, and say by the exit code whether every bar holds. Raises `BenchError`."""
    raise_descriptor_limit()
    timelines = {name: load(path) for name, path in _chosen(options.names).items()}
    if options.output is not None:
        _make(options.output)
    everything: list[Shown] = []
    with tempfile.TemporaryDirectory(prefix="penstock-timelines-") as folder:
        pki = build(Path(folder) / "pki")
        for name, scenario in timelines.items():
            played = play(scenario, Path(folder) / name, pki, partial(_progress, name))
            shown = Shown(name, scenario, played, judge(scenario, played))
            _progress(name, "")
            everything.append(shown)
            if not options.as_json:
                print(markdown(shown), flush=True)
            if options.output is not None:
                _write(options.output, everything)
    if options.as_json:
        print(json.dumps(figures(everything), indent=2))
    return 0 if all(shown.holds for shown in everything) else 1


def markdown(shown: Shown) -> str:
    """The verdicts on one scenario."""
    requests = shown.played.requests
    counts = ", ".join(f"{sum(one.became is became for one in requests)} {became.value}" for became in Became)
    heading = f"## {shown.name}: {shown.scenario.title}\n\n{shown.scenario.story}\n\n"
    return f"{heading}{len(requests)} requests: {counts}{_wrongs(shown)}.\n\n{table(shown.findings)}\n"


def figures(everything: list[Shown]) -> dict[str, object]:
    """Everything that was measured, second by second, and every verdict."""
    return {
        shown.name: {
            "title": shown.scenario.title,
            "holds": shown.holds,
            "took_s": round(shown.played.took, 1),
            "bars": msgspec.to_builtins(shown.findings),
            "seconds": msgspec.to_builtins(seconds(shown.played, shown.scenario.duration)),
        }
        for shown in everything
    }


def _wrongs(shown: Shown) -> str:
    """What went wrong, by kind and count."""
    kinds: dict[str, int] = {}
    for one in shown.played.requests:
        if one.became in (Became.FAILED, Became.BROKEN):
            kinds[one.wrong] = kinds.get(one.wrong, 0) + 1
    return "".join(f"; {count} × {kind}" for kind, count in sorted(kinds.items()))


def _chosen(names: tuple[str, ...]) -> dict[str, Path]:
    return {path.stem: path for path in map(found, names or known(FAILURES))}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None


def _write(folder: Path, everything: list[Shown]) -> None:
    """After each scenario: a run that is broken off leaves what it has."""
    (folder / PAGE).write_text(page(everything, _about()), encoding="utf-8")
    (folder / TABLE).write_text("\n".join(map(markdown, everything)), encoding="utf-8")
    (folder / FIGURES).write_text(json.dumps(figures(everything), indent=2) + "\n", encoding="utf-8")


def _about() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {os.cpu_count()} cores (load average {load}), "
        f"Python {platform.python_version()}, kernel {platform.release()}. Each second shows the requests due in it."
    )


def _progress(name: str, text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{name}: {text}" if text else "\r\x1b[K", end="", file=sys.stderr, flush=True)
    elif text:
        print(f"{name}: {text}", file=sys.stderr, flush=True)
