"""The record in a real browser: nothing hostile runs, nothing is asked from outside, and the sliders tell the truth.

Needs playwright and a Chromium (`make browser`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_hostile import AWAY, HOSTILE
from fakes_report import CASE, CLIENTS, hostile, sample_parts
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Error

from playbook.economics import break_even
from playbook.report import as_markdown, render

WATCH = """window.ran = [];
for (const name of ["alert", "confirm", "prompt", "open", "print"]) window[name] = () => window.top.ran.push(name);"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


class Watched:
    """One page of a browser that counts what ran in it and what it asked for."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.file, self.asked, self.said = page, folder / "record.html", [], []
        page.add_init_script(WATCH)
        page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        page.on("popup", lambda _: self.said.append("popup"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.route(re.compile("^(?!file:|data:)"), lambda route: route.abort())

    def open(self, html: str) -> list[str]:
        """Everything that ran or was asked for besides the file itself; an empty list for a quiet page."""
        self.asked, self.said = [], []
        self.file.write_text(html, encoding="utf-8")
        try:
            self.page.goto(self.file.as_uri())
            ran = self.page.evaluate("window.ran")
        except Error:
            ran = ["moved on"]
        others = [url for url in self.asked if url != self.file.as_uri() and not url.startswith("data:image/png")]
        moved = [] if self.page.url == self.file.as_uri() else [self.page.url]
        return [*self.said, *ran, *others, *moved]


@pytest.fixture
def watched(browser: Browser, tmp_path: Path) -> Iterator[Watched]:
    """A fresh page, watched."""
    page = browser.new_page()
    yield Watched(page, tmp_path)
    page.close()


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """A whole record, shortened."""
    return sample_parts()


# ------------------------------------------------------------------------------------------- nothing hostile happens


def naive(head: str, evil: str) -> str:
    """A page that shows a string as careless code would."""
    return f"<meta charset=utf-8>{head}<title>x</title><p>{evil[:999]}".encode("utf-8", "replace").decode()


def test_the_strings_are_many_and_dangerous_where_nothing_escapes_them(watched: Watched) -> None:
    acted = [evil for evil in HOSTILE if watched.open(naive("", evil))]
    assert len(set(HOSTILE)) >= 200
    assert len(acted) >= 100, "so the tests below can fail"


def test_the_policy_alone_lets_no_code_run_where_nothing_is_escaped(watched: Watched, parts: dict[str, Any]) -> None:
    policy = POLICY.search(render(parts))[0]
    acts = [act for evil in HOSTILE[::3] for act in watched.open(naive(policy, evil))]
    assert [
        act for act in acts if not act.startswith(AWAY) and act != "moved on"
    ] == []  # a refresh is no policy's business


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 25))
def test_no_hostile_string_in_any_field_runs_or_asks_for_anything_even_without_the_policy(
    watched: Watched, parts: dict[str, Any], start: int
) -> None:
    for evil in HOSTILE[start : start + 25]:
        html = render(hostile(parts, CLIENTS, evil))
        assert watched.open(POLICY.sub("", html)) == [], evil[:80]
        assert watched.page.evaluate("document.scripts.length") == 1
        assert (
            watched.page.evaluate(
                "document.querySelectorAll('[onerror],[onload],iframe,object,embed,base,link,form').length"
            )
            == 0
        )


def test_with_the_policy_the_page_is_quiet_too_and_its_own_script_runs(watched: Watched, parts: dict[str, Any]) -> None:
    assert watched.open(render(hostile(parts, CLIENTS, HOSTILE[1]))) == []
    assert watched.page.locator(".live").is_visible()


def test_markdown_shown_by_a_careless_reader_stays_quiet(watched: Watched, parts: dict[str, Any]) -> None:
    show = MarkdownIt("commonmark", {"html": True}).enable("table")
    decision = parts["decision"].model_copy(update={"why": tuple(evil[:2000] for evil in HOSTILE)})
    text = as_markdown(
        render(hostile(parts, tuple(set(CLIENTS) - {"decision", "diagnosis"}), HOSTILE[2]) | {"decision": decision})
    )
    assert watched.open(f"<meta charset=utf-8>{show.render(text)}") == []
    assert watched.page.locator("li").count() > len(HOSTILE)


# ------------------------------------------------------------------------------------------------ sliders and reading


def move(page: Any, slider: str, power: float) -> str:
    page.locator(f"input[name={slider}]").evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", power
    )
    return page.locator("[data-part=said]").inner_text()


def test_sliders_give_what_the_calculation_gives(watched: Watched, parts: dict[str, Any]) -> None:
    watched.open(render(parts))
    seen = set()
    for volume, price in ((0, 0), (1, 0), (2, 0), (2.5, 1), (4, 2)):
        move(watched.page, "calls_per_month", volume)
        said = move(watched.page, "price_per_million", price)
        case = CASE | {"calls_per_month": 2600 * 10**volume, "price_per_million": 1.25 * 10**price}
        expected = break_even(**case).months
        found = re.search(r"paid back after ([\d,.]+) months", said)
        assert (found is None) == (expected is None), said
        assert expected is None or float(found[1].replace(",", "")) == pytest.approx(expected, abs=0.06)
        shown = [watched.page.locator(f"[data-part={part}]") for part in ("money", "zero", "end")]
        seen.add((shown[0].get_attribute("d"), shown[1].get_attribute("d"), shown[2].text_content()))
    assert len(seen) == 5, "the chart moves with the sliders"


def test_without_scripts_the_page_reads_whole_and_hides_what_could_not_move(
    browser: Browser, tmp_path: Path, parts: dict[str, Any]
) -> None:
    (tmp_path / "record.html").write_text(render(parts), encoding="utf-8")
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((tmp_path / "record.html").as_uri())
    assert not page.locator(".live").is_visible()
    text = page.locator("main").inner_text()
    assert "What should we do?" in text and "Who does what" in text and "Appendix C" in text
    page.context.close()


def test_printed_pages_show_what_is_folded_on_a_screen_and_no_sliders(watched: Watched, parts: dict[str, Any]) -> None:
    watched.open(render(parts))
    watched.page.emulate_media(media="print")
    assert not watched.page.locator(".live").is_visible()
    assert watched.page.locator("blockquote mark").first.is_visible()


def test_a_link_on_a_mark_opens_the_answer_behind_it(watched: Watched, parts: dict[str, Any]) -> None:
    failed = parts["measured"].failures[0].item
    watched.open(render(parts))
    watched.page.locator(f"a[href='#item-{failed}']").click()
    assert watched.page.locator(f"[id='item-{failed}']").is_visible()
    assert [url for url in watched.asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("width", [360, 820, 1600])
def test_nothing_sticks_out_sideways(watched: Watched, parts: dict[str, Any], width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 900})
    watched.open(render(hostile(parts, ("settings", "decision"), "x" * 300)))
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width + 1
