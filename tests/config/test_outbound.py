"""Events go out over TLS, or nowhere further than this machine; an address that may hold a secret is never shown."""

import pytest

from tests.config.conftest import Judge, changed


def line(extra: str) -> str:
    return changed('user = "none"', f'user = "none"\n{extra}')


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/a?sig=b",
        "https://hooks.example:8443",
        "http://127.0.0.1:9000/hook",
        "http://[::1]:9000/",
        "http://localhost",
        "https://192.0.2.1/",
    ],
)
def test_addresses_that_are_safe(judge: Judge, url: str) -> None:
    assert judge(line(f'webhook = "{url}"')) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/hunter2",
        "http://192.0.2.1/hunter2",
        "http://127.0.0.1.hunter2.example/",
        "https://user:hunter2@hooks.example/",
        "https://hooks.example/#hunter2",
        "https://hooks.example:0/hunter2",
        "https://hooks.example/a hunter2",
        "ftp://hooks.example/hunter2",
        "https:///hunter2",
        "hunter2",
        "https://[hunter2/",
        "",
    ],
)
@pytest.mark.parametrize("key", ["webhook", "otlp"])
def test_addresses_that_are_not(judge: Judge, key: str, url: str) -> None:
    (problem,) = judge(line(f'{key} = "{url}"'))
    assert problem.startswith(f"audit.{key}: is no address that this may be sent to; ")
    assert "hunter2" not in problem


def test_a_token_is_there_and_has_a_use(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "hunter2")
    token = 'webhook_token = { env = "HOOK" }'
    assert judge(line(f'webhook = "https://hooks.example"\n{token}')) == []
    assert judge(line(token)) == ["audit.webhook_token: set, without audit.webhook; leave it out"]
    monkeypatch.delenv("HOOK")
    (problem,) = judge(line(f'webhook = "https://hooks.example"\n{token}'))
    assert problem.startswith("audit.webhook_token: the environment variable HOOK is not set or empty")
