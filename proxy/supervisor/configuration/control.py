"""What people do to the configuration while the gateway runs, over the admin address: judged, done, recorded."""

from typing import TYPE_CHECKING

from proxy.admin.body import Cannot
from proxy.admin.config import Applied, Difference, InForce, Invalid, NamedFile, Problem, Versions
from proxy.config.difference import summary
from proxy.config.load import ConfigError
from proxy.config.shown import plain
from proxy.supervisor.certificates.key_vault import VaultFailed
from proxy.supervisor.configuration.file import previous
from proxy.supervisor.configuration.history import UnknownVersion, digest
from proxy.supervisor.configuration.reloading import OtherVersion, Outcome, problems_of

if TYPE_CHECKING:
    from proxy.supervisor.main import Supervisor

_SHOWN = 1_000
"""Changes in one answer."""


class ConfigControl:
    """Answers the admin address, as `proxy.admin.config.Configuration`."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._reloading = supervisor.reloading
        self._acts = supervisor.acts

    def in_force(self) -> InForce:
        present = self._reloading
        return InForce(
            version=present.version,
            digest=digest(present.text),
            since=present.since,
            source=present.source,
            file=str(present.path.absolute()),
            config=plain(present.config),
            files=tuple(NamedFile(path=path, holds=content.holds) for path, content in present.contents.items()),
        )

    def text(self, version: int | None) -> bytes:
        if version is None or version == self._reloading.version:
            return self._reloading.text
        try:
            return self._reloading.history.text(version)
        except UnknownVersion:
            raise _unknown(version) from None

    def versions(self) -> Versions:
        kept = self._reloading.history.entries
        return Versions(version=self._reloading.version, versions=tuple(reversed(kept)))

    async def check(self, text: bytes) -> Difference:
        with self._acts.recorded("admin.config.check") as act:
            try:
                candidate = await self._reloading.judge(text)
            except (ConfigError, VaultFailed, OSError, ValueError) as error:
                raise _invalid(problems_of(error, self._reloading.path)) from None
            act.what = summary(candidate.changes)
            return Difference(
                version=self._reloading.version,
                restart=any(change.effect == "restart" for change in candidate.changes),
                summary=act.what,
                changes=tuple(candidate.changes[:_SHOWN]),
                left_out=max(0, len(candidate.changes) - _SHOWN),
            )

    async def apply(self, text: bytes, instead_of: int) -> Applied:
        with self._acts.recorded("admin.config.apply") as act:
            try:
                outcome = await self._reloading.apply(text, instead_of)
            except (OtherVersion, OSError) as error:
                raise _not_done(error) from None
            applied = self._applied(outcome)
            act.what = f"version {applied.version} is in force: {applied.summary}"
            return applied

    async def roll_back(self, to: int | None, instead_of: int | None) -> Applied:
        with self._acts.recorded("admin.config.rollback") as act:
            try:
                outcome = await self._reloading.roll_back(to, instead_of)
            except UnknownVersion:
                if to is None:
                    raise Cannot(409, "NothingBefore", "No other version has been in force.") from None
                raise _unknown(to) from None
            except (OtherVersion, OSError) as error:
                raise _not_done(error) from None
            applied = self._applied(outcome)
            act.what = f"version {applied.version} is in force: {applied.summary}"
            return applied

    def _applied(self, outcome: Outcome) -> Applied:
        """Raises `Invalid` if nothing came of it."""
        if not outcome.result.ok:
            raise _invalid(outcome.result.problems)
        path = self._reloading.path.resolve()
        return Applied(
            version=outcome.result.version,
            file=str(path),
            previous=str(previous(path)),
            summary=summary(outcome.changes),
            changes=tuple(outcome.changes[:_SHOWN]),
            left_out=max(0, len(outcome.changes) - _SHOWN),
        )


def _invalid(problems: tuple[Problem, ...]) -> Invalid:
    first = problems[0]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    where = f"{first.key}: " if first.key else ""
    remedy = f"; {first.remedy}" if first.remedy else ""
    return Invalid(f"Refused: {where}{first.found}{remedy}{more}. Nothing has changed.", problems)


def _not_done(error: OtherVersion | OSError) -> Cannot:
    if isinstance(error, OtherVersion):
        text = f"Version {error.version} is in force by now, and not the one that this was to replace."
        return Cannot(412, "OtherVersion", text)
    text = f"Nothing has changed: the configuration file cannot be written ({error.strerror or type(error).__name__})."
    return Cannot(500, "NotWritten", text)


def _unknown(version: int) -> Cannot:
    return Cannot(404, "UnknownVersion", f"There is no version {version}, or none any more.")
