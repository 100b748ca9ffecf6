"""Those who ask, from a file; mistakes name file and key."""

from pathlib import Path

import pytest

from bench.failure import BenchError
from bench.load.job import Identity
from bench.load.roster import identities


def test_toml_with_paths_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "who.toml"
    path.write_text(
        '[[identities]]\nclient = "a"\ncertificate = "a.pem"\nprivate_key = "a.key"\nweight = 2\n'
        '[[identities]]\nclient = "b"\napi_key = "k"\n'
    )
    assert identities(path) == (
        Identity(client="a", certificate=f"{tmp_path}/a.pem", private_key=f"{tmp_path}/a.key", weight=2.0),
        Identity(client="b", api_key="k"),
    )


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "who.json"
    path.write_text('{"identities": [{"client": "a", "token": "t"}]}')
    assert identities(path) == (Identity(client="a", token="t"),)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.toml", "identities = 5", "identities"),
        ("w.toml", "identities = []", "identities: none"),
        ("w.toml", "[[identities]]\nkey = 'x'", r"identities\[0\].key: unknown key; allowed: client"),
        ("w.toml", "[[identities]]\nweight = 'x'", r"identities\[0\]"),
        ("w.toml", "[[", "is not valid TOML"),
        ("w.json", "{", "is not valid JSON"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BenchError, match=said) as caught:
        identities(path)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(BenchError, match="cannot be read"):
        identities(tmp_path / "none")
