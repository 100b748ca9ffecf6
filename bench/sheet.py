"""The page that every report of the bench is: one file of HTML that needs nothing else, and one style sheet. Pure.

Light and dark by the reader's theme; on paper (A4) nothing is cut in two; on a narrow screen, tables scroll by
themselves. All text that is given is escaped here, save what is called `markup`.
"""

import html
from collections.abc import Sequence

from bench.plot import PATTERNS, STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_CSS = """
:root { color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --line: #dfe3e8; --text: #1a2129; --quiet: #55606d; --accent: #0b5cad;
  --good: #136c38; --good-back: #e2f4e8; --bad: #a61b1b; --bad-back: #fde5e3;
  --none-back: #eceff3; }
@media (prefers-color-scheme: dark) {
  :root { --page: #11151a; --card: #1a2027; --line: #2d353f; --text: #e6eaef; --quiet: #a3aebb; --accent: #6cb3f5;
    --good: #74d99a; --good-back: #143122; --bad: #ff9d94; --bad-back: #3d1a19;
    --none-back: #262d36; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 80rem; padding: 1.6rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; letter-spacing: -.015em; }
h2 { margin: 0; font-size: 1.2rem; line-height: 1.3; letter-spacing: -.01em; }
h3 { margin: 1.4rem 0 .4rem; font-size: 1rem; }
p { margin: .25rem 0 .75rem; max-width: 62rem; color: var(--quiet); overflow-wrap: anywhere; }
p strong { color: var(--text); }
a { color: var(--accent); }
a:focus-visible, [tabindex]:focus-visible, summary:focus-visible { outline: 3px solid var(--accent);
  outline-offset: 2px; }
code { font: .88em/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; color: var(--text); }
section { margin: 1.1rem 0 0; padding: 1.1rem 1.25rem 1.2rem; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--card); }
nav { margin: .9rem 0 0; font-size: .88rem; display: flex; flex-wrap: wrap; gap: .3rem 1rem; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0 0; }
.tiles div { padding: .7rem .9rem; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
.tiles dt { color: var(--quiet); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles dd small { font-size: .9rem; font-weight: 400; color: var(--quiet); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0 0; font-size: .9rem; }
.facts dt { color: var(--quiet); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .5rem 0 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
caption { padding: 0 0 .35rem; text-align: left; color: var(--quiet); font-size: .85rem; }
caption span { display: block; max-width: calc(100vw - 3.2rem); }
th, td { padding: .38rem .7rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-size: .93em; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; min-width: 9rem; }
th small { color: var(--quiet); font-weight: 400; font-size: .9em; white-space: nowrap; }
th .about, td small { display: block; color: var(--quiet); font-weight: 400; font-size: .9em; line-height: 1.35; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td i { font-style: normal; font-size: .9em; color: var(--quiet); }
td.q { white-space: nowrap; }
td.us { background: color-mix(in srgb, var(--accent) 7%, transparent); }
tr.head th { padding-top: .9rem; color: var(--accent); font-weight: 650; }
tr.head small { margin-left: .5rem; }
.pill { display: inline-block; padding: 0 .6rem; border-radius: 1rem; font-size: .95em; font-weight: 600;
  white-space: nowrap; background: var(--none-back); color: var(--quiet); }
.pill.good { background: var(--good-back); color: var(--good); }
.pill.bad { background: var(--bad-back); color: var(--bad); }
.pill.open { background: none; box-shadow: inset 0 0 0 1px var(--line); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); gap: 1.2rem 1.8rem;
  margin: .9rem 0 0; align-items: start; }
details { margin: .8rem 0 0; } summary { cursor: pointer; color: var(--accent); font-size: .88rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .7rem 3rem; } section { padding: .9rem .8rem 1rem; border-radius: .5rem; }
  h1 { font-size: 1.35rem; } .tiles { grid-template-columns: 1fr 1fr; gap: .5rem; } .tiles dd { font-size: 1.25rem; }
  .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: .4rem; }
  th, td { padding: .35rem .5rem; } td:not(.n) { min-width: 7rem; }
}
@page { size: A4; margin: 14mm 12mm; }
@media print {
  :root { font-size: 12.5px; color-scheme: light;
    --page: #fff; --card: #fff; --line: #ccc; --text: #000; --quiet: #444; --accent: #0b5cad;
    --good: #126030; --bad: #a01818;
    --good-back: #e2f4e8; --bad-back: #fde5e3; --none-back: #eceff3; }
  body { padding: 0; max-width: none; font-size: 10pt; } nav, summary { display: none; }
  section { padding: 0; border: 0; margin-top: 1.6rem; }
  h1, h2, h3, caption, h2 + p { break-after: avoid; } tr, figure, .tiles { break-inside: avoid; }
  thead { display: table-header-group; }
  .wide { overflow: visible; } table { font-size: 7.4pt; }
  th, td { padding: .2rem .35rem; } td.n i { display: block; } caption span { max-width: none; }
  tbody th { min-width: 0; } .charts { grid-template-columns: 1fr 1fr; gap: .8rem 1rem; }
  .pill { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def document(title: str, markup: str) -> str:
    """A whole page around what is in its body."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_CSS}{STYLE}</style></head><body>{PATTERNS}{markup}</body></html>\n"
    )


def table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """`heads` and `rows` are markup: cells of the head, and whole rows of the body."""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(caption, quote=True)}"><table>'
        f"<caption><span>{html.escape(caption)}</span></caption><thead><tr>{''.join(heads)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def pill(kind: str, said: str) -> str:
    """A short verdict: `good`, `bad`, `open` or, empty, none of these. Its sign and its words tell it as well."""
    sign = {"good": "✓ ", "bad": "✗ ", "open": "? ", "": ""}[kind]
    return f'<span class="pill {kind}">{sign}{html.escape(said)}</span>'
