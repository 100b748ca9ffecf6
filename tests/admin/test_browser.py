"""The status page in a real browser: it opens, keeps itself up to date, reloads, and its policy holds.

Needs `chromium`; without it these tests fail, for they are the only ones that see what people see.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from proxy.admin.server import serve_admin
from proxy.admin.view import ReloadResult, Status
from proxy.config.structs import Admin
from proxy.supervisor.sockets import listen
from tests.admin import browser
from tests.admin.world import NOW, TOKEN, Gateway, status


@asynccontextmanager
async def address_of(gateway: Gateway) -> AsyncIterator[str]:
    """The address of the page, with the token in it."""
    sock = listen("127.0.0.1:0")
    port = sock.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_admin, sock, Admin(), TOKEN, gateway)
        yield f"http://operator:{TOKEN}@127.0.0.1:{port}/"
        nursery.cancel_scope.cancel()


class Numbered(Gateway):
    """It says how often it was shown, and fails from the `last` time on."""

    def __init__(self, last: int | None = None) -> None:
        super().__init__()
        self.shows = 0
        self._last = last

    def status(self) -> Status:
        self.shows += 1
        if self._last is not None and self.shows > self._last:
            raise RuntimeError("gone")
        return status(version=f"shown-{self.shows}")


async def test_the_page_opens_without_a_complaint(tmp_path: Path) -> None:
    async with address_of(Gateway()) as address:
        document, console = await browser.dump(tmp_path, address)
    assert "<title>Penstock: ready</title>" in document
    assert "turbine-7" in document
    assert "on its way to 5" in document
    assert "drained by hand" in document
    assert console == ""


async def test_what_anything_is_called_never_runs(tmp_path: Path) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    gateway = Gateway()
    gateway.shown = status(version=hostile)
    gateway.missing = [hostile]
    async with address_of(gateway) as address:
        document, console = await browser.dump(tmp_path, address)
    assert "<title>Penstock: not ready</title>" in document
    assert "<img" not in document
    assert console == ""


async def test_the_page_keeps_itself_up_to_date(tmp_path: Path) -> None:
    async with address_of(Numbered()) as address, browser.page(tmp_path) as page:
        await page.open(address, width=1280)
        assert "shown-1," in await page.evaluate("document.body.innerText")
        await page.evaluate("refresh()")
        assert "shown-2," in await page.evaluate("document.body.innerText")


HURRY = "const interval = setInterval; window.setInterval = (task, time) => interval(task, time / 100);"


async def test_the_page_does_so_by_itself(tmp_path: Path) -> None:
    gateway = Numbered()
    async with address_of(gateway) as address, browser.page(tmp_path) as page:
        await page.command("Page.addScriptToEvaluateOnNewDocument", source=HURRY)
        await page.open(address, width=1280)
        with trio.fail_after(20):
            while gateway.shows < 3:
                await page.evaluate("new Promise(requestAnimationFrame)")


async def test_a_gateway_that_is_gone_is_said_and_what_was_known_stays(tmp_path: Path) -> None:
    async with address_of(Numbered(last=1)) as address, browser.page(tmp_path) as page:
        await page.open(address, width=1280)
        await page.evaluate("refresh()")
        text = await page.evaluate("document.body.innerText")
    assert "No answer from the gateway since" in text
    assert "shown-1," in text


PRESS = """(async () => {
  document.querySelector("button").click();
  const output = document.querySelector("output");
  while (!output.className) await new Promise(resolve => setTimeout(resolve, 20));
  return output.textContent;
})()"""


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ReloadResult(ok=True, time=NOW, version=5), "Reloaded: version 5 is in force."),
        (ReloadResult(ok=False, time=NOW, version=4, error="<b>no</b>"), "Not reloaded: <b>no</b>"),
    ],
)
async def test_the_button_reloads_and_says_what_became_of_it(tmp_path: Path, result: ReloadResult, words: str) -> None:
    gateway = Gateway()
    gateway.result = result
    async with address_of(gateway) as address, browser.page(tmp_path) as page:
        await page.open(address, width=1280)
        assert await page.evaluate(PRESS) == words
    assert gateway.reloads == 1


@pytest.mark.parametrize("width", [360, 500, 800, 1280])
async def test_the_page_fits_its_window(tmp_path: Path, width: int) -> None:
    async with address_of(Gateway()) as address, browser.page(tmp_path) as page:
        await page.open(address, width=width)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


CONTRAST = """(() => {
  const light = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = parse(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.innerText || ![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const pair = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
    least = Math.min(least, (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05));
  }
  return least;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(tmp_path: Path, scheme: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: a contrast of at least 4.5 to 1."""
    async with address_of(Gateway()) as address, browser.page(tmp_path) as page:
        await page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await page.open(address, width=1280)
        assert await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")
        assert await page.evaluate(CONTRAST) >= 4.5
