"""The report in a real browser: it loads without errors, filters work, sound plays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import voxbeam

from tests.reporting.corpora import HOSTILE
from tests.servers.browser import chromium
from tests.servers.processes import wait_for

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def report(corpus_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return voxbeam.report(corpus_uri, tmp_path_factory.mktemp("page") / "report.html", clips=1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(params=["desk", "phone", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    """The page as a person opens it; at the end nothing was logged and nothing asked of a network."""
    options = {"desk": {}, "phone": PHONE, "dark": {"color_scheme": "dark"}}[request.param]
    context = browser.new_context(offline=True, **options)
    opened, said, asked = context.new_page(), [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(report.as_uri())
    opened.wait_for_selector("#segments tbody tr")
    yield opened
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    context.close()


def rows(page: Any) -> int:
    return int(page.locator("#segments tbody tr").count())


def wait_until(page: Any, condition: str) -> None:
    """Asks the page until a condition holds; its policy forbids what Playwright's own waiting does."""
    wait_for(lambda: bool(page.evaluate(condition)), 10, condition)


def test_a_reason_filters_the_table(page: Any) -> None:
    assert rows(page) == 60 and page.text_content("#found") == "60 of 60 segments"
    page.get_by_role("button", name="low_snr", exact=True).click()
    shown = page.locator("#segments tbody tr td:nth-child(4)").all_text_contents()
    assert shown and all("low_snr" in reasons for reasons in shown)
    page.get_by_role("button", name="Clear").click()
    assert rows(page) == 60


def test_searching_and_sorting(page: Any) -> None:
    page.get_by_label("Search segments").fill("the same words")
    assert 0 < rows(page) < 60
    page.get_by_label("Search segments").fill("alert")
    assert rows(page) == 1 and HOSTILE.split("\x1b")[0] in page.text_content("#segments tbody tr")
    page.get_by_label("Search segments").fill("")
    page.locator("#segments th button", has_text="snr_db").click()
    values = [float(text) for text in page.locator("#segments tbody tr td:nth-child(11)").all_text_contents() if text != "—"]
    assert values == sorted(values, reverse=True) and len(values) > 40


def test_moving_a_limit_tells_what_it_keeps(page: Any) -> None:
    card = page.locator(".card", has_text="filter.min_dnsmos_ovrl")
    slider, said = card.get_by_role("slider"), card.locator("output")
    assert said.text_content().startswith("At least 2.2 (as it is): keeps 72 s")
    slider.focus()
    page.keyboard.press("End")
    assert "keeps 0 s, 72 s less than now (−100 %). By this rule alone 8 s." in said.text_content()  # overlaps have no score
    page.keyboard.press("Home")
    assert "more than now" in said.text_content()


def test_a_bar_lists_its_segments(page: Any) -> None:
    bar = page.locator("#limits .card", has_text="filter.min_snr_db").locator("g[role=button]").first
    bar.press("Enter")
    assert page.get_by_label("score", exact=True).input_value() == "snr_db"
    assert 0 < rows(page) < 60


def test_limits_are_found_by_name_and_by_effect(page: Any) -> None:
    cards = page.locator("#limits .cards").first.locator("> .card")
    everything = cards.count()
    page.get_by_label("Find a score").fill("low_snr")
    assert cards.filter(visible=True).count() == 1
    page.get_by_label("Find a score").fill("")
    page.get_by_label("only limits that change something").check()
    assert 0 < cards.filter(visible=True).count() <= everything


def test_sound_of_accepted_and_rejected_segments_plays(page: Any) -> None:
    card = page.locator(".card", has_text="filter.min_dnsmos_ovrl")
    buttons = card.locator(".play")
    assert buttons.count() == 2
    for place in range(2):
        buttons.nth(place).click()
        wait_until(page, "player.currentTime > 0.2")
        assert buttons.nth(place).get_attribute("aria-pressed") == "true"
        assert 1.9 < page.evaluate("player.duration") < 2.3
        buttons.nth(place).click()
        assert page.evaluate("player.paused")


def test_hovering_and_the_keyboard_show_what_a_ribbon_is(page: Any) -> None:
    page.locator("#flow path.ribbon").nth(1).focus()
    assert page.locator("#tip").is_visible() and "of the input" in page.text_content("#tip")
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_the_page_fits_its_window(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
