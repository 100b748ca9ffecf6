"""The pure folders are pure: what decides neither reads a clock nor touches a socket."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROXY = Path(__file__).parent.parent / "proxy"
PURE = [
    *(PROXY / "identity").glob("*.py"),
    *(PROXY / "policy").glob("*.py"),
    *(PROXY / "routing").glob("*.py"),
    *(PROXY / "metering").glob("*.py"),
    *(PROXY / "stored").glob("*.py"),
    *(PROXY / "wire" / name for name in ("chunks.py", "body.py", "http1.py")),
    *(PROXY / name for name in ("answer.py", "refusal.py", "trace.py")),
]
IMPURE = frozenset(("trio", "ssl", "socket", "select", "asyncio", "time", "random", "secrets", "os", "subprocess"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", PURE, ids=[str(path.relative_to(PROXY)) for path in PURE])
def test_pure_modules_import_no_io(path: Path) -> None:
    assert IMPURE.isdisjoint(imported(path))


def test_the_engine_knows_no_policy() -> None:
    for path in (PROXY / "wire").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not node.module.startswith(("proxy.policy", "proxy.routing", "proxy.metering")), path.name
