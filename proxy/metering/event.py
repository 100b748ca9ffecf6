"""What the relay looks for in the events of a stream, while they pass, without a copy and mostly without decoding.

All of it reads a range of the relay's own buffer. Everything rests on one fact of JSON (RFC 8259 section 7): a quote
inside a string is escaped, so `"name":"` can only be a member. Nothing in here performs I/O.

`delta_text` is for counting tokens of streams that are cut short, not for display: texts of several members of one
range come by member, not in order. A backend that pads its JSON with blanks does so everywhere or nowhere in a range.
"""

import re

_TEXT_MEMBERS: dict[str, tuple[str, ...]] = {
    "chat.completions": ("content", "arguments", "refusal"),
    "completions": ("text",),
    "responses": ("delta",),
    "audio.transcriptions": ("delta",),
    "audio.translations": ("delta",),
}
"""The members that hold what the model wrote. On the Responses surface, `delta` of every `….delta` event."""

_COMPACT = {
    operation: tuple((key, len(key)) for key in (f'"{name}":"'.encode() for name in names))
    for operation, names in _TEXT_MEMBERS.items()
}
_PADDED = {
    operation: re.compile(rb'"(?:%b)"[ \t\r\n]*:[ \t\r\n]*"((?:[^"\\]|\\.)*)' % "|".join(names).encode(), re.DOTALL)
    for operation, names in _TEXT_MEMBERS.items()
}
_ONE_TEXT = {
    "chat.completions": (b'"delta":', b'{"content":"', ord("}")),
    "completions": (b'"text":', b'"', None),
    "responses": (b'"delta":', b'"', None),
    "audio.transcriptions": (b'"delta":', b'"', None),
    "audio.translations": (b'"delta":', b'"', None),
}
"""What nearly every event looks like: the member that all text is in, what opens the text there, what closes it."""

_BACKSLASH = ord("\\")
_USAGE_OBJECT = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=\{)")


def delta_text(operation: str, buf: bytearray, start: int, end: int) -> bytes:
    """What the model wrote in the whole events in `buf[start:end]`, as JSON string content: still escaped.

    An event cut off by `end` gives what there is of it. The first half is for speed alone: a range of one event with
    one plain text, found from behind, since `rfind` costs half of `find` on a few hundred bytes.
    """
    one = _ONE_TEXT.get(operation)
    if one is None:
        return b""
    member, opening, closing = one
    at = buf.rfind(member, start, end)
    first = at + len(member)
    if at >= 0 and buf.startswith(opening, first, end):
        first += len(opening)
        last = buf.find(b'"', first, end)
        if (
            0 <= last < end - 1
            and buf[last - 1] != _BACKSLASH
            and (closing is None or buf[last + 1] == closing)
            and buf.rfind(member, start, at) < 0
        ):
            return bytes(buf[first:last])
    return _delta_texts(operation, buf, start, end)


def _delta_texts(operation: str, buf: bytearray, start: int, end: int) -> bytes:
    """`delta_text` for anything: several events, escapes, tool calls, padded JSON, no text at all."""
    find = buf.find
    text = bytearray()
    compact = False
    for key, length in _COMPACT[operation]:
        at = find(key, start, end)
        while at >= 0:
            compact = True
            first = at + length
            last = _closing_quote(buf, first, end)
            text += buf[first:last]
            at = find(key, last, end)
    if not compact and (_ONE_TEXT[operation][0] != b'"delta":' or find(b'"delta"', start, end) >= 0):
        return b"".join(_PADDED[operation].findall(buf, start, end))
    return bytes(text)


def _closing_quote(buf: bytearray, first: int, end: int) -> int:
    """The end of the string that starts at `first`: a quote after an odd number of backslashes is text."""
    last = buf.find(b'"', first, end)
    while last >= 0:
        before = last
        while before > first and buf[before - 1] == _BACKSLASH:
            before -= 1
        if (last - before) % 2 == 0:
            return last
        last = buf.find(b'"', last + 1, end)
    return end


def has_usage(buf: bytearray, start: int, end: int) -> int:
    """Where the last member `usage` that is an object begins (its `{`), or -1. Whose usage it is, decoding must say."""
    at = buf.rfind(b'"usage"', start, end)
    while at >= 0:
        if buf[at + 7 : at + 9] != b":n":
            found = _USAGE_OBJECT.match(buf, at + 7, end)
            if found is not None:
                return found.end()
        at = buf.rfind(b'"usage"', start, at)
    return -1
