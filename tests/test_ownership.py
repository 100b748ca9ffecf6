"""What a worker knows of stored things: asked once, remembered where it is its own, never without an answer."""

from collections.abc import Callable

import pytest
import trio

from proxy.config.structs import Client
from proxy.messages import AskStored, StoredTold
from proxy.ownership import Ownership
from proxy.refusal import Reason, Refused
from proxy.stored.entry import Entry, Find, Owner, Question, Told

ANN, EVE = Client(name="ann", tenant="t"), Client(name="eve", tenant="t")
CLIENTS = {"ann": ANN, "eve": EVE}
FILE = Entry("file-1", "file", Owner("t", "ann"), "swc", 0.0)


class Supervisor:
    """Answers from what it knows, unless it is `out`."""

    def __init__(self, answer: Callable[[Question], Told]) -> None:
        self.questions: list[Question] = []
        self.out = False
        self.ownership = Ownership(self.post)
        self._answer = answer

    def post(self, message: AskStored) -> bool:
        self.questions.append(message.question)
        if not self.out:
            told = StoredTold(message.serial, self._answer(message.question))
            trio.lowlevel.current_trio_token().run_sync_soon(self.ownership.told, told)
        return True


def found(question: Question) -> Told:
    return Told(entries=(FILE,) if isinstance(question, Find) and FILE.id in question.ids else ())


async def refused(supervisor: Supervisor, client: Client, kind: str, one: str) -> Reason:
    with pytest.raises(Refused) as caught:
        await supervisor.ownership.owned(client, CLIENTS, [(kind, one)])
    return caught.value.reason


async def test_ones_own_is_asked_for_once(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = Supervisor(found)
    for _ in range(3):
        assert await supervisor.ownership.owned(ANN, CLIENTS, [("file", "file-1")]) == [FILE]
    assert len(supervisor.questions) == 1
    supervisor.ownership.dropped(("file-1",))
    await supervisor.ownership.owned(ANN, CLIENTS, [("file", "file-1")])
    assert len(supervisor.questions) == 2


async def test_what_is_deleted_while_it_is_asked_for_is_not_remembered(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = Supervisor(found)
    supervisor.out = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.ownership.owned, ANN, CLIENTS, [("file", "file-1")])
        await trio.testing.wait_all_tasks_blocked()
        supervisor.ownership.dropped(("file-1",))
        supervisor.ownership.told(StoredTold(1, Told(entries=(FILE,))))
    supervisor.out = False
    await supervisor.ownership.owned(ANN, CLIENTS, [("file", "file-1")])
    assert len(supervisor.questions) == 2


async def test_anothers_is_asked_for_each_time_as_nobodys_is(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = Supervisor(found)
    await supervisor.ownership.owned(ANN, CLIENTS, [("file", "file-1")])
    for count, one in enumerate(("file-1", "file-2", "file-1"), 2):
        assert await refused(supervisor, EVE, "file", one) is Reason.NOT_FOUND
        assert len(supervisor.questions) == count


async def test_an_id_of_another_kind_is_nothings(autojump_clock: trio.testing.MockClock) -> None:
    assert await refused(Supervisor(found), ANN, "response", "file-1") is Reason.NOT_FOUND


async def test_without_an_answer_nothing_is_decided(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = Supervisor(found)
    supervisor.out = True
    began = trio.current_time()
    assert await refused(supervisor, ANN, "file", "file-1") is Reason.STATE_UNAVAILABLE
    assert trio.current_time() - began == pytest.approx(2.0)
    failing = Supervisor(lambda _: Told("unavailable"))
    assert await refused(failing, ANN, "file", "file-1") is Reason.STATE_UNAVAILABLE


@pytest.mark.parametrize(("why", "reason"), [("full", Reason.STATE_FULL), ("taken", Reason.INTERNAL)])
async def test_what_cannot_be_kept_is_not_told(
    autojump_clock: trio.testing.MockClock, why: str, reason: Reason
) -> None:
    supervisor = Supervisor(lambda _: Told(why))
    with pytest.raises(Refused) as caught:
        await supervisor.ownership.keep((FILE,))
    assert caught.value.reason is reason
