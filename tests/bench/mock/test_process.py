"""The mock as a program: it says where it is, shares ports where it is told to, and ends when it is told to."""

import signal
from pathlib import Path

import msgspec
import pytest

from bench.mock.config import Deployment, Instance, MockConfig, dump
from bench.mock.engine import Engine
from bench.mock.main import run
from bench.mock.process import MockFailed, mock_process
from certs.pki import Pki
from tests.bench.mock.raw import CHAT, MESSAGES, Client, request
from tests.e2e.gateway import free_port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(config: MockConfig, number: signal.Signals) -> None:
    with mock_process(config) as mock:
        assert set(mock.urls) == {"swc", "frc"}
        assert mock.control.stats()["events"] == 0
        mock.process.send_signal(number)
        assert mock.process.wait(10) == 0


def test_the_context_ends_it_whatever_happens(config: MockConfig) -> None:
    with pytest.raises(KeyError), mock_process(config) as mock:
        raise KeyError
    assert mock.process.returncode == 0


def test_a_configuration_may_be_a_file(tmp_path: Path, config: MockConfig) -> None:
    path = tmp_path / "mock.toml"
    path.write_text(dump(config))
    with mock_process(path) as mock:
        assert mock.stats()["received"] == 0


def test_what_cannot_start_says_so(tmp_path: Path, config: MockConfig, capfd: pytest.CaptureFixture[str]) -> None:
    broken = msgspec.structs.replace(config, certificate=str(tmp_path / "missing.pem"))
    with pytest.raises(MockFailed, match="ended before it was ready, with 1"), mock_process(broken):
        pass
    assert "missing.pem" in capfd.readouterr().err
    assert run(str(tmp_path / "missing.toml")) == 1
    message = capfd.readouterr().err
    assert "missing.toml: cannot be read" in message
    assert message.count("\n") == 1


def test_instances_that_name_one_port_are_told_apart_by_host(pki: Pki, config: MockConfig) -> None:
    address = f"127.0.0.1:{free_port()}"
    instances = tuple(
        Instance(name=name, address=address, region=region, api_key="k", deployments=(Deployment(name="gpt-4o"),))
        for name, region in (("swc", "Sweden Central"), ("frc", "France Central"))
    )
    with mock_process(msgspec.structs.replace(config, instances=instances)) as mock:
        port = address.rpartition(":")[2]
        assert mock.urls == {"swc": f"https://localhost:{port}", "frc": f"https://frc.localhost:{port}"}
        with Client(mock.urls["swc"], pki.server_root) as client:
            for host, region in (("frc.localhost", "France Central"), ("swc.localhost:1", "Sweden Central")):
                data = request(CHAT.format("gpt-4o"), {"messages": MESSAGES}, api_key="k", host=host)
                assert client.ask(data).headers["x-ms-region"] == region


def test_timers_come_in_order_and_never_early() -> None:
    engine = Engine()
    called: list[tuple[str, bool]] = []

    def call(name: str, when: float) -> None:
        engine.at(when, lambda: called.append((name, engine.now >= when)))

    began = engine.now
    call("third", began + 0.02)
    call("second", began + 0.01)
    call("at once", began)
    engine.at(began + 0.03, engine.stop)
    engine.run()
    assert called == [("at once", True), ("second", True), ("third", True)]
