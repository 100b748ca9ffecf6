"""Counting tokens as the models do, for what no backend has counted.

The vocabularies are inside an installed package: nothing is downloaded, and loading one is the only I/O here. Counts
are those of OpenAI's tiktoken (`encode_ordinary`: the text of a special token is text). Meant for a thread: the
interpreter's lock is held for one slice at a time, about a millisecond at worst, so that others run in between.
"""

import re
from collections.abc import Iterator
from functools import cache

from splintr import AnyTokenizer, Tokenizer

ENCODINGS = ("o200k_base", "cl100k_base")
DEFAULT = "o200k_base"
"""The encoding of a model that names none: all since GPT-4o."""

SLICE = 4096
"""Characters a slice. Its cost is 30 to 250 µs for text, and near 1 ms for rows of emoji, the worst found."""

_LOOK_BACK = 256
_BOUNDARY = re.compile(r"\S(?=[ \t\u00a0\u3000])|[^\W_](?=\s)")
"""Where both encodings' patterns always end a piece: before a blank, and before any white space after a letter or
number. Text cut there has the same tokens, since the patterns never look back."""

_WARM = "Aé日b Ελλ абв “x” 🙂"
"""Words with letters beyond ASCII in them: what the tokenizer builds at the first (0.1 s) is built on loading."""


class UnknownEncoding(ValueError):
    """`encoding` is none of `ENCODINGS`."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"unknown tokenizer {encoding!r}: use one of {', '.join(ENCODINGS)}")
        self.encoding = encoding


@cache
def load(encoding: str) -> AnyTokenizer:
    """Load a vocabulary, once: about 0.15 s and 30 MB each. Raises `UnknownEncoding`."""
    if encoding not in ENCODINGS:
        raise UnknownEncoding(encoding)
    tokenizer = Tokenizer.from_pretrained(encoding)
    tokenizer.encode_ordinary(_WARM)
    return tokenizer


def count(encoding: str, *texts: str) -> int:
    """The tokens of `texts`, each counted for itself. Linear in their length. Raises `UnknownEncoding`.

    Exact while there is a boundary between words in every `_LOOK_BACK` characters; else each slice can be one or two
    tokens off. What was counted does not stay in the tokenizer's cache.
    """
    tokenizer = load(encoding)
    try:
        return sum(len(tokenizer.encode_ordinary(part)) for text in texts for part in _slices(_encodable(text)))
    finally:
        tokenizer.clear_cache()


def _encodable(text: str) -> str:
    """Lone surrogates, which JSON can spell and UTF-8 cannot, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _slices(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > SLICE:
        end = start + SLICE
        boundary = _BOUNDARY.search(text, end - _LOOK_BACK, end)
        if boundary is not None:
            end = boundary.end()
        yield text[start:end]
        start = end
    yield text[start:]
