"""The configuration in force, and how another one comes to be: whole, or not at all.

There are three ways in: the file is loaded again, when the gateway is told to and when it has changed or a file that
it names has; another text is given over the admin address, and written to the file; a version from before is taken up
again. Whatever comes is judged, and made into a snapshot, before any of it counts; what is wrong with it is said, and
nothing changes.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import trio

from proxy.admin.config import Problem as ProblemTold
from proxy.admin.config import Source, Version
from proxy.admin.view import ReloadResult
from proxy.config.contents import Content, contents
from proxy.config.difference import Change, Side, difference, summary
from proxy.config.load import ConfigError, Problem, content, judged
from proxy.config.problem import line
from proxy.config.structs import Config
from proxy.messages import Snapshot
from proxy.supervisor.certificates.key_vault import Held, VaultFailed
from proxy.supervisor.configuration import file as config_file
from proxy.supervisor.configuration import snapshot as snapshots
from proxy.supervisor.configuration.history import History, digest
from proxy.supervisor.configuration.watch import Stamp, stamps
from proxy.supervisor.events.events import Event

_WATCH_EVERY = 1.0
_PATIENCE = 3.0
"""For how long a file may be gone or in the middle of being written before that is called an error."""

_RESTART = "restart the gateway to change this"

_log = logging.getLogger("penstock.supervisor")

Build = Callable[[Config, int, Held], Snapshot]
"""The snapshot of a configuration under a version, fit to be served. Raises `OSError`, `ValueError`."""

Obtain = Callable[[Config], Awaitable[Held]]
"""What a configuration needs that is not in files. Raises `VaultFailed`."""

PutInForce = Callable[[Config, Snapshot, Held], Awaitable[None]]
"""Has everything in the supervisor go by another configuration, and workers by its snapshot."""

_Failures = ConfigError | VaultFailed | OSError | ValueError
_FAILURES = (ConfigError, VaultFailed, OSError, ValueError)


class OtherVersion(Exception):
    """Not the version that was meant is in force, but `version`."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version} is in force")
        self.version = version


class Candidate(NamedTuple):
    """What may come into force: judged, and ready to. `changes`: how it differs from what is."""

    text: bytes
    config: Config
    held: Held
    snapshot: Snapshot
    contents: Mapping[str, Content]
    stamps: dict[Path, Stamp | None]
    changes: list[Change]


class Outcome(NamedTuple):
    """How an attempt ended, and what it changed."""

    result: ReloadResult
    changes: list[Change]


class _Doubt(NamedTuple):
    """The file is of no use at present, which may be a matter of moments. `since`: the `now` of a look."""

    error: _Failures
    since: float


class Reloading:
    """What is in force: `config`, the `text` it was, its `snapshot`; and how the `last` attempt to replace it ended.

    Raises `OSError` or `ValueError` if the first one cannot be served. `count` hears whether a reload succeeded.
    """

    def __init__(
        self,
        path: Path,
        text: bytes,
        config: Config,
        held: Held,
        history: History,
        *,
        build: Build,
        obtain: Obtain,
        put_in_force: PutInForce,
        announce: Callable[[Event], None],
        count: Callable[[bool], None],
    ) -> None:
        self.path = path
        self.text = text
        self.config = config
        self.history = history
        self.since = time.time()
        self.source: Source = "start"
        self.last: ReloadResult | None = None
        self._build = build
        self._obtain = obtain
        self._put_in_force = put_in_force
        self._announce = announce
        self._count = count
        self._watched = stamps(self._watch_list())
        self._doubt: _Doubt | None = None
        self.contents: Mapping[str, Content] = contents(snapshots.files(config))
        self.snapshot = build(config, history.next_version(text), held)
        self._lock = trio.Lock()
        self._remember("as it was at the start")

    def __repr__(self) -> str:
        return f"<Reloading {self.path}, version {self.version}>"

    @property
    def version(self) -> int:
        return self.snapshot.version

    # What is asked for.

    async def reload(self) -> ReloadResult:
        """Load the file again, and serve by it if all of it is valid; else nothing changes."""
        async with self._lock:
            try:
                candidate = await self._loaded()
            except _FAILURES as error:
                return self._refused(error)
            return (await self._serve_by(candidate, "file")).result

    async def judge(self, text: bytes) -> Candidate:
        """What would come into force if this were the file's text. Raises `ConfigError`, `VaultFailed` and the like.

        What a restart is needed for is among the changes, and no error here.
        """
        async with self._lock:
            return await self._candidate(text)

    async def apply(self, text: bytes, expected: int | None, source: Source = "api") -> Outcome:
        """Write this to the file and serve by it, if all of it is valid; else nothing changes.

        `expected`: the version that it is to replace. Raises `OtherVersion` if another one is in force by now, and
        `OSError` if the file cannot be written; nothing has changed then either.
        """
        async with self._lock:
            if expected is not None and expected != self.version:
                raise OtherVersion(self.version)
            try:
                candidate = await self._candidate(text)
                self._refuse_fixed(candidate)
            except _FAILURES as error:
                return Outcome(self._refused(error), [])
            with trio.CancelScope(shield=True):  # what is written comes into force
                stamp = await trio.to_thread.run_sync(config_file.replace, self.path, text)
            candidate.stamps[self.path] = stamp
            return await self._serve_by(candidate, source)

    async def roll_back(self, version: int | None, expected: int | None) -> Outcome:
        """Take up a version of before again, the last one for None. Raises `UnknownVersion` and as `apply` does."""
        target = self.history.before() if version is None else version
        return await self.apply(self.history.text(target), expected, "rollback")

    async def rotate(self, held: Held, publish: Callable[[Snapshot], None]) -> None:
        """Serve new handshakes with the certificates that are held by now."""
        async with self._lock:
            self.snapshot = snapshots.rotated(self.snapshot, self.config, held)
            publish(self.snapshot)
            _log.info("version %d is in force, with another certificate", self.version)
            await trio.to_thread.run_sync(self._remember, "another certificate")

    # The file.

    async def watch(self) -> NoReturn:
        """Reload whenever a file has changed, for ever."""
        while True:
            await trio.sleep(_WATCH_EVERY)
            await self.look(trio.current_time())

    async def look(self, now: float) -> None:
        """Reload if a file has changed since it was last looked at. `now` only ever grows.

        What fails may be half of a change: it is tried again at each change, and told only if it stays.
        """
        async with self._lock:  # who reloads meanwhile has seen what changed
            if await trio.to_thread.run_sync(stamps, self._watch_list()) != self._watched:
                await self._follow(now)
            if self._doubt is not None and now - self._doubt.since >= _PATIENCE:
                self._refused(self._doubt.error)

    async def _follow(self, now: float) -> None:
        try:
            candidate = await self._loaded()
        except _FAILURES as error:
            self._doubt = _Doubt(error, now if self._doubt is None else self._doubt.since)
            return
        self._watched, self._doubt = candidate.stamps, None
        if self._differs(candidate):
            await self._serve_by(candidate, "file")

    def _differs(self, candidate: Candidate) -> bool:
        """Whether there is anything to do, or an error to take back, for a file that was written."""
        failed = self.last is not None and not self.last.ok
        return failed or candidate.text != self.text or candidate.contents != self.contents

    def _watch_list(self) -> list[Path]:
        return [self.path, *snapshots.files(self.config)]

    async def _loaded(self) -> Candidate:
        """Raises `ConfigError`, `VaultFailed`, `OSError`, `ValueError`."""
        # Looked at before they are read: what changes in between shows at the next look.
        self._watched = await trio.to_thread.run_sync(stamps, self._watch_list())
        candidate = await self._candidate(await trio.to_thread.run_sync(content, self.path))
        self._refuse_fixed(candidate)
        return candidate

    # One that may come into force.

    async def _candidate(self, text: bytes) -> Candidate:
        """Raises `ConfigError`, `VaultFailed`, `OSError`, `ValueError`."""
        config = await trio.to_thread.run_sync(judged, text, self.path)
        held = await self._obtain(config)
        files = snapshots.files(config)
        seen = await trio.to_thread.run_sync(stamps, files)
        found = await trio.to_thread.run_sync(contents, files)
        built = await trio.to_thread.run_sync(self._build, config, self.version + 1, held)
        sides = Side(self.config, self.contents), Side(config, found)
        changes = await trio.to_thread.run_sync(difference, *sides)
        return Candidate(text, config, held, built, found, {self.path: self._watched[self.path], **seen}, changes)

    def _refuse_fixed(self, candidate: Candidate) -> None:
        """Raises `ConfigError` for changes that only a restart can make."""
        fixed = [change.key for change in candidate.changes if change.effect == "restart"]
        if fixed:
            raise ConfigError(self.path, (Problem(key, "changed", _RESTART) for key in fixed))

    async def _serve_by(self, candidate: Candidate, source: Source) -> Outcome:
        self.text, self.config = candidate.text, candidate.config
        self.snapshot, self.contents = candidate.snapshot, candidate.contents
        self.since, self.source = time.time(), source
        self._watched, self._doubt = candidate.stamps, None
        said = summary(candidate.changes)
        with trio.CancelScope(shield=True):  # whoever asked may have gone: all of the gateway goes by it, or none
            await self._put_in_force(candidate.config, candidate.snapshot, candidate.held)
            await trio.to_thread.run_sync(self._remember, said)
        text = f"configuration version {self.version} is in force: {said}"
        facts: dict[str, str | int | float] = {"version": self.version, "source": source}
        self._announce(Event("configuration_reloaded", "info", text, facts))
        return Outcome(self._ended(), candidate.changes)

    def _remember(self, said: str) -> None:
        """Runs in a thread, too. A disk that is full keeps nothing from being in force."""
        entry = Version(
            version=self.version, time=self.since, source=self.source, digest=digest(self.text), summary=said
        )
        try:
            self.history.keep(entry, self.text)
        except OSError as error:
            _log.error("version %d cannot be kept for a later start: %s", self.version, error)

    def _refused(self, error: _Failures) -> ReloadResult:
        self._doubt = None
        text = f"configuration not reloaded, version {self.version} stays: {error}"
        self._announce(Event("configuration_refused", "error", text))
        return self._ended(str(error), problems_of(error, self.path))

    def _ended(self, error: str | None = None, problems: tuple[ProblemTold, ...] = ()) -> ReloadResult:
        self._count(error is None)
        self.last = ReloadResult(
            ok=error is None, time=time.time(), version=self.version, error=error, problems=problems
        )
        return self.last


def problems_of(error: Exception, path: Path) -> tuple[ProblemTold, ...]:
    """What is wrong, each thing by itself, as lines."""
    if not isinstance(error, ConfigError):
        return (ProblemTold(file=str(path), key="", found=line(str(error)), remedy=""),)
    return tuple(
        ProblemTold(file=str(error.file), key=line(key), found=line(found), remedy=line(remedy))
        for key, found, remedy in error.problems
    )
