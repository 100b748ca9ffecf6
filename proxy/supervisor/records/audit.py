"""The audit log, its key and its checkpoint, where the configuration puts them."""

from pathlib import Path

from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import Config, SecretRef
from proxy.record.audit import AuditLog
from proxy.record.chain import ChainKey
from proxy.supervisor import secret_file
from proxy.supervisor.records.room import Room
from proxy.supervisor.secret_file import SecretUnusable

_WHAT = "audit key"


def open_log(config: Config, key: ChainKey, room: Room | None) -> AuditLog:
    """The log, ready to be written. Raises `AuditWriteError`."""
    audit = config.audit
    return AuditLog(
        Path(audit.path),
        key,
        checkpoint_path(config),
        rotate_at=int(audit.rotate_at),
        keep=audit.keep,
        reserve=0 if room is None else room.size,
    )


def chain_key(config: Config, *, make: bool = False) -> ChainKey:
    """The key that chains the records; `make`: made if there is none. Raises `SecretUnusable`."""
    ref = config.audit.key
    if ref.file is not None and ref.env is None:
        path = Path(ref.file)
        return ChainKey(secret_file.load_or_make(path, _WHAT) if make else secret_file.load(path, _WHAT))
    return ChainKey(secret_file.checked(_given(ref), "audit.key", _WHAT))


def checkpoint_path(config: Config) -> Path:
    """Beside the gateway's state and so apart from the log."""
    return Path(config.state.path).parent / "audit.checkpoint"


def _given(ref: SecretRef) -> str:
    try:
        return resolve(ref).reveal()
    except SecretMissing as error:
        raise SecretUnusable(f"audit.key: {error}") from None
