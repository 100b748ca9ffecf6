"""`python -m bench report`: reads stored runs, and writes the page and the Markdown that is made of them."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.report.earlier import Became, Change, changes, subject
from bench.report.markdown import markdown
from bench.report.page import page
from bench.report.stored import Stored, read
from bench.report.together import lay
from bench.report.words import listed, percent

PAGE, TABLES = "report.html", "report.md"
"""What is written to the folder that is asked for."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`against`: the earlier runs; none: nothing is compared. Without a folder the Markdown is printed."""

    runs: tuple[Path, ...]
    against: tuple[Path, ...] = ()
    folder: Path | None = None
    fail_if_slower: bool = False


def report(options: Options) -> int:
    """Make the report; 1 where something got worse beyond noise and that is to fail. Raises `BenchError`."""
    now = lay(_read(options.runs))
    before = lay(_read(options.against)) if options.against else None
    found = changes(before, now) if before is not None else []
    text = markdown(now, before, found)
    if options.folder is None:
        print(text, end="")
    else:
        _write(options.folder, {PAGE: page(now, before, found), TABLES: text})
    worse = [one for one in subject(found) if one.became is Became.WORSE]
    if before is not None:
        _say(found, worse)
    return 1 if worse and options.fail_if_slower else 0


def _read(paths: Sequence[Path]) -> list[Stored]:
    """Each once: the same run twice would be repeats that were never measured."""
    runs: list[Stored] = []
    for path in paths:
        run = read(path)
        if not run.measured:
            raise BenchError(f"{path}: holds nothing that was measured; run the bench anew")
        if run in runs:
            raise BenchError(f"{path}: is the same run as one before it; name each once")
        runs.append(run)
    return runs


def _write(folder: Path, texts: dict[str, str]) -> None:
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            print(path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written ({error.strerror}); name another folder") from None


def _say(found: Sequence[Change], worse: Sequence[Change]) -> None:
    """What got worse, on stderr, a line each."""
    if not found:
        print("nothing was measured both times that could be compared", file=sys.stderr)
    for one in worse:
        beside = f" beside that of {listed(one.beside)}" if one.beside else ""
        change = percent(one.ratio or 1.0)
        print(f"{one.word}: {one.case.name}, {one.proxy}: {one.figure.title} {change}{beside}", file=sys.stderr)
