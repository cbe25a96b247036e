"""The decision record: client text stays text in every format, figures say where they come from, edits are found."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zipfile
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Comment
from docx import Document
from fakes import make_client
from fakes_hostile import AWAY, HOSTILE
from fakes_report import CLIENTS, PIXEL, hostile, sample_parts
from jinja2 import UndefinedError
from lxml import etree
from markdown_it import MarkdownIt

from playbook import cli
from playbook.checked import TABLES
from playbook.engagement import Engagement, EngagementError, MissingArtifact
from playbook.report import as_markdown, as_word, render, verify, write_pdf, write_report

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></style></title><!--{{ 7*7 }}"
BEHIND = ["00_room", "documents", "questions.csv"]


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """What notebook 09 hands to the template, shortened."""
    return sample_parts()


@pytest.fixture(scope="module")
def page(parts: dict[str, Any]) -> BeautifulSoup:
    """The record of the sample client, parsed."""
    return BeautifulSoup(render(parts), "html.parser")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engagement:
    """A client with one artifact; its record can be written and sealed."""
    made = make_client(tmp_path, monkeypatch)
    monkeypatch.setattr("playbook.report.as_word", lambda *_: b"a Word file, which takes its time; tested by itself")
    made.artifacts.mkdir(parents=True)
    (made.artifacts / "00_room.json").write_text('{"result": {"headline": "ready"}, "run": {}}', encoding="utf-8")
    return made


# -------------------------------------------------------------------------------------------- client text stays text


def is_clean(html: str, clean: BeautifulSoup, evil: str) -> None:
    """The page has no other kinds of elements and attributes than the unpoisoned one, and shows the hostile text."""
    found = BeautifulSoup(html, "html.parser")
    assert {e.name for e in found(True)} <= {e.name for e in clean(True)}
    assert {a for e in found(True) for a in e.attrs} <= {a for e in clean(True) for a in e.attrs}
    assert [str(s) for s in found("script")] == [str(s) for s in clean("script")]
    assert not found.find_all(string=lambda text: isinstance(text, Comment))
    assert {i["src"] for i in found("img")} == {PIXEL}
    assert evil in found.get_text(), "shown to the reader as it was written"


@pytest.mark.parametrize("name", CLIENTS)
def test_hostile_strings_in_one_part_stay_text(parts: dict[str, Any], page: BeautifulSoup, name: str) -> None:
    is_clean(render(hostile(parts, (name,), EVIL)), page, EVIL)


def test_a_title_with_markup_stays_text_wherever_it_stands(parts: dict[str, Any], page: BeautifulSoup) -> None:
    settings = parts["settings"].model_copy(update={"title": f"Acme {EVIL}", "participants": (f"Ana {EVIL}",)})
    html = render(parts | {"settings": settings})
    is_clean(html, page, EVIL)
    assert html.count("Acme &#34;&#39;&gt;&lt;script&gt;") == 2  # the window's title and the heading


@pytest.mark.parametrize("unseen", ["\u202egnp", "\x00", "\x1b[2J", "\ud800", "\U000e0041", "\u2066", "\ufffe"])
def test_what_nobody_can_see_is_shown_as_a_mark(parts: dict[str, Any], unseen: str) -> None:
    html = render(hostile(parts, CLIENTS, f"a{unseen}b"))
    assert unseen[0] not in html and "a\ufffd" in html
    html.encode("utf-8")
    etree.fromstring(f"<x>{escape(BeautifulSoup(html, 'html.parser').get_text())}</x>")  # as Word's XML needs it


def test_every_hostile_string_is_plain_text_in_markdown(parts: dict[str, Any]) -> None:
    decision = parts["decision"].model_copy(
        update={"why": tuple(f"<{n}> {evil[:500]}" for n, evil in enumerate(HOSTILE))}
    )
    text = as_markdown(render(parts | {"decision": decision}))
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    inside = [child for token in tokens for child in (token, *(token.children or ()))]
    assert not [t.content for t in inside if t.type in ("html_block", "html_inline", "image", "link_open", "fence", "code_inline")
                and t.content not in ("playbook verify", "playbook recheck")]  # fmt: skip
    shown = "".join(t.content for t in inside if t.type in ("text", "text_special"))
    assert all(f"<{n}>" in shown for n in range(len(HOSTILE)))
    assert "<script>alert(1)</script>" in shown and f"![pixel]({AWAY}.png)" in shown


def test_every_hostile_string_is_plain_text_in_word(parts: dict[str, Any]) -> None:
    decision = parts["decision"].model_copy(
        update={"why": tuple(f"<{n}> {evil[:500]}" for n, evil in enumerate(HOSTILE))}
    )
    file = as_word(render(parts | {"decision": decision}), "Acme", "d")
    shown = "\n".join(p.text for p in Document(BytesIO(file)).paragraphs)
    assert all(f"<{n}>" in shown for n in range(len(HOSTILE)))
    assert "<script>alert(1)</script>" in shown and "javascript:alert(1)" in shown
    with zipfile.ZipFile(BytesIO(file)) as unpacked:
        xml = {name: unpacked.read(name).decode() for name in unpacked.namelist() if name.endswith((".xml", ".rels"))}
    assert not [name for name, content in xml.items() if name.endswith(".rels") and "External" in content]
    assert not re.search(r"<w:(fldSimple|instrText|object|altChunk)\b", xml["word/document.xml"])


# ----------------------------------------------------------------------------------------- the page keeps to itself


def test_page_allows_only_its_own_style_script_and_pictures(page: BeautifulSoup) -> None:
    def digest(code: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"

    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src {digest(page.style.string)}; "
        f"script-src {digest(page.script.string)}; base-uri 'none'; form-action 'none'"
    )
    assert (len(page("style")), len(page("script"))) == (1, 1)
    assert not [e for e in page(True) if "style" in e.attrs or any(a.startswith("on") for a in e.attrs)]


def test_page_names_nothing_outside_and_every_link_leads_somewhere_in_it(page: BeautifulSoup) -> None:
    addresses = [(a, e[a]) for e in page(True) for a in ("src", "href", "srcset", "action", "data") if a in e.attrs]
    assert {value for name, value in addresses if name == "src"} == {PIXEL}
    links = [value for name, value in addresses if name == "href"]
    assert links and all(page.find(id=link.removeprefix("#")) for link in links if link.startswith("#"))
    assert len(addresses) - len(links) == len(page("img"))
    code = "".join((TABLES / f"report.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    assert not re.search(r"url\(|@import|https?:|fetch|XMLHttp|innerHTML|eval", code)


def test_wherever_figures_stand_a_mark_says_where_they_come_from(page: BeautifulSoup) -> None:
    unmarked, heading, figures, marks = [], "", False, 0
    for e in [*page.main(["h2", "h3", "summary", "p", "li", "td"]), page.new_tag("h2")]:
        if e.name in ("h2", "h3", "summary"):
            unmarked += [heading] if figures and not marks else []
            heading, figures, marks = e.get_text(), False, 0
            continue
        figures |= bool(re.search(r"\d", re.sub(r"[\d-]{10}|notebook \d\d", "", e.get_text())))
        marks += len(e.select("a.mark"))
    # counts of what there is or is wanted; prices, each with its own origin; examples under a marked heading
    own = (
        "should acme",
        "decided",
        "not decided",
        "to collect",
        "1. what",
        "what mattered",
        "8. sign",
        "older",
        "all 8",
        "q",
    )
    assert [h for h in unmarked if not h.lower().startswith(own)] == []
    kinds = {a.get_text() for a in page.select("a.mark")}
    assert {"(measured)", "(proxy)", "(client)", "(literature)", "(our estimate)"} <= kinds


def test_an_answer_is_shown_with_its_passage_and_the_cited_sentence_highlighted(page: BeautifulSoup) -> None:
    quoted = page.find(id="item-q900").find_parent("details").blockquote
    assert quoted.mark.get_text() == "A bed goes back within 14 days."
    assert quoted.p.get_text() == "Returns are easy. A bed goes back within 14 days. Bring the form."
    assert "returns.md, Returns" in quoted.get_text()


def test_page_states_the_decision_its_date_and_its_limits(parts: dict[str, Any], page: BeautifulSoup) -> None:
    decision, text = parts["decision"], " ".join(page.get_text().split()).lower()
    for line in (*decision.headline.split(". "), *decision.why, decision.cost, *decision.would_change):
        assert " ".join(line.replace("_", " ").split()).lower() in text
    assert f"valid until {decision.expires}" in text and str(parts["settings"].as_of) in text
    for rows in decision.tables.values():
        assert all(value.lower() in text for value in rows[0].values())
    assert all(line.lower() in text for lines in decision.lists.values() for line in lines)


def test_the_first_page_answers_five_questions_before_anything_else(page: BeautifulSoup) -> None:
    headings = [h.get_text() for h in page("h2")[:5]]
    assert headings == [
        "What should we do?", "Why?", "How sure are we?", "What does it cost?", "What would change our mind?",
    ]  # fmt: skip


def test_figures_that_no_longer_hold_are_said_above_the_decision(parts: dict[str, Any]) -> None:
    lists = parts["decision"].lists | {"stale": ("The shares of 05 were measured on other documents.",)}
    html = render(parts | {"decision": parts["decision"].model_copy(update={"lists": lists})})
    assert (
        html.index("Not valid as it stands")
        < html.index("measured on other documents")
        < html.index("What should we do?")
    )
    assert "Not valid as it stands" not in render(parts)


def test_every_picture_has_words_that_replace_it(parts: dict[str, Any], page: BeautifulSoup) -> None:
    assert len(page("img")) == 3 and all(len(picture["alt"]) > 20 for picture in page("img"))
    assert "<img" not in render(parts | {"figures": dict.fromkeys(parts["figures"], "")})


@pytest.mark.parametrize("name", ["settings", "decision", "measured", "fixes", "gates", "evidence", "break_even"])
def test_a_missing_part_is_an_error_and_not_a_blank(parts: dict[str, Any], name: str) -> None:
    with pytest.raises(UndefinedError, match=name):
        render({k: v for k, v in parts.items() if k != name})


def test_record_of_a_client_who_measured_nothing_says_so(parts: dict[str, Any]) -> None:
    none = {"knowledge": (), "behaviour": (), "failures": (), "knowledge_tests": (), "behaviour_tests": ()}
    mixes = ("knowledge_causes", "behaviour_causes")
    none |= {n: getattr(parts["measured"], n).model_copy(update={"failures": 0, "shares": {}}) for n in mixes}
    empty = {
        "measured": parts["measured"].model_copy(update=none),
        "decision": parts["decision"].model_copy(update={"brier": {}, "sure": "", "would_change": ()}),
        "lora": None, "behaviour_scores": (), "behaviour_tests": (), "evidence": (), "passages": {},
        "figures": dict.fromkeys(parts["figures"], ""),
    }  # fmt: skip
    text = " ".join(BeautifulSoup(render(parts | empty), "html.parser").get_text().split())
    assert "Nothing: there were neither questions nor labelled examples" in text
    assert "Nothing was measured." in text and "No predictions were stored" in text
    assert "(measured)" not in text.split("What could be decided")[0].split("Why?")[1].split("How sure")[0]


# ------------------------------------------------------------------------------------------------- other formats


def test_word_file_has_real_headings_tables_pictures_and_the_highlight(parts: dict[str, Any]) -> None:
    document = Document(BytesIO(as_word(render(parts), "Acme", "0123")))
    headings = {
        style: [p.text for p in document.paragraphs if p.style.name == f"Heading {style}"] for style in range(1, 5)
    }
    assert headings[1] == ["Should Acme fine-tune a model on its own data?"]
    assert "What should we do?" in headings[2] and "Who does what" in headings[3]
    assert "q900: How long may a bed go back?" in headings[4]
    assert len(document.inline_shapes) == 3 and len(document.tables) > 10
    cells = [[c.text for c in row.cells] for t in document.tables for row in t.rows]
    assert ["pilot", "ten people", "2 to 4 weeks", "5,000 USD", "our estimate"] in cells
    shaded = [r.text for p in document.paragraphs for r in p.runs if r.font.highlight_color]
    assert shaded == ["A bed goes back within 14 days."]
    assert (document.core_properties.title, document.core_properties.identifier) == ("Acme", "0123")
    assert "move the volume" not in "\n".join(p.text for p in document.paragraphs), "sliders move only on a screen"


def test_markdown_has_headings_tables_and_words_for_pictures(parts: dict[str, Any]) -> None:
    text = as_markdown(render(parts))
    assert text.startswith("Decision record") and "\n## What should we do?\n" in text and "\n#### q900:" in text
    assert "| pilot | ten people | 2 to 4 weeks | 5,000 USD | our estimate |" in text
    assert "**A bed goes back within 14 days.**" in text and "(Share right of every approach" in text
    assert "data:image" not in text and "<" not in text.replace("\\<", "")


def test_a_pdf_is_written_or_one_sentence_says_what_to_do(
    client: Engagement, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(client, parts, BEHIND)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(
        ValueError, match=r"pip install 'finetune-playbook\[pdf\]'.*open .*decision_record.html in a browser"
    ):
        write_pdf(client)


def test_with_its_library_the_pdf_holds_the_record(client: Engagement, parts: dict[str, Any]) -> None:
    pytest.importorskip("weasyprint", exc_type=ImportError)
    write_report(client, parts, BEHIND)
    assert write_pdf(client).read_bytes().startswith(b"%PDF-")


# ------------------------------------------------------------------------------------------------------- the seal


@pytest.fixture
def written(client: Engagement, parts: dict[str, Any]) -> dict[str, Path]:
    """The client's record by ending."""
    return {path.suffix: path for path in write_report(client, parts, BEHIND)}


def test_an_untouched_record_is_as_it_was_written_also_under_another_name(
    client: Engagement, written: dict[str, Path]
) -> None:
    assert sorted(written) == [".docx", ".html", ".md"]
    assert [verify(client, path) for path in written.values()] == [[], [], []]
    assert verify(client, written[".html"].rename(client.work / "for the board.HTML")) == []
    seal = json.loads((client.report.parent / "seal.json").read_text(encoding="utf-8"))
    assert list(seal["rests_on"]) == BEHIND and "What should we do?" in "".join(seal["content"])


@pytest.mark.parametrize("ending", [".html", ".md"])
def test_an_edited_sentence_is_quoted_as_it_was_and_as_it_is(
    client: Engagement, written: dict[str, Path], ending: str
) -> None:
    path = written[ending]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Do not fine-tune now", "Fine-tune now", 1), encoding="utf-8")
    told = verify(client, path)
    assert told[0] == f"{path.name} is not the file that was written. Its text differs, first in:"
    assert len(told) == 3
    assert told[1].startswith("  -**Do not fine-tune now") and told[2].startswith("  +**Fine-tune now")


def test_an_edit_that_no_reader_sees_is_found_too(client: Engagement, written: dict[str, Path]) -> None:
    html = written[".html"].read_text(encoding="utf-8")
    written[".html"].write_text(html.replace("</body>", "<script>x</script></body>"), encoding="utf-8")
    written[".docx"].write_bytes(written[".docx"].read_bytes() + b" ")
    for ending in (".html", ".docx"):
        assert len(told := verify(client, written[ending])) == 1 and "look, pictures, script" in told[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"<html><main>", b"\x1b[2J"])
def test_a_file_of_any_other_content_is_not_the_record(
    client: Engagement, written: dict[str, Path], content: bytes
) -> None:
    for path in written.values():
        path.write_bytes(content)
        told = verify(client, path)
        assert "is not the file that was written" in told[0] and "\x1b" not in "".join(told)


def test_what_it_rests_on_is_named_with_its_notebook_when_it_changed(
    client: Engagement, written: dict[str, Path]
) -> None:
    room, rent = client.artifacts / "00_room.json", client.documents / "rent.md"
    kept = room.read_text(encoding="utf-8")
    room.write_text(kept.replace('"run": {}', '"run": {"python": "3"}'), encoding="utf-8")
    assert verify(client, written[".html"]) == [], "how it ran is no evidence"
    room.write_text(kept.replace("ready", "not ready"), encoding="utf-8")
    rent.write_text("A bed costs $50 a week.\n", encoding="utf-8")
    first, second = verify(client, written[".html"])
    assert first.startswith("00_room is not what") and "run notebooks/00_start_here.ipynb" in first
    assert second.startswith("documents is not what") and "playbook run acme" in second
    room.unlink()
    with pytest.raises(MissingArtifact, match="run notebooks/00_start_here.ipynb"):
        verify(client, written[".md"])


def test_an_edited_seal_is_found_and_a_missing_or_broken_one_is_an_error(
    client: Engagement, written: dict[str, Path]
) -> None:
    seal = client.report.parent / "seal.json"
    seal.write_text(seal.read_text(encoding="utf-8").replace("Do not fine-tune now", "Fine-tune now"), encoding="utf-8")
    assert verify(client, written[".html"])[0].startswith("The seal is not the one")
    for spoil in (lambda: seal.write_text('{"content": 1}', encoding="utf-8"), seal.unlink):
        spoil()
        with pytest.raises(EngagementError, match=r"seal.json.*notebooks/09_decide.ipynb"):
            verify(client, written[".html"])


def test_the_command_says_what_differs_and_that_it_is_no_signature(
    client: Engagement, written: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["playbook", "verify", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, capsys.readouterr().out

    code, out = run(written[".docx"])
    assert code == 0 and "as they were written" in out and "not a signature" in out
    elsewhere = written[".md"].rename(client.work.parent / "mailed.md")
    elsewhere.write_text("changed", encoding="utf-8")
    code, out = run(elsewhere, "--client", "acme")
    assert code == 1 and "mailed.md is not the file that was written" in out and "not a signature" in out


# ------------------------------------------------------------------------------------------------ the same every time


def test_same_parts_give_the_same_page_and_file(client: Engagement, parts: dict[str, Any]) -> None:
    first = {p.suffix: p.read_bytes() for p in write_report(client, parts, BEHIND)}
    again = {p.suffix: p.read_bytes() for p in write_report(client, parts, BEHIND)}
    assert (first[".html"], first[".md"]) == (again[".html"], again[".md"])
    assert sum(map(len, first.values())) < 1_000_000
