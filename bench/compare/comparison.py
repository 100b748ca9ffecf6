"""A comparison under way: phase after phase, repeat by repeat, proxy by proxy, so that a pair is measured together.

What was measured is kept as it comes: a comparison that is broken off has stored what it has. A proxy that fails in one
phase is told as failed there, and does not end it for the others.
"""

import sys
from pathlib import Path

import msgspec

from bench.compare.holding import CONTROL_PROGRAM
from bench.compare.judge import failed, verdicts, wrong
from bench.compare.measure import Case
from bench.compare.phases import Besides, Phase
from bench.compare.place import Cores, through
from bench.failure import BenchError
from bench.report.stored import CONTROL, DIRECT, OURS, Measured, Proxy, Stored, Verdict, write
from certs.pki import Pki

_BESIDES = {
    DIRECT: Proxy(name=DIRECT, version="", about="no proxy: the load asks the mock"),
    CONTROL: Proxy(name=CONTROL, version="", about=CONTROL_PROGRAM.about, lacks=CONTROL_PROGRAM.lacks),
}
_ENDED_EARLY = Verdict(what="all that was asked for was measured", measured="ended early", bar="all", holds=False)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which peers, how often, where they write, and on which cores."""

    peers: tuple[str, ...]
    repeat: int
    folder: Path
    pki: Pki
    cores: Cores


class Comparison:
    """`stored` is all that was measured so far; `output` is the file that it goes to, if any."""

    def __init__(self, plan: Plan, stored: Stored, output: Path | None) -> None:
        self.stored = stored
        self._plan = plan
        self._output = output
        self._places = 0

    def measure(self, name: str, phase: Phase) -> None:
        """Measure a phase."""
        repeats = 1 if phase.once else self._plan.repeat
        for repeat in range(repeats):
            for case in phase.cases:
                for proxy in self._turns(phase, repeat):
                    _progress(f"{name}{_which(case)}: {proxy}, {repeat + 1} of {repeats}")
                    about = Measured(
                        scenario=name,
                        proxy=proxy,
                        repeat=repeat,
                        title=phase.title,
                        streams=case.streams,
                        workers=case.workers,
                        duration=case.seconds,
                    )
                    self._keep(self._measured(about, case))
        _progress("")

    def ended(self) -> None:
        """All that was asked for has been measured."""
        self._store(self.stored.proxies, self.stored.measured, verdicts(self.stored.measured))

    def _turns(self, phase: Phase, repeat: int) -> tuple[str, ...]:
        """There and back again, so that a machine that gets slower or faster meanwhile favours nobody."""
        proxies = (OURS,) if repeat and phase.peers_once else self._proxies(phase)
        return proxies[::-1] if repeat % 2 else proxies

    def _proxies(self, phase: Phase) -> tuple[str, ...]:
        match phase.besides:
            case Besides.NOBODY:
                return (OURS,)
            case Besides.PEERS_AND_DIRECT:
                return (OURS, *self._plan.peers, DIRECT)
            case Besides.PEERS_AND_CONTROL:
                return (OURS, *self._plan.peers, CONTROL)
            case _:
                return (OURS, *self._plan.peers)

    def _measured(self, about: Measured, case: Case) -> Measured:
        self._places += 1
        place = self._plan.folder / str(self._places)
        try:
            found = through(about.proxy, case, place, self._plan.pki, self._plan.cores)
        except BenchError as error:
            return msgspec.structs.replace(about, verdicts=(failed(str(error)),))
        said = (wrong(found.wrong),) if found.wrong else ()
        return msgspec.structs.replace(
            about,
            figures=found.figures,
            histograms=found.histograms,
            seconds=found.seconds,
            bands=found.bands,
            verdicts=said,
        )

    def _keep(self, measured: Measured) -> None:
        proxies = self.stored.proxies
        if measured.proxy not in {proxy.name for proxy in proxies}:
            proxies = (*proxies, _BESIDES[measured.proxy])
        everything = (*self.stored.measured, measured)
        self._store(proxies, everything, (*verdicts(everything), _ENDED_EARLY))

    def _store(self, proxies: tuple[Proxy, ...], measured: tuple[Measured, ...], judged: tuple[Verdict, ...]) -> None:
        self.stored = msgspec.structs.replace(self.stored, proxies=proxies, measured=measured, verdicts=judged)
        if self._output is not None:
            write(self._output, self.stored)


def _which(case: Case) -> str:
    parts = [f"{case.streams:,} streams" if case.streams else "", f"{case.workers} workers" if case.spread else ""]
    return "".join(f", {part}" for part in parts if part)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
