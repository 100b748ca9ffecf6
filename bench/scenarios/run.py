"""`python -m bench run` and `… timelines`: scenarios one after the other, each in a world of its own, judged.

They differ in nothing but what is meant where no scenario is named.
"""

import tempfile
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.load.command import raise_descriptor_limit
from bench.report import here
from bench.report.page import page
from bench.report.stored import OURS, Measured, Proxy, Stored, write
from bench.report.together import lay
from bench.scenarios.bars import judge
from bench.scenarios.live import view
from bench.scenarios.play import play
from bench.scenarios.record import markdown, record
from bench.scenarios.scenario import found, known, load
from bench.scenarios.schedule import lasting
from bench.scenarios.structs import Scenario
from certs.pki import build
from proxy import __version__

STORED, TABLE, PAGE = "run.json", "run.md", "run.html"
"""What is written to the folder that is asked for."""

_ABOUT = "this gateway, every stage on"
_CORES = "not bound: gateway, mock and load share all cores"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Which scenarios: names, or paths of files. `output`: the folder that results go to. `duration` (seconds) and
    `workers` are in place of the scenarios' own.
    """

    names: tuple[str, ...]
    output: Path | None = None
    duration: float | None = None
    workers: int | None = None
    as_json: bool = False


def listing(family: str | None = None) -> str:
    """Each scenario that there is, in a line."""
    return "\n".join(f"{name:<28} {load(path).title}" for name, path in known(family).items())


def run(options: Options) -> int:
    """Play, print the verdicts, and say by the exit code whether every bar holds. Raises `BenchError`."""
    raise_descriptor_limit()
    scenarios = {found(name).stem: _chosen(load(name), options) for name in options.names}
    if options.output is not None:
        _make(options.output)
    everything: list[Measured] = []
    texts: list[str] = []
    began, command, commit = here.now(), here.command(), here.commit()
    with tempfile.TemporaryDirectory(prefix="penstock-scenarios-") as folder:
        pki = build(Path(folder) / "pki", authorities=True)
        for name, scenario in scenarios.items():
            with view(name, float(scenario.duration)) as show:
                played = play(scenario, Path(folder) / name, pki, show)
            everything.append(record(name, scenario, played, judge(scenario, played)))
            texts.append(markdown(everything[-1], dict(played.results.errors)))
            if not options.as_json:
                print(texts[-1], flush=True)
            stored = Stored(
                command=command,
                began=began,
                commit=commit,
                machine=here.machine(_CORES),
                proxies=(Proxy(name=OURS, version=__version__, about=_ABOUT),),
                measured=tuple(everything),
            )
            if options.output is not None:  # after each: a run that is broken off leaves what it has
                write(options.output / STORED, stored)
                (options.output / TABLE).write_text("\n".join(texts), encoding="utf-8")
                (options.output / PAGE).write_text(page(lay([stored])), encoding="utf-8")
    if options.as_json:
        print(msgspec.json.format(msgspec.json.encode(stored)).decode())
    return 0 if all(verdict.holds for one in everything for verdict in one.verdicts) else 1


def _chosen(scenario: Scenario, options: Options) -> Scenario:
    if options.duration is not None:
        scenario = lasting(scenario, options.duration)
    if options.workers is not None:
        scenario = msgspec.structs.replace(scenario, workers=options.workers)
    return scenario


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
