"""Another configuration comes into force whole or not at all, whichever way it comes; and each change once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from certs.pki import Pki, build
from proxy.config.load import judged
from proxy.config.structs import Config
from proxy.messages import Snapshot
from proxy.supervisor.certificates.key_vault import Held
from proxy.supervisor.configuration import snapshot as snapshots
from proxy.supervisor.configuration.history import History, UnknownVersion
from proxy.supervisor.configuration.reloading import OtherVersion, Reloading
from proxy.supervisor.events.events import Event

TEXT = """
[listen]
certificate = "server.pem"
private_key = "server.key"
[listen.bounds]
head = "15s"
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


class World:
    """A file, what is made of it, and what is said."""

    def __init__(self, folder: Path, pki: Pki) -> None:
        pair = pki.pairs["server"]
        self.certificate = folder / "server.pem"
        self.certificate.write_bytes(pair.certificate.read_bytes())
        (folder / "server.key").write_bytes(pair.key.read_bytes())
        self.path = folder / "penstock.toml"
        self.folder = folder
        self.now = 0.0
        self.put(TEXT)
        self.served: list[int] = []
        self.events: list[Event] = []
        self.counted: list[bool] = []
        self.reloading = self.started()

    def started(self) -> Reloading:
        text = self.path.read_bytes()
        return Reloading(
            self.path,
            text,
            judged(text, self.path),
            {},
            History(self.folder / "config"),
            build=lambda config, version, held: snapshots.build(config, version, 1, held, b""),
            obtain=self._obtain,
            put_in_force=self._put_in_force,
            announce=self.events.append,
            count=self.counted.append,
        )

    def put(self, text: str) -> None:
        """Another file in its place, as editors do it."""
        beside = self.folder / "draft"
        beside.write_text(text)
        os.replace(beside, self.path)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def _obtain(self, _config: Config) -> Held:
        return {}

    async def _put_in_force(self, _config: Config, snapshot: Snapshot, _held: Held) -> None:
        self.served.append(snapshot.version)


@pytest.fixture
def world(tmp_path: Path, pki: Pki) -> World:
    return World(tmp_path, pki)


def with_head(head: str) -> str:
    return TEXT.replace("15s", head)


async def watched(world: World, *acts: Callable[[], object], between: int) -> None:
    """Each act so many seconds after the one before, while the files are looked at every second."""
    for act in acts:
        act()
        for _ in range(between):
            world.now += 1
            await world.reloading.look(world.now)


async def test_a_change_is_served_once(world: World) -> None:
    await watched(world, lambda: world.put(with_head("20s")), between=5)
    assert world.served == [2]
    assert float(world.reloading.config.listen.bounds.head) == 20
    assert world.kinds() == ["configuration_reloaded"]
    assert 'listen.bounds.head: "15s" → "20s"' in world.events[0].message


async def test_a_reload_that_was_asked_for_has_seen_the_change(world: World) -> None:
    for text, ok in ((with_head("20s"), True), ("nonsense", False)):
        world.put(text)
        assert (await world.reloading.reload()).ok is ok
        await watched(world, lambda: None, between=10)
    assert world.served == [2]
    assert world.kinds() == ["configuration_reloaded", "configuration_refused"]


async def test_what_is_applied_is_not_loaded_again(world: World) -> None:
    outcome = await world.reloading.apply(with_head("20s").encode(), 1)
    assert outcome.result.ok
    await watched(world, lambda: None, between=5)
    assert world.served == [2]
    assert world.path.read_text() == with_head("20s")


@pytest.mark.parametrize("away", [lambda world: world.path.unlink(), lambda world: world.path.write_text("[list")])
async def test_a_file_that_is_being_written_is_waited_for(world: World, away: Callable[[World], object]) -> None:
    """Gone, or half of it there, for two seconds: nobody hears of it."""
    await watched(world, lambda: away(world), lambda: world.put(with_head("20s")), between=2)
    assert world.kinds() == ["configuration_reloaded"]
    assert world.counted == [True]
    await watched(world, lambda: away(world), lambda: world.put(with_head("20s")), between=2)
    assert world.served == [2], "it is as it was"


async def test_a_file_that_stays_away_is_an_error_told_once(world: World) -> None:
    await watched(world, world.path.unlink, between=60)
    assert world.kinds() == ["configuration_refused"]
    assert "cannot be read" in world.events[0].message
    assert world.reloading.last is not None
    assert not world.reloading.last.ok
    await watched(world, lambda: world.put(TEXT), between=5)
    assert world.reloading.last.ok, "and so is the end of it"


async def test_a_file_that_only_looks_new_changes_nothing(world: World) -> None:
    await watched(world, lambda: world.put(TEXT), world.certificate.touch, between=5)
    assert (world.served, world.events) == ([], [])


async def test_another_certificate_in_the_same_place(world: World, pki: Pki) -> None:
    def renew() -> None:
        pair = pki.pairs["mock"]
        world.certificate.write_bytes(pair.certificate.read_bytes())
        (world.folder / "server.key").write_bytes(pair.key.read_bytes())

    await watched(world, renew, between=5)
    assert world.served == [2]
    assert "listen.certificate: another content: sha256:" in world.events[-1].message
    assert [entry.version for entry in world.reloading.history.entries] == [2], "the text is the same"


async def test_what_is_refused_changes_nothing(world: World) -> None:
    for text, key in (
        (b"\xff", "UTF-8"),
        (TEXT.replace("head", "hed").encode(), "listen.bounds.hed"),
        (TEXT.replace("[listen]", "[listen]\nworkers = 9").encode(), "listen.workers"),
    ):
        outcome = await world.reloading.apply(text, None)
        assert not outcome.result.ok
        assert any(key in problem.key + problem.found for problem in outcome.result.problems)
    assert (world.reloading.version, world.served, world.path.read_text()) == (1, [], TEXT)


async def test_another_version_than_was_meant(world: World) -> None:
    await world.reloading.apply(with_head("20s").encode(), 1)
    with pytest.raises(OtherVersion) as found:
        await world.reloading.apply(with_head("25s").encode(), 1)
    assert found.value.version == 2
    assert world.path.read_text() == with_head("20s")


async def test_a_file_that_cannot_be_written(world: World) -> None:
    (world.folder / "penstock.toml.previous").mkdir()
    with pytest.raises(OSError, match="previous"):
        await world.reloading.apply(with_head("20s").encode(), 1)
    assert (world.reloading.version, world.served, world.events) == (1, [], [])


async def test_roll_back(world: World) -> None:
    with pytest.raises(UnknownVersion):
        await world.reloading.roll_back(None, None)
    await world.reloading.apply(with_head("20s").encode(), 1)
    await world.reloading.apply(with_head("25s").encode(), 2)
    assert (await world.reloading.roll_back(None, None)).result.version == 4
    assert world.path.read_text() == with_head("20s")
    assert (await world.reloading.roll_back(1, 4)).result.version == 5
    assert world.path.read_text() == TEXT
    with pytest.raises(UnknownVersion):
        await world.reloading.roll_back(77, None)
    assert [entry.source for entry in world.reloading.history.entries] == ["start", "api", "api", *["rollback"] * 2]


async def test_a_restart_goes_on_counting(world: World) -> None:
    await world.reloading.apply(with_head("20s").encode(), 1)
    again = world.started()
    assert (again.version, float(again.config.listen.bounds.head)) == (2, 20.0)
    assert (await again.roll_back(None, None)).result.version == 3
    world.put(with_head("30s"))
    assert world.started().version == 4


async def test_a_version_whose_files_are_gone_is_refused(world: World) -> None:
    root = world.folder / "root.pem"
    root.write_bytes(world.certificate.read_bytes())
    with_backend = (
        TEXT
        + f"""
[credentials.gateway]
kind = "managed_identity"
[[backends]]
name = "b"
url = "https://b.example"
region = "r"
credential = "gateway"
ca = "{root}"
"""
    )
    assert (await world.reloading.apply(with_backend.encode(), 1)).result.ok
    assert (await world.reloading.apply(TEXT.encode(), 2)).result.ok
    root.unlink()
    outcome = await world.reloading.roll_back(None, None)
    assert [problem.key for problem in outcome.result.problems] == ["backends[0].ca"]
    assert world.reloading.version == 3


async def test_what_would_change_applies_nothing(world: World) -> None:
    candidate = await world.reloading.judge(TEXT.replace("[listen]", "[listen]\nworkers = 9").encode())
    assert [(change.key, change.effect) for change in candidate.changes] == [("listen.workers", "restart")]
    assert (world.reloading.version, world.served, world.events) == (1, [], [])
