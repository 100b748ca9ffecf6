"""Events reach a webhook that is slow, refuses or is away, as far as it can be helped, and delay nothing."""

import logging
from collections.abc import Callable, Iterator

import pytest
import trio

from proxy.config.structs import Audit, SecretRef
from proxy.supervisor.events import delivery
from proxy.supervisor.events.events import Event, Events
from proxy.supervisor.events.webhook import Webhook
from tests.supervisor.receiver import Receiver, receiver


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(delivery, "_BACKOFF_AT_MOST", 0.02)
    monkeypatch.setattr(delivery, "_WITHIN", 5.0)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def webhook(url: str | None, token: SecretRef | None = None) -> Webhook:
    return Webhook(Audit(webhook=url, webhook_token=token), wall=lambda: 1_764_000_000.0)


def event(name: str) -> Event:
    return Event("test", "warning", name, {"n": 1})


async def until(holds: Callable[[], bool], hook: Webhook) -> None:
    """Run the webhook until something is so."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hook.run)
            while not holds():
                await trio.sleep(0.005)
            nursery.cancel_scope.cancel()


async def test_events_are_posted_in_order_with_the_token(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "the-secret")
    hook = webhook(there.url + "/path?sig=1", SecretRef(env="HOOK_TOKEN"))
    events = Events()
    events.heard_by(hook.hear)
    for name in "abc":
        events.announce(event(name))
    await until(lambda: len(there.received) == 3, hook)
    path, headers, body = there.received[0]
    assert path == "/path?sig=1"
    assert headers["authorization"] == "Bearer the-secret"
    assert headers["content-type"] == "application/json"
    assert body.pop("gateway")
    assert body == {
        "kind": "test", "severity": "warning", "message": "a", "facts": {"n": 1}, "time": "2025-11-24T16:00:00.000Z"
    }  # fmt: skip
    assert [body["message"] for body in there.bodies] == ["a", "b", "c"]
    assert hook.dropped == 0


async def test_what_may_succeed_later_is_tried_again(there: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    there.answers.extend((503, 429, 500))
    hook = webhook(there.url + "/hunter2")
    hook.hear(event("a"))
    hook.hear(event("b"))
    await until(lambda: len(there.received) == 5, hook)
    assert [body["message"] for body in there.bodies] == ["a"] * 4 + ["b"]
    assert hook.dropped == 0
    assert [record.getMessage() for record in caplog.records] == [
        "webhook: answers with status 503",
        "webhook: takes what it is sent again",
    ]


@pytest.mark.parametrize("status", [307, 400, 401, 404])
async def test_what_never_will_is_not(there: Receiver, status: int) -> None:
    there.answers.append(status)
    hook = webhook(there.url)
    hook.hear(event("a"))
    hook.hear(event("b"))
    await until(lambda: len(there.received) == 2, hook)
    assert hook.dropped == 1


async def test_a_webhook_that_is_away_and_comes_back() -> None:
    with receiver() as gone:
        port = gone.server_port
    hook = webhook(f"http://127.0.0.1:{port}")
    hook.hear(event("a"))
    await until(lambda: hook.dropped == 1, hook)
    with receiver(port) as back:
        hook.hear(event("b"))
        await until(lambda: len(back.received) == 1, hook)
    assert hook.dropped == 1


async def test_one_that_never_answers_is_given_up(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_WITHIN", 0.5)
    monkeypatch.setattr(delivery, "_TRIES", 2)
    there.answers.extend((0, 0))
    hook = webhook(there.url)
    hook.hear(event("a"))
    await until(lambda: hook.dropped == 1, hook)
    assert len(there.received) == 2


async def test_a_token_that_is_missing_is_no_reason_to_post_without(there: Receiver) -> None:
    hook = webhook(there.url, SecretRef(file="/nonexistent"))
    hook.hear(event("a"))
    await until(lambda: hook.dropped == 1, hook)
    assert there.received == []


async def test_of_too_many_the_oldest_are_dropped_and_counted(there: Receiver) -> None:
    hook = webhook(there.url)
    for n in range(300):
        hook.hear(event(str(n)))
    assert hook.dropped == 44
    assert repr(hook) == "<Webhook 256 queued, 44 dropped>"
    await until(lambda: len(there.received) == 256, hook)
    assert [body["message"] for body in there.bodies] == [str(n) for n in range(44, 300)]


async def test_without_an_address_nothing_is_kept_and_a_new_one_is_for_what_comes(there: Receiver) -> None:
    hook = webhook(None)
    hook.hear(event("a"))
    assert hook.dropped == 0
    hook.reconfigure(Audit(webhook=there.url))
    hook.hear(event("b"))
    await until(lambda: len(there.received) == 1, hook)
    assert there.bodies[0]["message"] == "b"
