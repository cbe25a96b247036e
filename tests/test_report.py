"""The decision record: whatever a client's file says stays text, and the page needs nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from pydantic import BaseModel

from playbook.attribution import FIX
from playbook.diagnosis import DiagnosisResult
from playbook.economics import EconomicsResult
from playbook.engagement import Settings, open_engagement
from playbook.models import TABLES
from playbook.plots import figure_uri
from playbook.report import render, write_report
from playbook.results import (
    DecisionResult,
    GateResult,
    LoraResult,
    MeasurementResult,
    PlanResult,
    RagResult,
    TrainingDataResult,
)

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></style></title><!--{{ 7*7 }}"
PIXEL = "data:image/png;base64,AAAA"


class Page(HTMLParser):
    """Every element with its attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.comments: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What notebook 09 hands to the template, from the committed sample run."""
    monkeypatch.setenv("PLAYBOOK_ENGAGEMENTS", str(tmp_path))
    client = open_engagement("sample")
    measured, lora = client.load("05_measurements", MeasurementResult), client.load("08_lora", LoraResult)
    return {
        "settings": client.settings,
        "decision": client.load("09_decision", DecisionResult),
        "diagnosis": client.load("01_diagnosis", DiagnosisResult),
        "economics": client.load("02_economics", EconomicsResult),
        "plan": client.load("03_plan", PlanResult),
        "rag": client.load("04_rag", RagResult),
        "measured": measured,
        "behaviour_scores": lora.scores,
        "behaviour_tests": (*measured.behaviour_tests, *lora.tests),
        "lora": lora,
        "gates": (client.load("06_gate", GateResult).gate, client.load("07_training_data", TrainingDataResult).gate),
        "fixes": FIX,
        "style": (TABLES / "report.css").read_text(encoding="utf-8"),
        "figures": {"arms": PIXEL, "costs": PIXEL},
    }


def poisoned(value: Any) -> Any:
    """The same value with hostile markup after every string, keys of mappings included, so that look-ups still fit."""
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: poisoned(getattr(value, name)) for name in type(value).model_fields})
    if isinstance(value, dict):
        return {poisoned(key): poisoned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(poisoned(item) for item in value)
    return value


CLIENTS = (
    "settings",
    "decision",
    "diagnosis",
    "economics",
    "rag",
    "measured",
    "behaviour_scores",
    "behaviour_tests",
    "lora",
    "gates",
)


def hostile(parts: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The parts with the named ones poisoned; tables with fixed keys (counts, causes) keep their keys."""
    changed = parts | {name: poisoned(parts[name]) for name in names}
    measured = {n: getattr(parts["measured"], n) for n in ("knowledge_causes", "behaviour_causes")}
    changed["measured"] = changed["measured"].model_copy(update=measured)
    rag = {"files": parts["rag"].files, "rejected": {f"a{EVIL}": f"b{EVIL}"} if "rag" in names else {}}
    changed["rag"] = changed["rag"].model_copy(update=rag)
    word = f"untested{EVIL}" if "decision" in names else "untested"
    diagnoses = {v.use_case: word for v in changed["diagnosis"].verdicts}
    changed["decision"] = changed["decision"].model_copy(update={"diagnoses": diagnoses})
    return changed


def is_clean(html: str, clean: str) -> None:
    """The page has exactly the elements of the unpoisoned one, and the hostile text can be read in it."""
    page, model = Page(html), Page(clean)
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in model.elements}
    assert not page.comments and not [t for t, _ in page.elements if t == "script"]
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert [a["src"] for t, a in page.elements if t == "img"] == [PIXEL, PIXEL]
    assert EVIL in page.text, "shown to the reader as it was written"


@pytest.mark.parametrize("name", CLIENTS)
def test_hostile_strings_in_one_part_stay_text(parts: dict[str, Any], name: str) -> None:
    is_clean(render(hostile(parts, (name,))), render(parts))


def test_hostile_strings_everywhere_at_once_stay_text(parts: dict[str, Any]) -> None:
    is_clean(render(hostile(parts, CLIENTS)), render(parts))


def test_hostile_settings_title_and_participants(parts: dict[str, Any]) -> None:
    settings = Settings(title=f"Acme {EVIL}", as_of="2026-11-01", participants=(f"Ana {EVIL}",))
    html = render(parts | {"settings": settings})
    is_clean(html, render(parts))
    assert html.count("&lt;script&gt;") == 3  # browser title, heading, sign-off


def test_page_forbids_everything_but_its_own_style_and_pictures(parts: dict[str, Any]) -> None:
    policies = [
        a["content"]
        for t, a in Page(render(parts)).elements
        if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_page_loads_nothing_from_outside(parts: dict[str, Any]) -> None:
    page = Page(render(parts))
    addresses = [
        v for _, a in page.elements for k, v in a.items() if k in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert addresses == [PIXEL, PIXEL]
    assert not {t for t, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert not re.search(r"url\(|@import|https?:", parts["style"])


def test_page_has_no_address_of_another_machine(parts: dict[str, Any]) -> None:
    assert not re.search(r"(src|href)\s*=\s*.?(https?:)?//", render(parts))


def test_page_states_the_decision_its_date_and_its_limits(parts: dict[str, Any]) -> None:
    text = " ".join(Page(render(parts)).text.split())
    decision = parts["decision"]
    for line in (decision.headline, *decision.why, decision.cost, decision.expires, *decision.would_change):
        assert " ".join(line.replace("_", " ").split()).lower() in text.lower()
    assert f"valid until {decision.expires}" in text and str(parts["settings"].as_of) in text


def test_every_picture_has_words_that_replace_it(parts: dict[str, Any]) -> None:
    assert all(len(a.get("alt") or "") > 20 for t, a in Page(render(parts)).elements if t == "img")
    assert "<img" not in render(parts | {"figures": {"arms": "", "costs": ""}})


@pytest.mark.parametrize("name", ["settings", "decision", "measured", "fixes", "style", "gates"])
def test_a_missing_part_is_an_error_and_not_a_blank(parts: dict[str, Any], name: str) -> None:
    with pytest.raises(UndefinedError, match=name):
        render({k: v for k, v in parts.items() if k != name})


def test_record_of_a_client_who_measured_nothing_says_so(parts: dict[str, Any]) -> None:
    none = {"knowledge": (), "behaviour": (), "failures": (), "knowledge_tests": (), "behaviour_tests": ()}
    causes = {
        n: getattr(parts["measured"], n).model_copy(update={"failures": 0, "shares": {}})
        for n in ("knowledge_causes", "behaviour_causes")
    }
    measured = parts["measured"].model_copy(update=none | causes)
    decision = parts["decision"].model_copy(update={"brier": {}, "sure": "", "would_change": ()})
    html = render(
        parts
        | {"measured": measured, "decision": decision, "lora": None, "behaviour_scores": (), "behaviour_tests": ()}
    )
    text = " ".join(Page(html).text.split())
    assert "Nothing: there were neither questions nor labelled examples" in text
    assert "Nothing was measured." in text and "No predictions were stored" in text


def test_same_parts_give_the_same_page_and_file(parts: dict[str, Any], tmp_path: Path) -> None:
    path = write_report(tmp_path / "report" / "record.html", parts)
    assert path.read_text(encoding="utf-8") == render(parts) == render(parts)


def test_figure_is_the_same_picture_every_time_and_carries_no_software_name() -> None:
    def drawn() -> str:
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([0, 1], [0, 1])
        return figure_uri(figure)

    assert drawn() == drawn()
    assert drawn().startswith("data:image/png;base64,iVBOR")
    assert "TWF0cGxvdGxpYg" not in drawn(), "base64 of Matplotlib"
