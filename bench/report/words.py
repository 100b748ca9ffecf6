"""Numbers as people read them, and foreign text made fit to be shown. Pure."""

from collections.abc import Sequence

_LONGEST = 600  # letters of one text


def clean(text: str) -> str:
    """In one line, without what a terminal or a browser would obey, and not endless. Not escaped."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def number(value: float) -> str:
    """Three digits or all that are before the point, thousands apart: 0.0312, 1.65, 17.5, 475, 16,266; whole: 4."""
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    if size >= 99.95 or value % 1 == 0:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}" if size >= 1e-4 else "0"


def percent(ratio: float) -> str:
    """A ratio as a change: +12 %, −5.1 %, and as a multiple where it is one."""
    if ratio >= 3:
        return f"× {number(ratio)}"
    change = (ratio - 1) * 100
    size = f"{abs(change):.0f}" if abs(change) >= 9.95 else f"{abs(change):.1f}"
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{size} %"


def listed(names: Sequence[str]) -> str:
    """In a sentence: a, b and c."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def capital(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def times(ratio: float) -> str:
    """A ratio as such: 0.52×, 3.18×, 26.9×."""
    if 0.0995 <= ratio < 9.995:
        return f"{ratio:.2f}×"
    return f"{number(ratio)}×" if ratio >= 1 else f"{ratio:.2g}×"
