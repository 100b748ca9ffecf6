"""Records reach a collector in batches, and one that does not take them costs records there and nothing here."""

from collections.abc import Callable

import msgspec
import pytest
import trio

from proxy.config.structs import Audit
from proxy.record.record import Record
from proxy.supervisor.events import delivery
from proxy.supervisor.records.export import Exporter
from tests.supervisor.receiver import Receiver, receiver


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(delivery, "_BACKOFF_AT_MOST", 0.02)


def lines(count: int, first: int = 0) -> list[bytes]:
    return [
        msgspec.json.encode(Record(seq=seq, time="2025-11-24T16:00:00.000Z")) for seq in range(first, first + count)
    ]


def seqs(there: Receiver) -> list[list[int]]:
    batches = [body["resourceLogs"][0]["scopeLogs"][0]["logRecords"] for body in there.bodies]
    return [[msgspec.json.decode(log["body"]["stringValue"])["seq"] for log in batch] for batch in batches]


async def until(holds: Callable[[], bool], exporter: Exporter) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exporter.run)
            while not holds():
                await trio.sleep(0.005)
            nursery.cancel_scope.cancel()


async def test_records_go_in_batches_and_in_order() -> None:
    with receiver() as there:
        exporter = Exporter(Audit(otlp=there.url + "/v1/logs"), linger=0)
        exporter.take(lines(1200))
        await until(lambda: len(there.received) == 3, exporter)
        assert [len(batch) for batch in seqs(there)] == [500, 500, 200]
        assert [seq for batch in seqs(there) for seq in batch] == list(range(1200))
        assert there.received[0][0] == "/v1/logs"
        assert exporter.dropped == 0


async def test_a_batch_is_tried_again_and_one_that_is_refused_is_dropped() -> None:
    with receiver() as there:
        there.answers.extend((503, 200, 400, 200))
        exporter = Exporter(Audit(otlp=there.url), linger=0)
        exporter.take(lines(1500))
        await until(lambda: len(there.received) == 4, exporter)
        assert [batch[0] for batch in seqs(there)] == [0, 0, 500, 1000]
        assert exporter.dropped == 500


async def test_of_too_many_the_oldest_are_dropped_and_without_a_collector_none_is_kept() -> None:
    exporter = Exporter(Audit(otlp="http://127.0.0.1:9"))
    exporter.take(lines(1) * 30_000)
    assert repr(exporter) == "<Exporter 20000 queued, 10000 dropped>"
    idle = Exporter(Audit())
    idle.take(lines(1))
    assert repr(idle) == "<Exporter 0 queued, 0 dropped>"
