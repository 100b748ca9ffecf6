"""The picture that a chart is drawn in: its axes, and the figure around it."""

import html
from collections.abc import Sequence

from bench.plot.scale import Scale

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 36, 32
_BRIEF = 2  # letters of a unit that has room beside a value
_LABEL = 44.0  # of breadth that the name of a place on the horizontal axis takes at the most


class Frame:
    """Where values are in a picture with these axes. `along` names the horizontal one, `unit` the vertical one."""

    def __init__(self, across: Scale, up: Scale, *, along: str, unit: str) -> None:
        self._across = across
        self._up = up
        self._along = along
        self._unit = unit

    def x(self, value: float) -> float:
        return LEFT + self._across.share(value) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - self._up.share(value) * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> str:
        found = [f'<text x="2" y="11">{html.escape(self._unit)}</text>']
        for value in self._up.ticks:
            at = self.y(value)
            found.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            found.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{self._up.name(value)}</text>')
        floor = HEIGHT - BOTTOM
        found.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
        brief = len(self._along) <= _BRIEF
        free = 0.0
        for value in self._across.ticks:
            at = self.x(value)
            if at >= free:
                name = self._across.name(value)
                if brief and value == self._across.ticks[-1]:
                    name += f" {html.escape(self._along)}"
                anchor = "end" if at > WIDTH - RIGHT - 8 else "middle"
                edge = min(WIDTH - 2.0, at + 12) if anchor == "end" else at
                found.append(f'<text x="{edge:.1f}" y="{floor + 15}" text-anchor="{anchor}">{name}</text>')
                free = at + _LABEL
        if not brief:
            place = f'x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end"'
            found.append(f"<text {place}>{html.escape(self._along)}</text>")
        return "".join(found)


def figure(title: str, words: str, drawn: str, key: str = "", *, unit: str = "", height: float = HEIGHT) -> str:
    """A picture with its caption and its key; `words` say what it shows to who does not see it."""
    small = f" <small>{html.escape(unit)}</small>" if unit else ""
    return (
        f'<figure class="plot"><figcaption>{html.escape(title)}{small}</figcaption>'
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{html.escape(words, quote=True)}">'
        f"{drawn}</svg>{key}</figure>"
    )


def span(values: Sequence[float | None]) -> str:
    """From which to which value they are, in words."""
    known = [value for value in values if value is not None]
    return f"from {min(known):.3g} to {max(known):.3g}" if known else "no values"
