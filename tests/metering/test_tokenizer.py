"""Counts are tiktoken's, for any text, in linear time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.tokenizer import DEFAULT, ENCODINGS, SLICE, UnknownEncoding, count, load


def whole(encoding: str, text: str) -> int:
    return len(load(encoding).encode_ordinary(text))


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 8, 9),
        ("<|endoftext|>", 7, 7),  # text that spells a special token is text
        ("x" * 1000, 125, 125),
        ("\x00\x01", 2, 2),
    ],
)
def test_known_counts(text: str, o200k: int, cl100k: int) -> None:
    assert (count("o200k_base", text), count("cl100k_base", text)) == (o200k, cl100k)


def test_several_texts_are_counted_each_for_itself() -> None:
    assert count(DEFAULT) == 0
    assert count(DEFAULT, "hello world", "", "hello world") == 4


@pytest.mark.parametrize("encoding", ["", "gpt-4o", "p50k_base", "../o200k_base"])
def test_an_unknown_encoding_is_named(encoding: str) -> None:
    with pytest.raises(UnknownEncoding, match="o200k_base, cl100k_base") as caught:
        count(encoding, "text")
    assert caught.value.encoding == encoding


@given(st.text())
def test_any_text_has_between_one_token_and_one_a_byte(text: str) -> None:
    for encoding in ENCODINGS:
        assert bool(text) <= count(encoding, text) <= len(text.encode("utf-8", "replace")) * 3


def test_lone_surrogates_count_as_what_a_backend_makes_of_them() -> None:
    assert count(DEFAULT, "a\ud800b") == count(DEFAULT, "a\ufffdb")
    assert count(DEFAULT, "\ud83d\ude00") == count(DEFAULT, "😀")


WORDS = st.sampled_from(
    [
        "word",
        "don't",
        "WE'LL",
        "x",
        "123456",
        "٣٤",
        "Ⅷ",
        "...",
        "//",
        "/\n",
        "\n",
        "\r\n",
        "\t",
        " ",
        "  ",
        "\u00a0",
        "é",
        "日本",
    ]
    + ["e\u0301", "👩\u200d👧", "_", "<|endoftext|>", "\x1c", "\u2028"]
)


@settings(max_examples=40)
@given(st.lists(WORDS, max_size=15), st.lists(WORDS, max_size=6), st.sampled_from(ENCODINGS))
def test_slices_change_no_count_where_words_end(words: list[str], before: list[str], encoding: str) -> None:
    line = "".join(words) + "and so"
    text = "".join(before) + line * (2 * SLICE // len(line) + 1)
    assert len(text) > SLICE
    assert count(encoding, text) == whole(encoding, text)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "unit", ["a", " ", "\n", "7", "!", "/", "日", "👩\u200d", "Aa", "e\u0301", "\x00", "\r\n", " \n"]
)
def test_a_megabyte_of_anything_is_counted_and_slices_cost_next_to_nothing(unit: str, encoding: str) -> None:
    text = unit * ((1 << 20) // len(unit.encode()))
    exact = whole(encoding, unit * 3000) / 3000 * (len(text) / len(unit))
    assert count(encoding, text) == pytest.approx(exact, rel=0.01, abs=2 * len(text) / SLICE)


def test_nothing_counted_stays_behind() -> None:
    count(DEFAULT, "a sentence that someone may have wished to keep private")
    assert load(DEFAULT).cache_len == 0
