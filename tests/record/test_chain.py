"""No byte of a sealed record or a checkpoint can be changed unseen, and no key stands in for another."""

from pathlib import Path

import pytest

from proxy.record.chain import BEGINNING, ChainKey, Checkpoint, CheckpointFile

KEY = ChainKey("the key of these tests, long enough")
OTHER = ChainKey("another key, which is as long as that")
LINE = b'{"seq":1,"request_id":"a","end":"complete"}'
CHECKPOINT = Checkpoint(1, 7, "a" * 64, "2026-01-01T00:00:00.000Z")


def test_a_sealed_line_says_what_it_was_sealed_with() -> None:
    line, hashed = KEY.seal(LINE, BEGINNING)
    assert line == LINE[:-1] + f',"prev":"{BEGINNING}","hash":"{hashed}"}}'.encode()
    assert KEY.read(line) == (BEGINNING, hashed, True)


def test_any_byte_of_a_sealed_line_counts() -> None:
    line, _ = KEY.seal(LINE, BEGINNING)
    for at in range(len(line)):
        for bit in (1, 4, 32):
            changed = line[:at] + bytes((line[at] ^ bit,)) + line[at + 1 :]
            seal = KEY.read(changed)
            assert seal is None or not seal.fits, at
        for other in (line[:at], line[at + 1 :], line[:at] + b"0" + line[at:]):
            seal = KEY.read(other)
            assert seal is None or not seal.fits, at


def test_another_key_does_not_fit() -> None:
    line, _ = KEY.seal(LINE, BEGINNING)
    seal = OTHER.read(line)
    assert seal is not None
    assert not seal.fits
    assert OTHER.verified(KEY.sign(CHECKPOINT)) is None


def test_any_byte_of_a_checkpoint_counts() -> None:
    data = KEY.sign(CHECKPOINT)
    assert len(data) == 512
    assert KEY.verified(data) == CHECKPOINT
    for at in range(len(data)):
        assert KEY.verified(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]) is None, at
        assert KEY.verified(data[:at]) is None


def test_uses_have_keys_of_their_own_and_none_is_shown() -> None:
    assert KEY.derived("users") != KEY.derived("records")
    assert "key of these" not in repr(KEY)


def test_a_checkpoint_is_replaced_in_place_and_told_from_none(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    assert file.read(KEY) == (False, None)
    file.write(KEY.sign(CHECKPOINT))
    before = file.path.stat().st_ino
    later = Checkpoint(1, 8, "b" * 64, "2026-01-01T00:00:01.000Z")
    file.write(KEY.sign(later))
    assert file.read(KEY) == (True, later)
    assert file.path.stat().st_ino == before
    assert file.read(OTHER) == (True, None)


def test_a_checkpoint_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        CheckpointFile(tmp_path / "checkpoint").write(KEY.sign(CHECKPOINT))
