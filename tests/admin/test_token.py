"""The admin token is made once, for its owner alone, and a weak or exposed one is refused in words that help."""

import os
import re
from pathlib import Path

import pytest

from proxy.admin.token import TokenError, checked, load_or_make

LONG_ENOUGH = "0123456789abcdef0123456789abcdef"


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_first_start_makes_a_token_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "admin.token"
    old = os.umask(0)
    try:
        token = load_or_make(path)
    finally:
        os.umask(old)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.read_text() == token + "\n"


def test_every_later_start_has_the_same_token(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    assert load_or_make(path) == load_or_make(path)


def test_no_two_gateways_have_the_same_token(tmp_path: Path) -> None:
    assert load_or_make(tmp_path / "one") != load_or_make(tmp_path / "two")


def test_a_token_of_the_owners_making_is_taken_without_its_line_end(tmp_path: Path) -> None:
    assert load_or_make(write(tmp_path / "t", LONG_ENOUGH.encode() + b"\r\n")) == LONG_ENOUGH


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o666])
def test_a_token_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "t", LONG_ENOUGH.encode(), mode)
    with pytest.raises(TokenError, match=f"{mode:04o}.*chmod 600"):
        load_or_make(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "at least 32 characters, it has 0"),
        (b"\n", "at least 32"),
        (b"x" * 31, "it has 31"),
        (b"two words that are long enough together", "one line of visible ASCII"),
        (LONG_ENOUGH.encode() + b"\n" + LONG_ENOUGH.encode(), "one line"),
        ("schlüssel".encode() * 9, "visible ASCII"),
        (b"\x00" * 40, "visible ASCII"),
        (b"x" * 5000, "longer than 4096"),
    ],
)
def test_a_file_that_holds_no_good_token_is_refused_without_showing_it(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(TokenError, match=words) as caught:
        load_or_make(write(tmp_path / "t", content))
    assert str(tmp_path / "t") in str(caught.value)
    for word in content.split():
        assert word.decode("latin-1") not in str(caught.value).replace(str(tmp_path), "")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("directory", "pipe"):
        with pytest.raises(TokenError, match=name):
            load_or_make(tmp_path / name)


def test_a_link_to_nowhere_is_not_followed_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TokenError):
        load_or_make(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("place", ["file/admin.token", "file/state/admin.token"])
def test_a_place_that_cannot_be_is_said(tmp_path: Path, place: str) -> None:
    write(tmp_path / "file", b"")
    with pytest.raises(TokenError, match="Not a directory"):
        load_or_make(tmp_path / place)


def test_a_token_from_the_environment_is_held_to_the_same() -> None:
    assert checked(LONG_ENOUGH, "PENSTOCK_ADMIN") == LONG_ENOUGH
    with pytest.raises(TokenError, match=r"PENSTOCK_ADMIN.*at least 32"):
        checked("short", "PENSTOCK_ADMIN")
