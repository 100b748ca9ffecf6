"""Health probes: who is asked, when, and what follows. Time jumps."""

import pytest
import trio
import trio.testing

from proxy.config.structs import Backend, Config, Deployment, HealthProbes, Listen, Model, Routing, Seconds
from proxy.messages import BreakerTold, DeploymentsSeen
from proxy.routing.shared import DeploymentSeen
from proxy.supervisor.backends.health import HealthProbes as Probes
from proxy.supervisor.events.events import Event


def config(every: float = 30.0, names: tuple[str, ...] = ("swc", "frc")) -> Config:
    deployments = tuple(Deployment(backend=name, deployment="gpt-4o") for name in names)
    return Config(
        listen=Listen(certificate="c"),
        backends=tuple(Backend(name=n, url=f"https://{n}.example", region="r", credential="g") for n in names),
        models=(Model(name="gpt-4o", deployments=deployments),),
        routing=Routing(probes=HealthProbes(every=Seconds(every), within=Seconds(5))),
    )


class World:
    """Backends that answer or do not, and what was asked, told and announced."""

    def __init__(self, made: Config) -> None:
        self.began = trio.current_time()
        self.wrong: dict[str, str] = {}
        self.asked: list[tuple[str, float]] = []
        self.told: list[tuple[str, str, float]] = []
        self.events: list[Event] = []
        self.probes = Probes(
            made, self._ask, self._tell, self.events.append, now=trio.current_time, uniform=lambda: 0.0
        )

    async def _ask(self, backend: Backend, within: float) -> str | None:
        self.asked.append((backend.name, round(trio.current_time() - self.began, 1)))
        await trio.sleep(0.1)
        return self.wrong.get(backend.name)

    def _tell(self, told: BreakerTold) -> None:
        assert told.reason == "health_probe"
        self.told.append((told.backend, told.state, told.seconds))

    def traffic(self, backend: str, requests: int = 1, failed: int = 0) -> None:
        seen = DeploymentSeen(backend, "gpt-4o", 0, requests, 0, failed, 0, (), 0.0)
        self.probes.saw(DeploymentsSeen((seen,)))


@pytest.fixture
async def world(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> World:
    made = World(config())
    nursery.start_soon(made.probes.run)
    return made


async def test_who_has_traffic_is_left_in_peace(world: World, autojump_clock: trio.testing.MockClock) -> None:
    for _ in range(70):
        world.traffic("swc")
        await trio.sleep(1)
    assert [name for name, _ in world.asked] == ["frc", "frc"]
    assert world.told == []


async def test_one_that_does_not_answer_twice_is_set_aside_for_as_long_as_it_stays_so(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    world.wrong["frc"] = "it answered 503"
    await trio.sleep(31)
    assert world.told == []
    await trio.sleep(9)
    assert [at for name, at in world.asked if name == "frc"] == [30.0, 31.1, 36.2], "one that is out is asked sooner"
    assert world.told == [("frc", "open", 12.5)] * 2
    assert [event.kind for event in world.events] == ["backend_unreachable"]
    assert "503" in world.events[0].message
    del world.wrong["frc"]
    await trio.sleep(2)
    assert world.told[2:] == [("frc", "half_open", 0.0)]
    assert [event.kind for event in world.events] == ["backend_unreachable", "backend_answers"]


async def test_one_failure_is_none(world: World, autojump_clock: trio.testing.MockClock) -> None:
    world.wrong["frc"] = "x"
    await trio.sleep(30.5)
    world.wrong.clear()
    await trio.sleep(100)
    assert world.told == []
    assert world.events == []


async def test_what_traffic_has_found_out_is_not_said_again(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    world.wrong["frc"] = "x"
    await trio.sleep(35)
    world.traffic("frc")
    world.wrong.clear()
    await trio.sleep(60)
    assert [event.kind for event in world.events] == ["backend_unreachable"]
    assert [state for _, state, _ in world.told] == ["open"]


async def test_a_new_configuration(world: World, autojump_clock: trio.testing.MockClock) -> None:
    world.probes.reconfigure(config(every=0.0))
    await trio.sleep(500)
    assert world.asked == []
    world.probes.reconfigure(config(every=10.0, names=("new",)))
    await trio.sleep(11)
    assert [name for name, _ in world.asked] == ["new"]
