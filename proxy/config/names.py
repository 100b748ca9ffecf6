"""Names, and secrets by name: what is wrong with them, whatever they are of."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from proxy.config.problem import Problem, quoted
from proxy.config.secrets import SecretMissing, resolve
from proxy.config.shape import REFERENCE
from proxy.config.structs import SecretRef

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@ -]{0,127}")


def named(key: str, name: str) -> Iterator[Problem]:
    """Names go into logs, metrics and URLs."""
    if not _NAME.fullmatch(name):
        yield Problem(key, quoted(name), "use letters, digits and . _ : @ - (at most 128, a letter or digit first)")


def unique(key: str, names: Iterable[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(key, f"{quoted(name)} is there {count} times", "give each its own name")


def secret(key: str, ref: SecretRef) -> Iterator[Problem]:
    try:
        resolve(ref)
    except SecretMissing as error:
        yield Problem(key, str(error), f"give {REFERENCE}, with the secret there")
