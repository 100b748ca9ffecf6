"""What is wrong with the backends: names, addresses, and what they are reached and verified with."""

from collections.abc import Iterator
from datetime import datetime

from proxy.config import pem
from proxy.config.address import https_fault
from proxy.config.names import named, unique
from proxy.config.problem import Problem, one_of, quoted
from proxy.config.structs import Config


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
