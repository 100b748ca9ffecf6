"""The usage of a request whose stream was cut short: by the model's tokenizer, marked as estimated.

What was relayed counts, and only that; reasoning that nobody saw cannot be counted, so a reasoning model's numbers are
too low. Runs in the supervisor, in a thread. Nothing in here performs I/O beyond loading a vocabulary.
"""

import re

from proxy.metering.prompt import count_prompt
from proxy.metering.tokenizer import count
from proxy.record.record import Tokens

_BYTES_PER_TOKEN = 4
"""Of text, where none of it was kept."""

_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|(["\\/bfnrt])|u[0-9A-Fa-f]{0,3}\Z|)')
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def settle(
    operation: str, tokenizer: str, prompt_body: bytes, completion: bytes, kept: int, seen: int, fallback_prompt: int
) -> Tokens:
    """Count a request that ended without usage. Raises `tokenizer.UnknownEncoding`.

    `prompt_body`: the request's JSON; where it is empty or says nothing, the prompt has `fallback_prompt` tokens.
    `completion`: what `event.delta_text` gave, joined: the first `kept` of `seen` bytes; the count is scaled to all.
    """
    prompt = (count_prompt(tokenizer, operation, prompt_body) if prompt_body else 0) or fallback_prompt
    written = _completion(tokenizer, completion, kept, seen)
    return Tokens(prompt=prompt, completion=written, total=prompt + written, estimated=True)


def _completion(tokenizer: str, text: bytes, kept: int, seen: int) -> int:
    if kept <= 0 or not text:
        return -(-max(0, seen) // _BYTES_PER_TOKEN)
    counted = count(tokenizer, unescaped(text))
    return counted if seen <= kept else -(-counted * seen // kept)


def unescaped(text: bytes) -> str:
    """The text of JSON string content that may end, or be damaged, anywhere (RFC 8259 section 7).

    An escape that the end cuts is dropped, and so is a backslash that begins none. Halves of a surrogate pair become
    one character; a half alone, and what is not UTF-8, U+FFFD.
    """
    plain = _ESCAPE.sub(_character, text.decode("utf-8", "replace"))
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _character(escape: re.Match[str]) -> str:
    code, short = escape.groups()
    if code:
        return chr(int(code, 16))
    return _SHORT[short] if short else ""
