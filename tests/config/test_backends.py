"""Where a backend is connected to, and what it is shown there."""

import pytest

from proxy.config.address import dialled, endpoint
from proxy.config.structs import Backend
from tests.config.conftest import Judge, changed

PLACE = 'give a host and a port: "10.0.0.4:443", "[fd00::4]:443"'


def backend(text: str) -> str:
    """The valid file with this in its first backend."""
    return changed('tier = "provisioned"', text)


@pytest.mark.parametrize(
    "text",
    [
        'connect_to = "10.0.0.4:443"',
        'connect_to = "[fd00::4]:8443"',
        'connect_to = "aoai.privatelink.example:443"',
        'client_certificate = "turbine-7.pem"\nclient_key = "turbine-7.key"',
        'client_certificate = "azure.pem"',
    ],
)
def test_nothing_wrong(judge: Judge, text: str) -> None:
    assert judge(backend(text)) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('connect_to = "10.0.0.4"', f'connect_to: "10.0.0.4"; {PLACE}'),
        ('connect_to = "10.0.0.4:0"', f'connect_to: "10.0.0.4:0"; {PLACE}'),
        ('connect_to = "10.0.0.4:65536"', f'connect_to: "10.0.0.4:65536"; {PLACE}'),
        ('connect_to = "fd00::4:443"', f'connect_to: "fd00::4:443"; {PLACE}'),
        ('connect_to = "[10.0.0.4]:443"', f'connect_to: "[10.0.0.4]:443"; {PLACE}'),
        ('connect_to = "https://10.0.0.4:443"', f'connect_to: "https://10.0.0.4:443"; {PLACE}'),
        ('client_key = "turbine-7.key"', "client_key: set, without client_certificate; give both, or leave it out"),
        ('client_certificate = "absent.pem"', "client_certificate: DIR/absent.pem cannot be read (No such file or"),
        (
            'client_certificate = "turbine-7.pem"',
            "client_certificate: DIR/turbine-7.pem holds no private key; give PEM",
        ),
        (
            'client_certificate = "turbine-7.pem"\nclient_key = "billing.key"',
            "client_key: DIR/billing.key is not the key of the first certificate in DIR/turbine-7.pem; give the leaf",
        ),
        (
            'client_certificate = "expired.pem"\nclient_key = "expired.key"',
            "client_certificate: DIR/expired.pem expired on ",
        ),
    ],
)
def test_one_thing_wrong(judge: Judge, text: str, says: str) -> None:
    (line,) = judge(backend(text))
    assert line.startswith(f"backends[0].{says}")


@pytest.mark.parametrize(
    ("url", "connect_to", "place"),
    [
        ("https://aoai.example", None, ("aoai.example", 443)),
        ("https://aoai.example:8443/", None, ("aoai.example", 8443)),
        ("https://aoai.example", "10.0.0.4:8443", ("10.0.0.4", 8443)),
        ("https://aoai.example:8443", "[fd00::4]:443", ("fd00::4", 443)),
    ],
)
def test_where_a_backend_is_dialled(url: str, connect_to: str | None, place: tuple[str, int]) -> None:
    made = Backend(name="b", url=url, region="r", credential="c", connect_to=connect_to)
    assert dialled(made) == place


@pytest.mark.parametrize("text", ["", ":", ":443", "host", "host:", "host: 443", "host:٤٤٣", "[::1:443", "a b:443"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError):
        endpoint(text)
