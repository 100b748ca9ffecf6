"""`penstock keys issue`, `rotate`, `list` and `revoke`: on the store itself, so a gateway may run or not.

A gateway that runs notices within a quarter of a second. Of the configuration only `state` and `clients` count here: a
certificate that has expired must not keep anyone from revoking a key. What is to be piped goes to standard output, a
new key alone and nothing else; what people should know goes to standard error.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from proxy.admin.keys import KeyStatus
from proxy.config.load import parse
from proxy.config.structs import Config
from proxy.supervisor.identity import issuing
from proxy.supervisor.store.keys import Issued, KeyStore


def issue(arguments: argparse.Namespace) -> int:
    """Raises `KeyProblem`, `StoreError`, `SecretUnusable` or `ConfigError`, as all of these do."""
    with _store(arguments) as (config, store):
        issuing.judge(arguments.client, config.clients)
        issued = store.issue(arguments.client, lifetime=arguments.expires, note=arguments.note)
        _tell(issued)
        if issued.other is not None:
            _say(f"{issued.other.id} is live too; to end it: penstock keys revoke {issued.other.id}")
    return _show(issued)


def rotate(arguments: argparse.Namespace) -> int:
    with _store(arguments) as (config, store):
        issuing.judge(arguments.client, config.clients)
        issued = store.rotate(
            arguments.client, lifetime=arguments.expires, note=arguments.note, old_lives=arguments.old_expires
        )
        _tell(issued)
        old = issued.other
        assert old is not None
        if arguments.old_expires is None:
            _say(f"{old.id} stays live; when nobody uses it any more: penstock keys revoke {old.id}")
        else:
            _say(f"{old.id} ends {_moment(old.expires)}")
    return _show(issued)


def revoke(arguments: argparse.Namespace) -> int:
    with _store(arguments) as (_, store):
        row = store.revoke(arguments.id)
    print(f'{row.id} of client "{row.client}" is revoked')
    return 0


def listing(arguments: argparse.Namespace) -> int:
    with _store(arguments) as (config, store):
        takes_keys = issuing.takers(config.clients)
        now = time.time()
        keys = [issuing.shown(row, takes_keys, now) for row in store.all()]
    if arguments.client is not None:
        keys = [key for key in keys if key.client == arguments.client]
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(keys)).decode())
    else:
        _print_table(keys)
    return 0


@contextlib.contextmanager
def _store(arguments: argparse.Namespace) -> Iterator[tuple[Config, KeyStore]]:
    config = parse(arguments.config)
    store = KeyStore.open(config.state)
    try:
        yield config, store
    finally:
        store.close()


def _tell(issued: Issued) -> None:
    """Before the key itself is shown: should that fail, it is known which one to revoke."""
    row = issued.row
    ends = "does not expire" if row.expires is None else f"expires {_moment(row.expires)}"
    _say(f'{row.id} is issued to client "{row.client}" and {ends}; the key is shown this once:')


def _show(issued: Issued) -> int:
    print(issued.key)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_table(keys: list[KeyStatus]) -> None:
    lines = [("ID", "CLIENT", "STATE", "CREATED", "EXPIRES", "LAST USED", "NOTE")]
    lines += [
        (key.id, key.client, key.state, _moment(key.created), _moment(key.expires), _moment(key.last_used), key.note)
        for key in keys
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _moment(moment: float | None) -> str:
    return "never" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
