"""The page and the Markdown: all that is in a run, nothing that a run could do to its reader."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.__main__ import main
from bench.failure import BenchError
from bench.report.earlier import changes
from bench.report.markdown import code, escaped, markdown
from bench.report.page import page
from bench.report.stored import Band, Machine, Measured, Proxy, Second, Stored, write
from bench.report.together import lay
from tests.admin import browser
from tests.bench.report.sample import comparison, played, verdict

_VOID = {"meta", "link", "br"}
_ALONE = {"path", "rect", "line", "circle"}


class Document(HTMLParser):
    """Elements as they are, and whether each is closed by its own end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _ALONE
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_comparison_is_shown_in_full() -> None:
    now, before = lay([comparison(seed=1, factor=1.3)]), lay([comparison(seed=2, speed=1.5)])
    shown = Document(page(now, before, changes(before, now)))
    said = " ".join(shown.text)
    for word in (
        "5 ",
        "of 6",
        "missed",
        "not yet",
        "slower",
        "AMD EPYC 9254",
        "1.22.1",
        "client certificates",
        "growth",
    ):
        assert word in said
    pictures = [one for one in shown.of("svg") if one.get("role") == "img"]
    assert len(pictures) > 8
    assert all(one["aria-label"] for one in pictures)
    assert len(shown.of("caption")) == len(shown.of("table")) >= 4
    assert all("scope" in one for one in shown.of("th"))
    ids = [one["id"] for _, one in shown.tags if "id" in one]
    assert len(ids) == len(set(ids))
    assert {one["href"] for one in shown.of("a")} <= {f"#{name}" for name in ids}


def test_a_run_second_by_second_has_its_faults_marked() -> None:
    shown = Document(page(lay([played()])))
    assert "Requests by what became of them" in shown.text
    assert shown.text.count("swc: hangs") >= 8
    titles = [text for text in shown.text if text.startswith("20 s\n")]
    assert any("p99: " in title for title in titles)


def test_where_others_had_the_machine_is_said() -> None:
    run = comparison(repeats=1)
    (first, *others) = run.measured
    noisy = msgspec.structs.replace(first, figures=first.figures | {"share_of_others": 0.4})
    text = page(lay([msgspec.structs.replace(run, measured=(noisy, *others))]))
    assert "events, 400 streams, penstock: 40 %." in text
    assert "noisy" not in page(lay([run]))


def test_half_an_hour_is_thinned_and_says_so() -> None:
    text = page(lay([played(duration=1800)]))
    assert "highest of each 8 s" in text
    assert len(text) < 1_000_000


def test_nothing_is_fetched() -> None:
    text = page(lay([comparison(repeats=1), played()]))
    assert not re.search(r"https?://|url\((?!#)|@import|<script|<img|<iframe", text)
    assert "default-src 'none'" in text


HOSTILE = "</title><script>alert(1)</script>\" onload='x' | `b` [l](javascript:x) \x1b[31m\n# h"


def hostile(text: str, number: float = 1.0, at: int = 3) -> Stored:
    second = Second(at=at, asked=at, ttft_p99=number, more={text: number, f"backend_{text}": number})
    return Stored(
        command=text,
        began=text,
        commit=text,
        machine=Machine(cpu=text, cores=text, kernel=text, python=text, openssl=text),
        proxies=(Proxy(name=text, version=text, about=text, lacks=(text,)),),
        verdicts=(verdict(text, text, text, holds=False, aim=text),),
        measured=tuple(
            Measured(
                scenario=text,
                proxy=proxy,
                repeat=0,
                title=text,
                streams=at,
                workers=at,
                figures={text: number, "cpu_us_per_x": number},
                seconds=(second, Second(at=0)),
                bands=(Band(text, number, number),),
                verdicts=(verdict(text, text, text),),
            )
            for proxy in (text, "penstock")
        ),
    )


def test_a_run_from_anywhere_is_text_and_nothing_else() -> None:
    run = hostile(HOSTILE)
    now = lay([run])
    found = changes(now, now)
    shown = Document(page(now, now, found))
    assert not shown.of("script")
    assert all(not name.startswith("on") for _, attributes in shown.tags for name in attributes)
    assert "<script>alert(1)</script>" in html.unescape(" ".join(shown.text))
    text = markdown(now, now, found)
    assert "<script>" not in re.sub(r"\\<", "", re.sub(r"`` .*? ``", "", text))
    assert "\x1b" not in text
    assert "\n# h" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows if "cpu" in row or "CPU" in row}) == 1


@settings(max_examples=30, deadline=None)
@given(
    st.text(max_size=30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**62), 2**62),
)
def test_any_run_is_shown(text: str, number: float, at: int) -> None:
    now = lay([hostile(text, number, at)])
    found = changes(now, now)
    Document(page(now, now, found))
    markdown(now, now, found)


def test_a_histogram_that_is_none_is_named() -> None:
    run = msgspec.structs.replace(
        comparison(repeats=1),
        measured=(Measured(scenario="s", proxy="penstock", repeat=0, histograms={"ttft": "AAAA"}),),
    )
    with pytest.raises(BenchError, match="s, penstock, ttft: a histogram is none"):
        page(lay([run]))


def test_runs_are_laid_together() -> None:
    now = lay([comparison(seed=1, repeats=2), comparison(seed=2, repeats=2), played()])
    events = next(case for case in now.cases if case.key.scenario == "events")
    middle = events.middle("nginx", "cpu_us_per_event")
    assert middle is not None
    assert middle.repeats == 4
    assert now.names[0] == "penstock"
    assert now.names[-1] == "control"
    assert events.ratio("nginx", "cpu_us_per_event", "penstock") == pytest.approx(0.6, rel=0.1)


def test_the_markdown_is_a_table_that_a_readme_can_have() -> None:
    text = markdown(lay([comparison()]))
    rows = [line for line in text.splitlines() if line.startswith("| CPU per SSE event, µs |")]
    assert len(rows) == 1
    assert rows[0].count("|") == 10
    assert "5 of 6 bars hold, 1 of 5 aims are reached." in text
    assert "- nginx 1.22.1: lacks tokens, metering" in text


@given(st.text())
def test_code_is_between_more_backticks_than_it_has(text: str) -> None:
    shown = code(text)
    fence = shown[: len(shown) - len(shown.lstrip("`"))] if not text.startswith("`") else shown.split(" ")[0]
    assert fence not in text or not text
    assert escaped("a|b") == "a\\|b"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, now = tmp_path / "before.json", tmp_path / "now.json"
    write(before, comparison(seed=1))
    write(now, comparison(seed=2, speed=0.5, factor=2))
    assert main(["report", str(now)]) == 0
    assert capsys.readouterr().out.startswith("## Penstock beside nginx")
    arguments = ["report", str(now), "--against", str(before), "--out", str(tmp_path / "report")]
    assert main(arguments) == 0
    assert main([*arguments, "--fail-if-slower"]) == 1
    assert "slower: plain, penstock: CPU per plain request" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.html", "report.md"}
    assert main(["report", str(now), "--against", str(now), "--fail-if-slower"]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.json"], "nowhere.json: cannot be read"),
        (["wrong.json"], "wrong.json: is no stored run"),
        (["empty.json"], "empty.json: holds nothing that was measured"),
        (["now.json", "now.json"], "now.json: is the same run as one before it"),
        (["now.json", "--out", "now.json"], "now.json: cannot be written"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.json").write_text("{}")
    write(tmp_path / "empty.json", msgspec.structs.replace(comparison(repeats=0), measured=()))
    write(tmp_path / "now.json", comparison(repeats=1))
    assert main(["report", *arguments]) == 1
    assert says in capsys.readouterr().err


def test_slower_than_nothing_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "now.json", "--fail-if-slower"]) == 2
    assert "needs --against" in capsys.readouterr().err


async def test_a_browser_shows_it_and_asks_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(lay([comparison(repeats=2), played()])))
    async with browser.page(tmp_path / "profile") as shown:
        for width in (1280, 400):
            await shown.open(file.as_uri(), width=width)
            assert await shown.evaluate("document.documentElement.scrollWidth") <= width
        assert await shown.evaluate("performance.getEntriesByType('resource').length") == 0
    _, console = await browser.dump(tmp_path / "other", file.as_uri())
    assert console == ""
