"""What is done over the admin address leaves one record, whatever becomes of it."""

from typing import cast

import msgspec
import pytest

from proxy.admin.body import Cannot
from proxy.admin.keys import IssueKey
from proxy.admin.view import ReloadResult
from proxy.record.record import End, Record
from proxy.supervisor.records.acts import Acts, RecordedKeys
from proxy.supervisor.records.keeper import RecordKeeper
from tests.admin.world import Desk


class Keeper:
    """Takes records as the real one does."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def take(self, source: None, slots: list[int], lines: list[bytes]) -> None:
        assert (source, slots) == (None, [-1])
        self.lines += lines

    @property
    def record(self) -> Record:
        (line,) = self.lines
        return msgspec.json.decode(line, type=Record)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def acts(keeper: Keeper) -> Acts:
    return Acts(cast(RecordKeeper, keeper))


def test_what_is_done(acts: Acts, keeper: Keeper) -> None:
    with acts.recorded("admin.backends.drain") as act:
        act.what, act.backend = "swc/gpt-4o drained", "swc"
    record = keeper.record
    assert (record.operation, record.source, record.client, record.rule) == (
        "admin.backends.drain", "admin", None, "swc/gpt-4o drained",
    )  # fmt: skip
    assert (record.decision, record.reason, record.status, record.end) == ("allowed", None, 200, End.COMPLETE)
    assert record.request_id.startswith("admin-")
    assert record.time


def test_what_is_refused(acts: Acts, keeper: Keeper) -> None:
    with pytest.raises(Cannot), acts.recorded("admin.backends.drain"):
        raise Cannot(404, "UnknownBackend", "There is none.")
    record = keeper.record
    assert (record.decision, record.reason, record.status, record.rule) == (
        "refused", "unknown_backend", 404, "There is none.",
    )  # fmt: skip
    assert record.end is End.REFUSED


def test_what_was_allowed_and_came_to_nothing(acts: Acts, keeper: Keeper) -> None:
    with acts.recorded("admin.reload") as act:
        act.reloaded(ReloadResult(ok=False, time=0, version=4, error="penstock.toml: no"))
    record = keeper.record
    assert (record.decision, record.reason, record.status) == ("allowed", "configuration_refused", 422)
    assert record.rule == "penstock.toml: no"


def test_what_was_not_finished(acts: Acts, keeper: Keeper) -> None:
    with pytest.raises(RuntimeError), acts.recorded("admin.reload"):
        raise RuntimeError
    assert (keeper.record.reason, keeper.record.status) == ("not_finished", None)


async def test_keys_are_recorded_without_the_key(acts: Acts, keeper: Keeper) -> None:
    keys = RecordedKeys(Desk(), acts)
    await keys.issue(IssueKey(client="turbine-7"))
    assert keeper.record.rule == "key-3 issued to client turbine-7"
    assert b"penstock_" not in keeper.lines.pop()
    with pytest.raises(Cannot):
        await keys.revoke("key-9")
    assert (keeper.record.operation, keeper.record.reason) == ("admin.keys.revoke", "unknown_key")
