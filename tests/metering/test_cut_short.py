"""Usage of a stream that ended early: counted from what was relayed, and marked as estimated."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.cut_short import settle, unescaped
from proxy.metering.tokenizer import UnknownEncoding, count
from proxy.record.record import Tokens

BODY = b'{"messages":[{"role":"user","content":"hi"}]}'
PROMPT = 8  # 3 + "user" + "hi" + 3
TEXT = rb"Hello, world!\n\nIt's a \"test\" \u00e9"
TEXT_TOKENS = count("o200k_base", json.loads(b'"' + TEXT + b'"'))


@pytest.mark.parametrize(
    ("body", "text", "kept", "seen", "prompt", "completion"),
    [
        (BODY, TEXT, len(TEXT), len(TEXT), PROMPT, TEXT_TOKENS),
        (BODY, TEXT, len(TEXT), 3 * len(TEXT), PROMPT, 3 * TEXT_TOKENS),
        (BODY, TEXT, len(TEXT), len(TEXT) - 5, PROMPT, TEXT_TOKENS),
        (BODY, b"", 0, 0, PROMPT, 0),
        (BODY, b"", 0, 401, PROMPT, 101),
        (b"", TEXT, len(TEXT), len(TEXT), 77, TEXT_TOKENS),
        (b"not json", b"", 0, 0, 77, 0),
        (b"{}", b"", 0, 0, 77, 0),
    ],
)
def test_counts(body: bytes, text: bytes, kept: int, seen: int, prompt: int, completion: int) -> None:
    tokens = settle("chat.completions", "o200k_base", body, text, kept, seen, 77)
    assert tokens == Tokens(prompt=prompt, completion=completion, total=prompt + completion, estimated=True)


def test_the_models_own_encoding_counts() -> None:
    text = "お誕生日おめでとう".encode()
    for encoding, tokens in (("o200k_base", 8), ("cl100k_base", 9)):
        assert settle("completions", encoding, b"", text, len(text), len(text), 1).completion == tokens
    with pytest.raises(UnknownEncoding):
        settle("completions", "gpt-4o", b"", text, len(text), len(text), 1)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (rb"a\nb\tc\"d\\e\/f\b\f\r", 'a\nb\tc"d\\e/f\b\f\r'),
        (rb"\u00e9\u65E5", "é日"),
        (rb"\ud83d\ude00!", "😀!"),
        (rb"\ud83d", "\ufffd"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ude", "\ufffd"),
        (b"a\\", "a"),
        (b"a\\\\", "a\\"),
        (b"a\\\\\\", "a\\"),
        (rb"a\u", "a"),
        (rb"a\u00e", "a"),
        (rb"a\u00zz", "au00zz"),
        (rb"a\qb", "aqb"),
        ("é".encode()[:1], "\ufffd"),
        (b"a\nb", "a\nb"),
    ],
)
def test_unescaping_bears_a_cut_anywhere(raw: bytes, text: str) -> None:
    assert unescaped(raw) == text


@given(st.text(), st.booleans())
def test_unescaping_undoes_what_json_does(text: str, ascii_only: bool) -> None:
    raw = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()
    assert unescaped(raw) == text
    for end in range(len(raw)):
        cut = unescaped(raw[:end])
        assert text.startswith(cut.rstrip("\ufffd")) or "\ufffd" in text


@given(st.binary())
def test_any_bytes_have_a_count(raw: bytes) -> None:
    tokens = settle("chat.completions", "o200k_base", raw, raw, len(raw), 2 * len(raw), 5)
    assert tokens.total == tokens.prompt + tokens.completion
