"""How commands ask the gateway: over TLS where the admin address has it, and one clear sentence for what cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
import pytest
import trio

from proxy.admin.backends import BackendsStatus, Which
from proxy.admin.client import AdminClient, CannotAsk, NoAnswer, NotDone, Reach
from proxy.config.structs import Admin, SecretRef
from tests.admin.test_server import Authority, far
from tests.admin.world import NOW, TOKEN, Gateway, admin_of

__all__ = ["far"]

T = TypeVar("T")


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> SecretRef:
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    return SecretRef(env="ADMIN_TOKEN")


def at(server: httpx.AsyncClient) -> str:
    return f"127.0.0.1:{server.base_url.port}"


async def asked(admin: Admin, reach: Reach, ask: Callable[[AdminClient], T]) -> T:
    def run() -> T:
        with AdminClient(admin, reach) as client:
            return ask(client)

    return await trio.to_thread.run_sync(run)


def listing(client: AdminClient) -> BackendsStatus:
    return client.get("/api/backends", BackendsStatus)


async def test_it_asks_and_acts(token: SecretRef) -> None:
    gateway = Gateway()
    async with admin_of(gateway) as server:
        reach = Reach(address=at(server))
        assert (await asked(Admin(token=token), reach, listing)).time == NOW
        path = "/api/backends/swc-std/drain"
        await asked(Admin(token=token), reach, lambda client: client.post(path, Which(), BackendsStatus))
        path = "/api/backends/nowhere/drain"
        with pytest.raises(NotDone, match="no backend is named so"):
            await asked(Admin(token=token), reach, lambda client: client.post(path, Which(), BackendsStatus))
    assert [backend for _, backend, _ in gateway.backends.asked] == ["swc-std", "nowhere"]


async def test_over_tls_with_a_certificate(far: tuple[Admin, Authority], token: SecretRef, tmp_path: Path) -> None:
    admin, authority = far
    admin = msgspec.structs.replace(admin, token=token)
    certificate, key = map(Path, authority.write(tmp_path, "operator"))
    async with admin_of(Gateway(), admin) as server:
        reach = Reach(address=at(server), certificate=certificate, key=key, ca=Path(admin.roots[0]))
        assert (await asked(admin, reach, listing)).time == NOW
        with pytest.raises(NoAnswer, match="certificate"):
            await asked(admin, msgspec.structs.replace(reach, ca=None), listing)
    for wrong, words in (
        (Reach(), "asks for a client certificate"),
        (Reach(certificate=tmp_path / "gone.pem"), "cannot be read: No such file"),
        (Reach(certificate=certificate), "cannot be used"),
    ):
        with pytest.raises(CannotAsk, match=words):
            AdminClient(admin, wrong)


async def test_who_has_another_token(monkeypatch: pytest.MonkeyPatch, token: SecretRef) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN + "5")
    async with admin_of(Gateway()) as server:
        with pytest.raises(NotDone, match=r"refuses the token of admin\.token"):
            await asked(Admin(token=token), Reach(address=at(server)), listing)


def test_what_is_no_address(token: SecretRef) -> None:
    with pytest.raises(CannotAsk, match="is not host:port"):
        AdminClient(Admin(token=token), Reach(address="nowhere"))


def test_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(CannotAsk, match="the admin token cannot be read"):
        AdminClient(Admin(token=SecretRef(file=str(tmp_path / "admin.token"))))
    with pytest.raises(CannotAsk, match="is not set or empty"):
        AdminClient(Admin(token=SecretRef(env="NO_SUCH_TOKEN")))
