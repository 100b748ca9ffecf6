"""A line of the log: one line, bounded, and nothing raw in it."""

import logging
import re
from collections.abc import Iterator

import pytest

from proxy import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What the test configures is undone after it."""
    root, own = logging.getLogger(), logging.getLogger("penstock")
    before = (root.handlers[:], root.level, own.level)
    yield
    root.handlers[:], level, own_level = before
    root.setLevel(level)
    own.setLevel(own_level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_line_has_time_level_name_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("penstock.workers").warning("worker %d ended", 3)
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING penstock\.workers worker 3 ended", line)


@pytest.mark.parametrize(
    ("untrusted", "shown"),
    [
        ("a\nERROR forged", r"a\nERROR forged"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\0b", r"a\x00b"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\u2028line", r"\u2028line"),
        ("grün", "grün"),
    ],
)
def test_what_is_not_printable_is_escaped(capsys: pytest.CaptureFixture[str], untrusted: str, shown: str) -> None:
    logs.configure()
    logging.getLogger("penstock.x").error("name: %s", untrusted)
    (line,) = lines(capsys)
    assert line.endswith(f"name: {shown}")


def test_a_line_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("penstock.x").error("%s", "x" * 100_000)
    (line,) = lines(capsys)
    assert len(line) <= 2001
    assert line.endswith("x…")


def test_a_traceback_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        logging.getLogger("penstock.x").exception("failed")
    (line,) = lines(capsys)
    assert r"failed\nTraceback" in line
    assert r"first\nsecond" in line


def test_others_are_quiet_below_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("httpx").info("a request")
    logging.getLogger("penstock.x").info("ours")
    logging.getLogger("penstock.x").debug("too much")
    logging.getLogger("httpx").warning("theirs")
    assert [line.rpartition(" ")[2] for line in lines(capsys)] == ["ours", "theirs"]


def test_configuring_twice_does_not_say_things_twice(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.configure()
    logging.getLogger("penstock.x").info("once")
    assert len(lines(capsys)) == 1
