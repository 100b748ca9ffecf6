"""Secrets by reference: found, or a reason why not that says where and never what."""

from pathlib import Path

import pytest

from proxy.config.secrets import Secret, SecretMissing, resolve
from proxy.config.structs import SecretRef


def test_from_the_environment_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TEST_SECRET", " hunter2\n")
    (tmp_path / "secret").write_text("hunter3\n")
    assert resolve(SecretRef(env="PENSTOCK_TEST_SECRET")).reveal() == "hunter2"
    assert resolve(SecretRef(file=str(tmp_path / "secret"))).reveal() == "hunter3"


def test_a_secret_is_never_shown() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        (SecretRef(), "exactly one of env and file"),
        (SecretRef(env="A", file="b"), "exactly one of env and file"),
        (SecretRef(env="PENSTOCK_TEST_SECRET"), "the environment variable PENSTOCK_TEST_SECRET is not set"),
        (SecretRef(env="a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3"), "the environment variable it names is not set"),
        (SecretRef(file="absent"), r"absent cannot be read \(No such file or directory\)"),
        (SecretRef(file="/dev/null"), "/dev/null is not set or empty"),
        (SecretRef(file="a\0b"), "is not a file's name"),
    ],
)
def test_a_reference_that_leads_nowhere(ref: SecretRef, says: str) -> None:
    with pytest.raises(SecretMissing, match=says):
        resolve(ref)


@pytest.mark.parametrize("content", [b"two\nlines", b"\xff\xfe", "schlüssel".encode(), b"nul\0", b"x" * 70_000])
def test_what_fits_no_header_is_no_secret(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SecretMissing) as caught:
        resolve(SecretRef(file=str(tmp_path / "secret")))
    assert content.decode("latin-1") not in str(caught.value)
