"""The moments that need hands, with hands: JupyterLab in a real browser, from the click to the file and back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import SHOTS
from playwright.sync_api import Locator, Page, expect

BUSY = "[*]:"


def open_notebook(page: Page, lab: str, name: str, run: bool = True) -> None:
    """Open a notebook and run all of it; fails with the text of the first error."""
    page.goto(f"{lab}/lab/tree/{name}.ipynb?reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    if run:
        run_all(page)


def run_all(page: Page) -> None:
    page.wait_for_function("window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_timeout(1500)
    idle = """() => { const cells = window.jupyterapp.shell.currentWidget.content.widgets;
        return cells.filter(c => c.model.type === 'code').every(c => c.model.executionState !== 'running'
            && c.model.executionCount !== null && !(c.prompt || '').includes('*')); }"""
    page.wait_for_function(idle, timeout=300_000)
    errors = page.evaluate("""() => window.jupyterapp.shell.currentWidget.content.widgets.flatMap(c =>
        c.model.type === 'code' ? c.model.outputs.toJSON().filter(o => o.output_type === 'error').map(o => o.evalue) : [])""")
    assert errors == []


def restart(page: Page) -> None:
    """A new kernel, as after a crash: nothing but files is left."""
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.wait_for_timeout(2000)
    run_all(page)


def to(page: Page, cell_text: str) -> Locator:
    """The cell whose code holds a text, scrolled into sight."""
    page.evaluate(
        """text => { const book = window.jupyterapp.shell.currentWidget.content;
        const n = book.widgets.findIndex(c => c.model.type === 'code' && c.model.sharedModel.source.includes(text));
        book.activeCellIndex = n; return book.scrollToItem(n, 'start'); }""",
        cell_text,
    )
    cell = page.locator(".jp-Notebook .jp-CodeCell.jp-mod-active")
    expect(cell).to_be_visible()
    return cell


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def form(engagements: Path, name: str) -> dict[str, object]:
    return json.loads((engagements / "sample" / "forms" / f"{name}.json").read_text(encoding="utf-8"))


def test_a_diagnosis_is_filled_saved_and_there_after_a_restart(page: Page, lab: str, engagements: Path) -> None:
    open_notebook(page, lab, "01_diagnose")
    cell = to(page, "portfolio_form(")
    cell.locator(".jupyter-widget-Collapse-header, .p-Collapse-header").first.click()
    answer = cell.locator("select:visible").first
    label = cell.locator(".widget-label:visible").first
    expect(label).not_to_be_empty()
    answer.select_option(index=1)
    chosen = answer.evaluate("s => s.selectedOptions[0].textContent")
    cell.get_by_role("button", name="Save answers").locator("visible=true").click()
    expect(cell.get_by_text(re.compile("Saved to sample/forms"))).to_be_visible()
    assert cell.locator("select:visible").nth(3).bounding_box()["width"] > 200, "a choice must be readable"
    cell.locator("select:visible").nth(3).scroll_into_view_if_needed()
    shoot(page, "01_form")
    saved = list((engagements / "sample" / "forms").glob("diagnosis_*.json"))
    assert len(saved) == 1
    restart(page)
    cell = to(page, "portfolio_form(")
    cell.locator(".jupyter-widget-Collapse-header, .p-Collapse-header").first.click()
    assert cell.locator("select:visible").first.evaluate("s => s.selectedOptions[0].textContent") == chosen


def test_a_moved_slider_draws_the_break_even_anew(page: Page, lab: str) -> None:
    open_notebook(page, lab, "02_economics")
    cell = to(page, "break_even_sliders(")
    before = cell.locator("img").get_attribute("src")
    said = cell.get_by_text(re.compile("payback:")).inner_text()
    slider = cell.get_by_role("slider").first
    slider.focus()
    slider.press("ArrowLeft")  # by keyboard, as everything here can be
    for _ in range(5):
        slider.press("ArrowLeft")
    expect(cell.get_by_text(re.compile("payback:"))).not_to_have_text(said)
    assert cell.locator("img").get_attribute("src") != before
    shoot(page, "02_sliders")
