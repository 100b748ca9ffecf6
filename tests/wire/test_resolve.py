"""Where a host is: asked once, kept fresh behind the scenes, in another order each time. By virtual time."""

import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from proxy.wire.resolve import FRESH_FOR, Address, Addresses, interleaved


class Names(trio.abc.HostnameResolver):
    """A name service that takes `seconds`, and may be out. `asked` counts."""

    def __init__(self, *addresses: str, seconds: float = 0.0) -> None:
        self.addresses = addresses
        self.seconds = seconds
        self.out = False
        self.asked = 0

    async def getaddrinfo(self, host: Any, port: Any, *_: object) -> list[tuple[object, ...]]:  # type: ignore[override]
        self.asked += 1
        await trio.sleep(self.seconds)
        if self.out:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses
        ]

    async def getnameinfo(self, *_: object) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def names() -> Names:
    service = Names("10.0.0.1", "10.0.0.2")
    trio.socket.set_custom_hostname_resolver(service)
    return service


def hosts(addresses: Any) -> list[object]:
    return [address[1][0] for address in addresses]


def of(*hosts: str) -> list[Address]:
    return [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, 443)) for host in hosts]


@pytest.mark.parametrize(
    ("known", "turn", "order"),
    [
        (["a"], 0, ["a"]),
        (["a"], 5, ["a"]),
        (["a", "b", "c"], 1, ["b", "c", "a"]),
        (["a", "b", "c"], 5, ["c", "a", "b"]),
        (["::1", "::2", "a", "b"], 0, ["::1", "a", "::2", "b"]),
        (["::1", "::2", "a", "b"], 1, ["::2", "b", "::1", "a"]),
        (["a", "::1", "::2", "::3"], 0, ["a", "::1", "::2", "::3"]),
        ([], 0, []),
    ],
)
def test_families_alternate_and_addresses_take_turns(known: list[str], turn: int, order: list[str]) -> None:
    assert hosts(interleaved(of(*known), turn)) == order


async def test_each_connection_begins_with_another_address(autojump_clock: MockClock, names: Names) -> None:
    addresses = Addresses("host", 443)
    assert [hosts(await addresses.order())[0] for _ in range(4)] == ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]
    assert names.asked == 1


async def test_the_first_answer_is_waited_for_by_all_and_asked_for_once(
    autojump_clock: MockClock, names: Names
) -> None:
    names.seconds = 2.0
    addresses = Addresses("host", 443)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(addresses.order)
    assert trio.current_time() == pytest.approx(2.0)
    assert names.asked == 1


async def test_an_old_answer_is_used_at_once_while_a_new_one_is_fetched(
    autojump_clock: MockClock, names: Names
) -> None:
    addresses = Addresses("host", 443)
    await addresses.order()
    await trio.sleep(FRESH_FOR + 1)
    names.addresses, names.seconds = ("10.0.0.9",), 2.0
    assert not addresses.is_stale(), "nobody needs it"
    began = trio.current_time()
    assert "10.0.0.1" in hosts(await addresses.order())
    assert addresses.is_stale()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(addresses.refresh)
        await trio.sleep(1)
        assert "10.0.0.1" in hosts(await addresses.order())
        assert not addresses.is_stale(), "somebody asks already"
    assert trio.current_time() - began == pytest.approx(2.0)
    assert hosts(await addresses.order()) == ["10.0.0.9"]
    assert not addresses.is_stale()


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
async def test_a_name_service_that_is_out_or_hangs_leaves_what_is_known(
    autojump_clock: MockClock, names: Names, seconds: float
) -> None:
    addresses = Addresses("host", 443)
    await addresses.order()
    await trio.sleep(FRESH_FOR + 1)
    names.out, names.seconds = True, seconds
    await addresses.order()
    await addresses.refresh()
    assert sorted(map(str, hosts(await addresses.order()))) == ["10.0.0.1", "10.0.0.2"]
    assert names.asked == 2


async def test_doubted_addresses_are_asked_for_again_but_not_waited_for_long(
    autojump_clock: MockClock, names: Names
) -> None:
    addresses = Addresses("host", 443)
    await addresses.order()
    addresses.doubt()
    names.addresses = ("10.0.0.9",)
    assert hosts(await addresses.order()) == ["10.0.0.9"]
    addresses.doubt()
    names.seconds = 3600.0
    began = trio.current_time()
    assert hosts(await addresses.order()) == ["10.0.0.9"]
    assert trio.current_time() - began <= 1.0


async def test_late_ones_come_last_until_the_next_answer(autojump_clock: MockClock, names: Names) -> None:
    addresses = Addresses("host", 443)
    late = (await addresses.order())[:1]
    addresses.late(late)
    assert {str(hosts(await addresses.order())[0]) for _ in range(4)} == {"10.0.0.2"}
    await addresses.refresh()
    assert len({str(hosts(await addresses.order())[0]) for _ in range(4)}) == 2


async def test_no_more_addresses_are_kept_than_are_of_use(autojump_clock: MockClock, names: Names) -> None:
    names.addresses = tuple(f"10.0.0.{n}" for n in range(200))
    assert len(await Addresses("host", 443).order()) == 16


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
async def test_a_name_that_was_never_found(autojump_clock: MockClock, names: Names, seconds: float) -> None:
    names.out, names.seconds = True, seconds
    with pytest.raises(OSError, match=r"failure in name resolution|leads to no address"):
        await Addresses("host", 443).order()


async def test_a_name_that_is_none() -> None:
    with pytest.raises(OSError, match="no host's"):
        await Addresses("a" * 70, 443).order()
