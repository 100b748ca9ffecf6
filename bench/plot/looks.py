"""Colours, dashes, marks and hatchings, and the style sheet that has them for light, dark and print.

Two that are told apart by colour are told apart by something else as well.
"""

import html
from typing import Literal

import msgspec

Mark = Literal["disc", "square", "diamond", "triangle", "ring", "cross"]

STYLE = """
.plot { --ink: #1a2129; --faint: #5d6876; --rule: #e3e7ec; --axis: #b9c1cb; --band: #f2b84b33; --band-edge: #8a5a00;
  --strip: #0b5cad14; --card: #fff;
  --c1: #0b5cad; --c2: #c2570c; --c3: #15803d; --c4: #8b3fb0; --c5: #5c6779;
  --c6: #0f7f88; --c7: #b3246b; --c8: #856404;
  --bad: #c62f3a; --worse: #7d1128; }
@media (prefers-color-scheme: dark) {
  .plot { --ink: #e6eaef; --faint: #a3aebb; --rule: #2a323c; --axis: #566070; --band: #f2b84b26; --band-edge: #e8bd6a;
    --strip: #6cb3f51f; --card: #1a2027;
    --c1: #6cb3f5; --c2: #f5a05b; --c3: #5fcb92; --c4: #d09be6; --c5: #a3aebb;
    --c6: #56cbd3; --c7: #f48fbd; --c8: #e0c05c;
    --bad: #f2707a; --worse: #ffb3bd; }
}
@media print {
  .plot { --ink: #000; --faint: #444; --rule: #ddd; --axis: #888; --band: #f2b84b33; --band-edge: #7a4d00; --card: #fff;
    --c1: #0b5cad; --c2: #b34e08; --c3: #126c34; --c4: #7a349c; --c5: #4d5766;
    --c6: #0c6b73; --c7: #9c1d5c; --c8: #705402;
    --bad: #b01824; --worse: #5e0b1c; break-inside: avoid; }
  .plot, .plot * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
.plot { margin: 0; min-width: 0; }
.plot figcaption { font-weight: 600; font-size: 0.88rem; line-height: 1.35; margin: 0 0 0.15rem; color: var(--ink); }
.plot figcaption small { font-weight: 400; font-size: 0.8rem; color: var(--faint); }
.plot svg.chart { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; }
.plot text { fill: var(--faint); }
.plot text.name, .plot text.value { fill: var(--ink); font-size: 12px; }
.plot text.value { font-variant-numeric: tabular-nums; }
.plot .rule { stroke: var(--rule); stroke-width: 1; }
.plot .axis { stroke: var(--axis); stroke-width: 1; }
.plot .band { fill: var(--band); }
.plot .edge { stroke: var(--band-edge); stroke-width: 1; stroke-dasharray: 3 3; }
.plot .what { fill: var(--band-edge); }
.plot .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.plot .range { fill: none; stroke: var(--ink); stroke-width: 1.2; }
.plot .strip { fill: transparent; }
.plot .strip:hover { fill: var(--strip); }
.plot .mark:hover { stroke-width: 4; }
.plot .key { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; font-size: 0.78rem; color: var(--ink);
  list-style: none; margin: 0.25rem 0 0; padding: 0; }
.plot .key svg { width: 1.9em; height: 0.8em; margin-right: 0.35em; vertical-align: -0.05em; }
@media (max-width: 40rem) {
  .plot svg.chart, .plot text.name, .plot text.value { font-size: 16.5px; }
}
@media print {
  .plot svg.chart, .plot text.name, .plot text.value { font-size: 15px; }
}
"""
"""What a page with charts puts into its style sheet once."""

PATTERNS = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="hatch-1" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V5" style="stroke:var(--card)" stroke-opacity=".8" stroke-width="2.4"/></pattern>'
    '<pattern id="hatch-2" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
    '<path d="M0 0V5" style="stroke:var(--card)" stroke-opacity=".8" stroke-width="2.4"/></pattern>'
    '<pattern id="hatch-3" width="4" height="4" patternUnits="userSpaceOnUse">'
    '<circle cx="2" cy="2" r="1.1" style="fill:var(--card)"/></pattern>'
    '<pattern id="hatch-4" width="4" height="4" patternUnits="userSpaceOnUse">'
    '<path d="M0 2H4" style="stroke:var(--card)" stroke-opacity=".8" stroke-width="1.6"/></pattern>'
    "</defs></svg>"
)
"""The hatchings, which such a page has once in its body. They are of the page's own `--card` colour."""

_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "9 3 2 3 2 3", "1 4")
_MARKS: tuple[Mark, ...] = ("disc", "square", "diamond", "triangle", "ring", "cross")
_COLOURS = 8


class Look(msgspec.Struct, frozen=True):
    """`colour`: one of `STYLE`'s variables: c1 to c8, bad, worse, faint. `hatch`: 0 for none, to 4."""

    colour: str
    dash: str = ""
    mark: Mark = "disc"
    hatch: int = 0


def look(number: int) -> Look:
    """That of the so many-th of several that stand for equals."""
    return Look(
        colour=f"c{number % _COLOURS + 1}",
        dash=_DASHES[(number + number // _COLOURS) % len(_DASHES)],
        mark=_MARKS[number % len(_MARKS)],
        hatch=number % 5,
    )


def mark(kind: Mark, x: float, y: float, colour: str, said: str = "") -> str:
    """A mark on a chart; `said` is shown to who points at it."""
    title = f"<title>{html.escape(said)}</title>" if said else ""
    paint = f"fill:var(--{colour});stroke:var(--{colour})"
    if kind == "ring":
        paint = f"fill:var(--card);stroke:var(--{colour});stroke-width:1.8"
    if kind == "disc" or kind == "ring":
        return f'<circle class="mark" style="{paint}" cx="{x:.1f}" cy="{y:.1f}" r="3.4">{title}</circle>'
    if kind == "cross":
        paint = f"fill:none;stroke:var(--{colour});stroke-width:2"
    path = {
        "square": "m-3.2 -3.2h6.4v6.4h-6.4z",
        "diamond": "m0 -4.4l4.4 4.4l-4.4 4.4l-4.4 -4.4z",
        "triangle": "m0 -4.4l4.4 7.6h-8.8z",
        "cross": "m-3.4 -3.4l6.8 6.8m0 -6.8l-6.8 6.8",
    }[kind]
    return f'<path class="mark" style="{paint}" d="M{x:.1f} {y:.1f}{path}">{title}</path>'


def key(entries: list[tuple[str, str]]) -> str:
    """A list of names, each with a sample of what is drawn for it."""
    items = "".join(
        f'<li><svg viewBox="0 0 28 12" aria-hidden="true">{sample}</svg>{html.escape(name)}</li>'
        for name, sample in entries
    )
    return f'<ul class="key">{items}</ul>'


def line_sample(look: Look, *, marked: bool = False) -> str:
    dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
    line = f'<path class="line" style="stroke:var(--{look.colour})"{dash} d="M1 6H27"/>'
    return line + (mark(look.mark, 14, 6, look.colour) if marked else "")


def area_sample(look: Look) -> str:
    return area(look, 'x="4" y="0" width="20" height="12" rx="2"')


def area(look: Look, place: str) -> str:
    """A filled rectangle, with its hatching."""
    filled = f'<rect style="fill:var(--{look.colour})" {place}/>'
    return filled + (f'<rect fill="url(#hatch-{look.hatch})" {place}/>' if look.hatch else "")
