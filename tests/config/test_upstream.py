"""What is wrong with how backends are connected to."""

import pytest

from certs.pki import Pki
from tests.config.conftest import VALID, Judge, changed

REMEDY = '; give "http://", a host and a port: what goes through its tunnel is TLS with the backend'


def upstream(*lines: str) -> str:
    return VALID + "\n".join(["[upstream]", *lines])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (upstream('forward_proxy = "http://proxy.example:3128"'), None),
        (upstream('forward_proxy = "http://[::1]:3128/"', "warm = 0"), None),
        (changed('tier = "provisioned"', 'forward_proxy = "none"'), None),
        (changed('tier = "provisioned"', 'forward_proxy = "http://10.0.0.9:8080"'), None),
        (
            upstream('forward_proxy = "https://proxy.example:3128"'),
            'upstream.forward_proxy: "https://proxy.example:3128" is not http' + REMEDY,
        ),
        (
            upstream('forward_proxy = "http://user:hunter2@proxy.example:3128"'),
            "upstream.forward_proxy: has a user name, a query or a fragment in it" + REMEDY,
        ),
        (upstream('forward_proxy = "none"'), 'upstream.forward_proxy: "none" is no URL' + REMEDY),
        (
            changed('tier = "provisioned"', 'forward_proxy = "socks5://x"'),
            'backends[0].forward_proxy: "socks5://x" is not http' + REMEDY,
        ),
        (upstream("warm = 65"), "upstream.warm: too large a number; give at most 64"),
        (
            upstream('forward_proxy_credential = { file = "user.txt" }'),
            "upstream.forward_proxy_credential: set, without upstream.forward_proxy; leave it out",
        ),
        (
            upstream('forward_proxy = "http://p:1"', 'forward_proxy_credential = { file = "nowhere" }'),
            "upstream.forward_proxy_credential: DIR/nowhere",
        ),
        (
            upstream('forward_proxy = "http://p:1"', 'forward_proxy_credential = { file = "azure.key" }'),
            'upstream.forward_proxy_credential: is no user name and password; put "user:password" there',
        ),
        (upstream('forward_proxy = "http://p:1"', 'forward_proxy_credential = { file = "user.txt" }'), None),
    ],
)
def test_what_is_said(judge: Judge, pki: Pki, text: str, line: str | None) -> None:
    (pki.directory / "user.txt").write_text("user:hunter2\n")
    lines = judge(text)
    assert "hunter2" not in "".join(lines)
    if line is None:
        assert lines == []
    else:
        (found,) = lines
        assert found.startswith(line)
