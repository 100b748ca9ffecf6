"""Charts as SVG, for a page of HTML that needs nothing else. Pure: figures in, markup out.

A chart takes its colours from the page's style sheet (`STYLE` has them for light, dark and print), so that it follows
the reader's theme. What it shows is also said in words, for who does not see it, and values can be read by pointing at
them. Whatever a colour tells, a dash, a hatching, a mark or a name tells as well.

scale    where a value is on an axis: even, logarithmic, or by nines
looks    colours, dashes, marks and hatchings, and the style sheet
chart    lines and stacked bars over time, with bands that say what happened meanwhile
curves   points on a plane with their ranges: growth, percentiles
bars     a row a name, with the range of what was measured
ranges   a row a name: ratios around 1
"""

from bench.plot.bars import Bar, bars
from bench.plot.chart import Band, Chart, Series, lines, stacked
from bench.plot.curves import Curve, Plane, Point, curves
from bench.plot.looks import PATTERNS, STYLE, Look, look
from bench.plot.ranges import Range, ranges
from bench.plot.scale import Even, Logarithmic, Nines, compact, spans_decades, ticks

__all__ = [
    "PATTERNS",
    "STYLE",
    "Band",
    "Bar",
    "Chart",
    "Curve",
    "Even",
    "Logarithmic",
    "Look",
    "Nines",
    "Plane",
    "Point",
    "Range",
    "Series",
    "bars",
    "compact",
    "curves",
    "lines",
    "look",
    "ranges",
    "spans_decades",
    "stacked",
    "ticks",
]
