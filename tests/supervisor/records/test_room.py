"""No worker is granted what the disk has no room for, whatever comes, is written, fails and recovers."""

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.supervisor.records.room import RECORD_BYTES, Room


class Worker:
    """One that begins a request whenever it may, and ends some."""

    def __init__(self) -> None:
        self.received = 0
        self.permitted = 0
        self.promised = 0
        self.begun = 0
        self.permit: Callable[[int], object] = self.told
        self.may = 0

    def told(self, records: int) -> None:
        self.may = records


def test_with_all_its_room_each_worker_has_its_full_share() -> None:
    room = Room(workers=3, requests=500)
    assert room.share(room.size, 0) == 2_500
    assert room.share(room.size // 2, 0) in range(1_200, 1_300)
    assert room.share(0, 0) == 0
    assert room.share(room.size, 100_000) == 0


def test_a_worker_is_told_when_it_matters_and_not_at_every_record() -> None:
    room = Room(workers=1, requests=0)
    worker = Worker()
    told: list[int] = []
    worker.permit = told.append
    for _ in range(1_000):
        worker.received += 1
        room.grant([worker], room.size, 0)
    assert len(told) < 10
    assert told[-1] >= 2_500
    room.grant([worker], 0, 0)
    assert told[-1] == 1_000, "nothing while nothing can be written"
    room.grant([worker], room.size - 1_997 * RECORD_BYTES, 0)
    assert told[-1] == 1_003, "the last places are granted one by one"


Step = tuple[str, int, int]


@settings(max_examples=200, deadline=None)
@example(steps=[("begin", 0, 99), ("begin", 1, 99), ("begin", 2, 99), ("send", 0, 98), ("begin", 0, 65)], disk=739_328)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(("begin", "send", "write", "hold")), st.integers(0, 2), st.integers(1, 900)),
        max_size=60,
    ),
    disk=st.integers(0, 12_000_000),
)
def test_every_record_that_was_begun_finds_room(steps: list[Step], disk: int) -> None:
    """The disk is `disk` bytes large and only held as it is used; records are as long as they may be."""
    room = Room(workers=3, requests=300)
    workers = [Worker() for _ in range(3)]
    held = min(disk, room.size)
    disk -= held
    queued = 0
    room.grant(workers, held, queued)
    for what, index, count in steps:
        worker = workers[index]
        if what == "begin":
            worker.begun = max(worker.begun, min(worker.begun + count, worker.may))
        elif what == "send":
            sent = min(count, worker.begun - worker.received)
            worker.received += sent
            queued += sent
        elif what == "write":
            written = min(count, queued)
            assert held >= written * RECORD_BYTES, "a record that was begun has no room"
            held -= written * RECORD_BYTES
            queued -= written
        else:
            more = min(disk, room.size - held)
            disk, held = disk - more, held + more
        room.grant(workers, held, queued)
        open_ = sum(worker.begun - worker.received for worker in workers)
        assert (open_ + queued) * RECORD_BYTES <= held
