"""Pools over the versions of a configuration: what rests on the same is kept."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from certs.pki import Pki
from proxy.config.structs import Backend, Bounds, Routing, Upstream
from proxy.messages import ServerCertificate, Snapshot, Tls
from proxy.pools import Pools
from proxy.wire.pump import Pump

SWC = Backend(name="swc", url="https://swc.example", region="swedencentral", credential="c", ca="ca")
FRC = Backend(name="frc", url="https://frc.example", region="francecentral", credential="c")


@pytest.fixture
def pump() -> Iterator[Pump]:
    made = Pump()
    yield made
    made.close()


def snapshot(pki: Pki, *backends: Backend, **more: Any) -> Snapshot:
    plain = Snapshot(
        version=1,
        tls=Tls((), "1.2", "off", b"", b""),
        bounds=Bounds(),
        clients=(),
        issuers=(),
        models=(),
        backends=backends,
        trust={"ca": pki.server_root.read_bytes()},
        shown={},
        routing=Routing(),
        forward_headers=(),
        forward_query=(),
        audit_user="plain",
        audit_user_key=b"",
        audit_required=False,
        workers=1,
    )
    return msgspec.structs.replace(plain, **more)


def changed(backend: Backend, **fields: Any) -> Backend:
    return msgspec.structs.replace(backend, **fields)


@pytest.mark.parametrize(
    "fields", [{}, {"region": "r"}, {"credential": "d"}, {"tier": "provisioned"}], ids=lambda f: str(f)
)
def test_a_pool_is_kept_where_connections_rest_on_the_same(pump: Pump, pki: Pki, fields: dict[str, Any]) -> None:
    pools = Pools(pump)
    pools.reconfigure(snapshot(pki, SWC, FRC))
    before = dict(pools.by_name)
    pools.reconfigure(snapshot(pki, changed(SWC, **fields), upstream=Upstream(warm=5)))
    assert pools.by_name == {"swc": before["swc"]}
    assert before["swc"].wants_another(0.0)
    assert not before["frc"].wants_another(0.0), "closed"


@pytest.mark.parametrize("fields", [{"url": "https://swc.example:444"}, {"ca": None}, {"connect_to": "10.0.0.4:443"}])
def test_another_pool_where_they_do_not(pump: Pump, pki: Pki, fields: dict[str, Any]) -> None:
    pools = Pools(pump)
    pools.reconfigure(snapshot(pki, SWC))
    before = pools.by_name["swc"]
    pools.reconfigure(snapshot(pki, changed(SWC, **fields)))
    assert pools.by_name["swc"] is not before
    assert not before.wants_another(0.0)


def test_another_pool_where_files_changed(pump: Pump, pki: Pki) -> None:
    pools = Pools(pump)
    pools.reconfigure(snapshot(pki, SWC))
    before = pools.by_name["swc"]
    pools.reconfigure(snapshot(pki, SWC, trust={"ca": pki.client_root.read_bytes()}))
    other = pools.by_name["swc"]
    assert other is not before
    pair = pki.pairs["turbine-7"]
    shown = {"swc": ServerCertificate(pair.certificate.read_bytes(), pair.key.read_bytes())}
    pools.reconfigure(snapshot(pki, SWC, trust={"ca": pki.client_root.read_bytes()}, shown=shown))
    assert pools.by_name["swc"] is not other


def test_who_leaves_opens_no_more(pump: Pump, pki: Pki) -> None:
    pools = Pools(pump)
    pools.reconfigure(snapshot(pki, SWC))
    assert pools.by_name["swc"].wants_another(0.0)
    pools.cool_down()
    assert not pools.by_name["swc"].wants_another(0.0)
