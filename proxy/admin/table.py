"""Tables of the status page, accessible and safe: a caption, header cells with scope, every text escaped here.

A column is a title and a function of a row to what its cell shows: text, or lines that may carry a tone or a share.
On a narrow screen each row is laid out as a card, with the titles beside the values; the roles keep it a table.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from html import escape
from typing import Generic, NamedTuple, TypeVar

Row = TypeVar("Row")


class Tone(Enum):
    """What a text's colour says; the text says it too."""

    PLAIN = ""
    QUIET = "quiet"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class Line(NamedTuple):
    """`share`, between 0 and 1, is drawn as a bar under the text."""

    text: str
    tone: Tone = Tone.PLAIN
    share: float | None = None


class Badge(NamedTuple):
    """A state, in a word."""

    text: str
    tone: Tone


Cell = str | Badge | Sequence[Line | Badge]


class Column(NamedTuple, Generic[Row]):
    """`number`: its cells are aligned to the right."""

    title: str
    cell: Callable[[Row], Cell]
    number: bool = False


def table(caption: str, columns: Sequence[Column[Row]], rows: Sequence[Row], empty: str) -> str:
    """HTML for the rows, with the first column naming each; `empty` is said where there are none."""
    head = "".join(
        f'<th scope="col" role="columnheader"{_classes(column)}>{escape(column.title)}</th>' for column in columns
    )
    body = "".join(f'<tr role="row">{_cells(columns, row)}</tr>' for row in rows)
    none = "" if rows else f'<p class="none">{escape(empty)}</p>'
    return (
        f'<section><table role="table"><caption>{escape(caption)}</caption><thead role="rowgroup">'
        f'<tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table>{none}</section>'
    )


def _cells(columns: Sequence[Column[Row]], row: Row) -> str:
    cells = []
    for index, column in enumerate(columns):
        tag, attributes = ("td", 'role="cell"') if index else ("th", 'scope="row" role="rowheader"')
        label = escape(column.title)
        content = _content(column.cell(row))
        cells.append(f'<{tag} {attributes} data-label="{label}"{_classes(column)}><div>{content}</div></{tag}>')
    return "".join(cells)


def _classes(column: Column[Row]) -> str:
    return ' class="number"' if column.number else ""


def _content(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    if isinstance(cell, Badge):
        return _badge(cell)
    return "".join(_badge(line) if isinstance(line, Badge) else _line(line) for line in cell)


def _badge(badge: Badge) -> str:
    return f'<span class="badge {badge.tone.value}">{escape(badge.text)}</span>'


def _line(line: Line) -> str:
    text = escape(line.text)
    bar = "" if line.share is None else f'<meter min="0" max="1" high="0.8" value="{line.share:.3f}">{text}</meter>'
    return f'<span class="{line.tone.value}">{text}</span>{bar}'
