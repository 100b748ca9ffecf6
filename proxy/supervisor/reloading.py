"""The configuration in force, and how another one comes to be: whole, or not at all.

It is loaded again when it is told to, and when the file or one that it names has changed. What is loaded is judged,
and made into a snapshot, before any of it counts; what is wrong with it is said, and nothing changes.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import trio

from proxy.admin.view import ReloadResult
from proxy.config.load import ConfigError, load
from proxy.config.structs import Config
from proxy.messages import Snapshot
from proxy.supervisor import snapshot as snapshots
from proxy.supervisor.events import Event
from proxy.supervisor.key_vault import Held, VaultFailed
from proxy.supervisor.watch import stamps

_WATCH_EVERY = 1.0
_FIXED = (
    "listen.address",
    "listen.workers",
    "listen.health.address",
    "admin",
    "state",
    "audit.path",
    "audit.key",
    "audit.required",
)
"""What a running gateway cannot change; a reload that would is refused."""

_log = logging.getLogger("penstock.supervisor")

Build = Callable[[Config, int, Held], Snapshot]
"""The snapshot of a configuration under a version, fit to be served. Raises `OSError`, `ValueError`."""

Obtain = Callable[[Config], Awaitable[Held]]
"""What a configuration needs that is not in files. Raises `VaultFailed`."""

PutInForce = Callable[[Config, Snapshot, Held], Awaitable[None]]
"""Has everything in the supervisor go by another configuration, and workers by its snapshot."""


class Reloading:
    """What is in force: `config`, its `snapshot`, and how the last attempt to replace it ended.

    Raises `OSError` or `ValueError` if the first one cannot be served. `count` hears whether a reload succeeded.
    """

    def __init__(
        self,
        path: Path,
        config: Config,
        held: Held,
        *,
        build: Build,
        obtain: Obtain,
        put_in_force: PutInForce,
        announce: Callable[[Event], None],
        count: Callable[[bool], None],
    ) -> None:
        self.path = path
        self.config = config
        self.last: ReloadResult | None = None
        self._build = build
        self._obtain = obtain
        self._put_in_force = put_in_force
        self._announce = announce
        self._count = count
        self._watched = stamps(self._watch_list())
        self.snapshot = build(config, 1, held)
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<Reloading {self.path}, version {self.version}>"

    @property
    def version(self) -> int:
        return self.snapshot.version

    async def watch(self) -> NoReturn:
        """Reload whenever a file has changed, for ever."""
        while True:
            await trio.sleep(_WATCH_EVERY)
            async with self._lock:  # who reloads meanwhile has seen what changed
                now = await trio.to_thread.run_sync(stamps, self._watch_list())
                if now != self._watched:
                    await self._reload()

    async def reload(self) -> ReloadResult:
        """Load the configuration again, and serve by it if all of it is valid; else nothing changes."""
        async with self._lock:
            return await self._reload()

    async def rotate(self, held: Held, publish: Callable[[Snapshot], None]) -> None:
        """Serve new handshakes with the certificates that are held by now."""
        async with self._lock:
            self.snapshot = snapshots.rotated(self.snapshot, self.config, held)
            publish(self.snapshot)
            _log.info("version %d is in force, with another certificate", self.version)

    async def _reload(self) -> ReloadResult:
        # Looked at before they are read: what changes in between shows at the next look.
        self._watched = await trio.to_thread.run_sync(stamps, self._watch_list())
        try:
            config = await trio.to_thread.run_sync(load, self.path)
            _refuse_fixed(self.path, self.config, config)
            held = await self._obtain(config)
            seen = await trio.to_thread.run_sync(stamps, snapshots.files(config))
            built = await trio.to_thread.run_sync(self._build, config, self.version + 1, held)
        except (ConfigError, VaultFailed, OSError, ValueError) as error:
            text = f"configuration not reloaded, version {self.version} stays: {error}"
            self._announce(Event("configuration_refused", "error", text))
            return self._ended(str(error))
        self.config = config
        self.snapshot = built
        self._watched = {self.path: self._watched[self.path], **seen}
        with trio.CancelScope(shield=True):  # whoever asked may have gone: all of the gateway goes by it, or none
            await self._put_in_force(config, built, held)
        text = f"configuration version {self.version} is in force"
        self._announce(Event("configuration_reloaded", "info", text, {"version": self.version}))
        return self._ended(None)

    def _ended(self, error: str | None) -> ReloadResult:
        self._count(error is None)
        self.last = ReloadResult(ok=error is None, time=time.time(), version=self.version, error=error)
        return self.last

    def _watch_list(self) -> list[Path]:
        return [self.path, *snapshots.files(self.config)]


def _refuse_fixed(path: Path, old: Config, new: Config) -> None:
    """Raises `ConfigError` for a change that only a restart can make."""
    changed = [key for key in _FIXED if _at(old, key) != _at(new, key)]
    if changed:
        raise ConfigError.of(path, changed[0], "changed", "restart the gateway to change this")


def _at(config: Config, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value
