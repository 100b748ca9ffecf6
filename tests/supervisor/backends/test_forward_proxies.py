"""Which backend is reached through which proxy, and who is shown the credential."""

from base64 import b64encode
from typing import Any

import pytest

from proxy.config.structs import Backend, Config, Listen, SecretRef, Upstream
from proxy.messages import ForwardProxy
from proxy.supervisor.backends.forward_proxies import forward_proxies

SHOWN = "Basic " + b64encode(b"user:hunter2").decode()


def config(credential: bool = False, forward_proxy: str | None = "http://p:3128", **backend: Any) -> Config:
    ref = SecretRef(env="PROXY_SECRET") if credential else None
    return Config(
        listen=Listen(certificate="c"),
        backends=(Backend(name="swc", url="https://swc.example", region="r", credential="c", **backend),),
        upstream=Upstream(forward_proxy=forward_proxy, forward_proxy_credential=ref),
    )


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (config(forward_proxy=None), {}),
        (config(), {"swc": ForwardProxy("p", 3128)}),
        (config(forward_proxy="http://[::1]"), {"swc": ForwardProxy("::1", 80)}),
        (config(credential=True), {"swc": ForwardProxy("p", 3128, SHOWN)}),
    ],
)
def test_one_for_all(monkeypatch: pytest.MonkeyPatch, made: Config, found: dict[str, ForwardProxy]) -> None:
    monkeypatch.setenv("PROXY_SECRET", "user:hunter2")
    assert forward_proxies(made) == found


@pytest.mark.parametrize(("own", "found"), [("none", {}), ("http://q:1", {"swc": ForwardProxy("q", 1)})])
def test_one_of_its_own_or_none_and_no_other_is_shown_the_credential(
    monkeypatch: pytest.MonkeyPatch, own: str, found: dict[str, ForwardProxy]
) -> None:
    monkeypatch.setenv("PROXY_SECRET", "user:hunter2")
    made = config(credential=True)
    backend = Backend(name="swc", url="https://swc.example", region="r", credential="c", forward_proxy=own)
    assert forward_proxies(Config(listen=made.listen, backends=(backend,), upstream=made.upstream)) == found


def test_a_secret_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXY_SECRET", raising=False)
    with pytest.raises(OSError, match="forward_proxy_credential: the environment variable PROXY_SECRET is not set"):
        forward_proxies(config(credential=True))
