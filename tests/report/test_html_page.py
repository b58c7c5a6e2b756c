"""The page in a browser: Debian's Chromium, and axe-core from npm for its accessibility."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import needs
import topbit
from large_recording import large_recording
from paths import DATA
from report_kinds import KINDS
from topbit.report.boot import BootReport
from topbit.report.frame import framed
from topbit.report.html_form import render, render_error, render_matrix
from topbit.report.summary import summarise
from topbit.rules.finding import Checked

pytestmark = pytest.mark.browser
WIDTHS = (1280, 480)
SCHEMES = ("light", "dark")
Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = needs.program("chromium")
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Open a page; at the end of the test it must have asked for nothing and said nothing."""
    said: list[str] = []
    asked: list[str] = []
    pages: list[Page] = []

    def open_page(text: str, width: int = 1280, scheme: str = "light") -> Page:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
        )
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []
    assert [url for url in asked if not url.endswith("/page.html")] == []


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Three real reports, the matrix, and the hostile ones."""
    model = topbit.check(topbit.run("seed", settings={"vmm.smmu_map": "protected"}))
    logs = topbit.check(DATA / "recordings" / "vmm-maps-protected-half")
    wide = topbit.check(DATA / "recordings" / "wide-ipa-7.3")
    made = {"model": model, "logs": logs, "wide": wide}
    texts = {name: render(report.boots) for name, report in made.items()}
    texts["matrix"] = render_matrix(topbit.matrix())
    texts["error"] = render_error(topbit.errors.InputError("is empty", where="a"))
    return texts | {kind: render(boots) for kind, boots in KINDS.items() if kind != "many"}


NAMES = ["model", "logs", "wide", "matrix", "error", *(kind for kind in KINDS if kind != "many")]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["model", "matrix", "hostile", "inconclusive", "two boots"])
def test_it_is_accessible(name: str, scheme: str, pages: dict[str, str], opened: Opened) -> None:
    axe = needs.oracle("axe-*.min.js").read_text(encoding="utf-8")
    page = opened(pages[name], scheme=scheme)
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert "color-contrast" in {each["id"] for each in found["passes"]}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_sticks_out(name: str, width: int, pages: dict[str, str], opened: Opened) -> None:
    page = opened(pages[name], width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    hidden = page.evaluate(
        """() => [...document.querySelectorAll('h1,h2,h3,h4,p,dd,td,li')]
             .filter(e => e.scrollWidth > e.clientWidth + 1 && !e.closest('.scroll'))
             .map(e => e.outerHTML)"""
    )
    assert hidden == []


@pytest.mark.parametrize("name", ["logs", "matrix"])
def test_in_a_notebooks_frame_a_link_stays_in_the_page(
    name: str, pages: dict[str, str], opened: Opened
) -> None:
    page = opened("<!doctype html><title>x</title>" + framed(pages[name], "topbit"))
    frame = page.frames[1]
    link = frame.locator("a[href^='#']").last
    target = link.get_attribute("href")
    link.click()
    frame.wait_for_url(f"about:srcdoc{target}")
    assert frame.evaluate("scrollY") > 0


@pytest.mark.parametrize("name", ["model", "logs", "matrix"])
def test_every_link_goes_to_what_can_be_seen(
    name: str, pages: dict[str, str], opened: Opened
) -> None:
    page = opened(pages[name])
    links = page.locator("a[href]")
    assert links.count() > 5
    for link in links.all():
        target = link.get_attribute("href") or ""
        assert page.locator(f"[id='{target[1:]}']").is_visible(), target


def test_the_keyboard_reaches_every_link_and_shows_where_it_is(
    pages: dict[str, str], opened: Opened
) -> None:
    page = opened(pages["model"])
    wanted = page.locator("a[href], summary, [tabindex='0']").count()
    seen = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("""() => { const e = document.activeElement;
            return [e.outerHTML.slice(0, 80), getComputedStyle(e).outlineStyle]; }""")
        )
    assert len({where for where, _ in seen}) > wanted // 2
    assert {outline for _, outline in seen} == {"solid"}
    page.keyboard.press("Shift+Tab")
    page.locator("a.pin").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#b1-f1"


def test_in_print_everything_is_unfolded_and_the_navigation_is_gone(
    pages: dict[str, str], opened: Opened
) -> None:
    page = opened(pages["model"], scheme="dark")
    row = page.locator("details td.number").first
    assert not row.is_visible()
    page.emulate_media(media="print")
    assert row.is_visible()
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(27, 31, 36)"  # dark on white, whatever the screen has
    assert not page.locator("nav").first.is_visible()
    assert page.pdf(format="A4")[:5] == b"%PDF-"


def test_tracks_are_as_wide_as_they_may_and_faults_are_seen_on_them(
    pages: dict[str, str], opened: Opened
) -> None:
    for width in WIDTHS:
        page = opened(pages["model"], width=width)
        track = page.locator(".track > svg:has(path.refused)").first
        box = track.bounding_box()
        assert box is not None
        assert box["width"] > width * 0.45
        colours = page.evaluate("e => getComputedStyle(e).stroke", page.locator(
            ".refused").last.element_handle())  # fmt: skip
        assert colours == "rgb(192, 34, 43)"


@pytest.mark.slow
def test_a_million_events_are_a_small_page_that_opens_at_once(opened: Opened) -> None:
    recording = large_recording(1_000_000)
    boot = BootReport(recording.platform, summarise(recording), Checked([], []), recording)
    text = render([boot])
    assert len(text.encode()) < 5_000_000
    page = opened(text)
    assert "1,000,000 events" in page.inner_text("main")
    timing = "performance.getEntriesByType('navigation')[0]"
    assert page.evaluate(f"{timing}.loadEventEnd - {timing}.startTime") < 2000  # milliseconds
