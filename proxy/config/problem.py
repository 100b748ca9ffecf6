"""What is wrong with a configuration: one problem a line, all of them in one error.

A problem names the key's path, what was found, and what is allowed. What it quotes comes from whoever wrote the file:
a line holds printable characters only, and not many.
"""

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

_PROBLEMS = 100
_LINE = 600
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Problem(NamedTuple):
    """One thing that is wrong. `key` is a path such as `clients[2].grants[0].models`, empty for the file itself."""

    key: str
    found: str
    remedy: str


class ConfigError(Exception):
    """A file that is no valid configuration, with its problems: all of them, or the first hundred."""

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        found = list(islice(problems, _PROBLEMS + 1))
        if len(found) > _PROBLEMS:
            found[_PROBLEMS:] = [Problem("", f"has more problems than these {_PROBLEMS}", "mend these first")]
        self.file = file
        self.problems = found
        super().__init__("\n".join(self.lines()))

    @classmethod
    def of(cls, file: Path, key: str, found: str, remedy: str) -> "ConfigError":
        return cls(file, [Problem(key, found, remedy)])

    def lines(self) -> list[str]:
        """One line a problem: `FILE: KEY: what was found; what to do`."""
        return [
            line(f"{self.file}: {problem.key + ': ' if problem.key else ''}{problem.found}; {problem.remedy}")
            for problem in self.problems
        ]


def within(at: str, name: str) -> str:
    """The path of key `name` in the table at path `at`, as TOML spells it."""
    spelled = name if _BARE.fullmatch(name) else quoted(name)
    return f"{at}.{spelled}" if at else spelled


def quoted(text: str) -> str:
    """Text from the file, in quotes, cut where it is long."""
    shown = text if len(text) <= 60 else text[:60] + "…"
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def one_of(names: Iterable[str]) -> str:
    """What is allowed, where that is a choice among names."""
    known = sorted(names)
    if not known:
        return "define it first"
    return "one of: " + ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")


def line(text: str, most: int = _LINE) -> str:
    """Text from the file as one line of printable characters, cut where it is long."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[: most + 1])
    return clean if len(text) <= most else clean[:most] + "…"
