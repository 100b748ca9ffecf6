"""`penstock audit verify`: finds the log, its key and its checkpoint, judges, and says so.

Works without a gateway, beside one, and on copies.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from proxy.config.load import ConfigError, parse
from proxy.record.chain import ChainKey
from proxy.record.verify import Report, Unverifiable
from proxy.record.verify import verify as judge
from proxy.supervisor import secret_file
from proxy.supervisor.records.audit import chain_key, checkpoint_path
from proxy.supervisor.secret_file import SecretUnusable

_WHOLE, _NOT_WHOLE, _CANNOT_TELL = 0, 1, 2


class WrongPlaces(Exception):
    """The command line does not say where everything is."""


class Places(NamedTuple):
    """What to judge; `config` fills in what is not given."""

    config: Path | None
    log: Path | None
    key: Path | None
    checkpoint: Path | None


def places(config: Path | None, log: Path | None, key: Path | None, checkpoint: Path | None) -> Places:
    """Raises `WrongPlaces`."""
    found = Places(config, log, key, checkpoint)
    if config is None and None in found[1:]:
        raise WrongPlaces("give --config, or all of --log, --key and --checkpoint")
    return found


def verify(found: Places, *, since: int, as_json: bool) -> int:
    """Print what is found; the exit code."""
    try:
        log, key, checkpoint = _resolved(found)
        report = judge(log, key, checkpoint, since=since, progress=_show if sys.stderr.isatty() else None)
    except (ConfigError, SecretUnusable, Unverifiable, OSError) as error:
        print(f"cannot be verified: {error}", file=sys.stderr)
        return _CANNOT_TELL
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        print(_summary(report))
    if report.fault is not None:
        print(report.fault, file=sys.stderr)
    return _WHOLE if report.whole else _NOT_WHOLE


def _resolved(found: Places) -> tuple[Path, ChainKey, Path]:
    config = parse(found.config) if found.config is not None else None
    if found.key is not None:
        key = ChainKey(secret_file.load(found.key, "audit key"))
    else:
        assert config is not None
        key = chain_key(config)
    if config is None:
        assert found.log is not None
        assert found.checkpoint is not None
        return found.log, key, found.checkpoint
    return found.log or Path(config.audit.path), key, found.checkpoint or checkpoint_path(config)


def _summary(report: Report) -> str:
    good = f"{report.records} records in {report.files} file{'' if report.files == 1 else 's'}"
    if report.records:
        good += f", {report.first} to {report.last}"
    lines = [f"{'whole' if report.whole else 'NOT WHOLE'}: {good}"]
    if report.hash is not None:
        lines.append(f"  the last record's hash is {report.hash}")
    if report.checkpoint is not None:
        lines.append(f"  the last checkpoint is of {report.checkpoint}")
    if report.unchained:
        lines.append(f"  {report.unchained} records are from before the chain, which says nothing of them")
    if report.torn:
        lines.append(f"  {report.torn} bytes of records that a crash broke off, and that were never acknowledged")
    return "\n".join(lines)


def _show(path: Path, records: int) -> None:
    print(f"{records} records good; reading {path.name}", file=sys.stderr)
