"""The status page shows what is, says so in words and not by colour alone, and lets no text become markup."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from proxy.admin.page import CONTENT_SECURITY_POLICY, render
from proxy.admin.view import ConfigStatus, ReloadResult
from tests.admin.world import NOW, status

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'`{}"


class Reader(HTMLParser):
    """What a browser would make of the page: its elements, and the text outside of script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.text += data + " "

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def shown(**changes: object) -> str:
    return " ".join(Reader(render(status(**changes), ready=True, reasons=[])).text.split())


def test_everything_that_is_known_is_shown() -> None:
    text = shown()
    for words in (
        "ready version 0.1.0, up 1 d 2 h",
        "/etc/penstock/penstock.toml , version 4, last reload 1 h 1 min ago",
        "Requests under way 311",
        "Workers serving 1 of 2",
        "Deployments usable 1 of 3",
        "0 serving 1 d 2 h ago 4711 311 288 1,204 0 version 4",
        "1 backing-off 2 s ago – 0 0 0 3 version 3 behind",
        "swc-ptu swedencentral, provisioned gpt-4o-ptu gpt-4o open throttled tried again in 14 s 1 0 0 a second 0 – –",
        "2.5 by hand on its way to 5 288 31.5 a second 1,204,000 96,000 left 93% utilised",
        "p50 210 ms p99 1.3 s 0.2% failed",
        "0.2% failed 1.0% throttled connect failed, 3 times, 1 min 1 s ago",
        "half-open draining failures drained by hand 1 min 15 s ago",
        "gpt-4o, gpt-4o-2024-11-20",
        "turbine-7 power certificate chat.completions, embeddings of gpt-4o, text-embedding-3-*",
        "requests per minute: 312 of 600",
        "concurrent requests: 64",
        "reporting – token, key none none",
        "listen.certificate CN=gateway.example in 61 d",
        "gateway managed identity valid 51 min 40 s",
        "lab api key valid –",
    ):
        assert words in text


def test_what_keeps_it_from_being_ready_comes_first() -> None:
    page = Reader(render(status(), ready=False, reasons=["no usable deployment", "no certificate"]))
    assert "not ready" in page.text
    assert page.text.index("no usable deployment; no certificate") < page.text.index("Workers")


def test_a_failed_reload_is_shown_with_its_reason() -> None:
    failed = ReloadResult(ok=False, time=NOW - 5, version=4, error="penstock.toml: models[0].name: missing")
    text = shown(config=ConfigStatus(file="f", version=4, last_reload=failed))
    assert "last reload 5 s ago failed" in text
    assert "penstock.toml: models[0].name: missing" in text


def test_nothing_configured_is_said_and_not_left_blank() -> None:
    text = shown(workers=(), deployments=(), clients=(), certificates=(), credentials=())
    for words in ("No workers.", "No deployments are", "No clients are", "No certificates.", "No credentials are"):
        assert words in text


def test_no_text_becomes_markup() -> None:
    hostile = status()
    for name in ("workers", "deployments", "clients", "certificates", "credentials"):
        rows = [
            type(row)(**{
                field: HOSTILE if isinstance(value, str) else (HOSTILE,) if field in ("models", "grants") else value
                for field, value in ((field, getattr(row, field)) for field in row.__struct_fields__)
            })
            for row in getattr(hostile, name)
        ]  # fmt: skip
        hostile = status(**{name: tuple(rows), "version": HOSTILE})
        reader = Reader(render(hostile, ready=False, reasons=[HOSTILE]))
        assert reader.count("script") == 1
        assert reader.count("img") == 0
        assert not any(attribute.startswith("on") for _, attributes in reader.elements for attribute in attributes)
        assert HOSTILE in reader.text


def test_style_and_script_are_let_in_by_their_hashes_and_nothing_else_is() -> None:
    page = render(status(), ready=True, reasons=[])
    policy = dict(part.strip().split(" ", 1) for part in CONTENT_SECURITY_POLICY.split(";"))
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    reader = Reader(page)
    assert not any({"style", "onclick"} & set(attributes) for _, attributes in reader.elements)
    for _, attributes in reader.elements:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "data:,"))


def test_tables_are_accessible() -> None:
    reader = Reader(render(status(), ready=True, reasons=[]))
    assert reader.count("table") == reader.count("caption") == 7
    assert all("scope" in attributes for tag, attributes in reader.elements if tag == "th")
    assert ("html", {"lang": "en"}) in reader.elements
    assert reader.count("main") == reader.count("h1") == 1


def test_of_many_certificates_those_that_end_first_are_shown() -> None:
    one = status().certificates[0]
    many = tuple(replace(one, name=f"client {number}", use="client") for number in range(250))
    text = shown(certificates=many)
    assert "Certificates (the first to expire; 50 more)" in text
    assert "client 199 " in text
    assert "client 200 " not in text


@pytest.mark.parametrize(
    ("days", "words"), [(400.0, "in 400 d"), (0.5, "in 12 h"), (0.0, "expired"), (-3.0, "expired")]
)
def test_a_certificates_end_is_said_in_words(days: float, words: str) -> None:
    [certificate, *_] = status().certificates
    changed = type(certificate)(
        name=certificate.name, subject=certificate.subject, not_after=certificate.not_after, days_left=days
    )
    assert f"CN=gateway.example {words} " in shown(certificates=(changed,))
