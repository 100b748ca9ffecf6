"""What is wrong with the backends: names, addresses, and what they are reached and verified with."""

from collections.abc import Iterator
from datetime import datetime

from proxy.config import pem
from proxy.config.address import endpoint, https_fault
from proxy.config.names import named, unique
from proxy.config.problem import Problem, one_of, quoted
from proxy.config.structs import Backend, Config


def problems(config: Config, now: datetime) -> Iterator[Problem]:
    yield from unique("backends", (backend.name for backend in config.backends))
    for index, backend in enumerate(config.backends):
        key = f"backends[{index}]"
        yield from named(f"{key}.name", backend.name)
        yield from named(f"{key}.region", backend.region)
        fault = https_fault(backend.url)
        if fault is not None:
            yield Problem(f"{key}.url", fault, 'give "https://" and a host, and nothing after it')
        if backend.credential not in config.credentials:
            yield Problem(
                f"{key}.credential", f"{quoted(backend.credential)} is not defined", one_of(config.credentials)
            )
        if backend.ca is not None:
            yield from pem.trust(f"{key}.ca", backend.ca, now)
        yield from _connected(key, backend, now)


def _connected(key: str, backend: Backend, now: datetime) -> Iterator[Problem]:
    """Where it is connected to, and what it is shown there."""
    if backend.connect_to is not None:
        try:
            endpoint(backend.connect_to)
        except ValueError:
            yield Problem(
                f"{key}.connect_to",
                quoted(backend.connect_to),
                'give a host and a port: "10.0.0.4:443", "[fd00::4]:443"',
            )
    if backend.client_certificate is not None:
        place = f"{key}.client_certificate"
        yield from pem.shown(place, backend.client_certificate, f"{key}.client_key", backend.client_key, now)
    elif backend.client_key is not None:
        yield Problem(f"{key}.client_key", "set, without client_certificate", "give both, or leave it out")
