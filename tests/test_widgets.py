"""Forms: what is set is saved on click, what cannot be saved is said, and client text stays text."""

from __future__ import annotations

import json
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import ipywidgets
import pytest
from fakes_embedding import make_answerer, passage

from playbook import widgets
from playbook.diagnosis import UseCase, load_rules
from playbook.engagement import Engagement, Settings
from playbook.gates import Check, decide

RULES = load_rules()
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"


@pytest.fixture
def client(tmp_path: Path) -> Engagement:
    folder = tmp_path / "acme"
    folder.mkdir()
    return Engagement("acme", folder, folder, Settings(title="Acme", as_of=date(2026, 11, 1)))


def use_case(**answers: object) -> UseCase:
    return UseCase(id="mails", name="Mails", owner="Ana", description="For a test.", answers=answers)


def parts(form: ipywidgets.VBox) -> tuple[dict[str, ipywidgets.Widget], ipywidgets.Button, ipywidgets.HTML]:
    """Fields by label, the button and the message of a form."""
    *fields, button, message = form.children
    return {f.description.split(" (")[0]: f for f in fields}, button, message


def tags(html: str) -> list[str]:
    """Every element a browser would make of the HTML."""
    seen: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.append(tag)
    parser.feed(html)
    return seen


def first(kind: str) -> object:
    kinds = {(): "number", (True, False): "yes_no"}
    return next(q for q in RULES.questions if kinds.get(q.choices, "choice") == kind)


def test_diagnosis_form_shows_the_answers_given_and_saves_changes(client: Engagement) -> None:
    yes_no, number, choice = first("yes_no"), first("number"), first("choice")
    form = widgets.diagnosis_form(
        client, RULES, use_case(**{yes_no.id: False, number.id: number.low, choice.id: choice.choices[0]})
    )
    fields, button, message = parts(form)
    assert len(fields) == len(RULES.questions)
    assert (fields[yes_no.label].label, fields[number.label].value, fields[choice.label].value) == (
        "no",
        str(number.low),
        choice.choices[0],
    )
    assert message.value.startswith("<i>Not saved yet") and not client.forms.exists()
    fields[yes_no.label].label = "yes"
    fields[choice.label].label = "not known"
    button.click()
    saved = widgets.saved_form(client, "diagnosis_mails")
    assert set(saved) == {q.id for q in RULES.questions}
    assert (saved[yes_no.id], saved[number.id], saved[choice.id]) == (True, number.low, None)
    assert message.value == "Saved to acme/forms/diagnosis_mails.json. Run the next cell."


def test_saved_answers_come_back_into_the_form(client: Engagement) -> None:
    yes_no = first("yes_no")
    _, button, _ = parts(widgets.diagnosis_form(client, RULES, use_case(**{yes_no.id: True})))
    button.click()
    fields, _, _ = parts(widgets.diagnosis_form(client, RULES, use_case(**{yes_no.id: False})))
    assert fields[yes_no.label].label == "yes", "what was saved goes before what the file says"


@pytest.mark.parametrize("text", ["many", "1,000", "-1", "1e400", "nan"])
def test_a_number_that_is_none_or_out_of_range_is_not_saved_and_said(client: Engagement, text: str) -> None:
    number = first("number")
    fields, button, message = parts(widgets.diagnosis_form(client, RULES, use_case()))
    fields[number.label].value = text
    button.click()
    assert message.value.startswith("<b>Not done:</b>") and text in message.value
    assert widgets.saved_form(client, "diagnosis_mails") == {}


def test_what_a_person_types_is_escaped_in_the_message(client: Engagement) -> None:
    fields, button, message = parts(widgets.diagnosis_form(client, RULES, use_case()))
    fields[first("number").label].value = EVIL
    button.click()
    assert tags(message.value) == ["b"] and "&lt;script&gt;" in message.value


def test_a_folder_that_cannot_be_written_is_said_in_the_form(
    client: Engagement, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: str) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(widgets, "write_atomic", full)
    _, button, message = parts(widgets.diagnosis_form(client, RULES, use_case()))
    button.click()
    assert "Not done" in message.value and "No space left" in message.value


def test_prediction_form_saves_one_value_for_each_person_and_statement(client: Engagement) -> None:
    form = widgets.prediction_form(client, {"refuses": "It refuses", "wins": "It wins"}, ["Ana", "Bo"])
    fields, button, _ = parts(form)
    assert {f.value for f in fields.values()} == {50}
    fields["Bo: It wins"].value = 80
    button.click()
    expected = {"Ana/refuses": 50, "Bo/refuses": 50, "Ana/wins": 50, "Bo/wins": 80}
    assert widgets.saved_form(client, "predictions") == expected
    assert {k: f.value for k, f in parts(widgets.prediction_form(client, {"wins": "It wins"}, ["Bo"]))[0].items()} == {
        "Bo: It wins": 80
    }


@pytest.mark.parametrize("content", [b"{", b"", b"[1, 2]", b"\xff\xfe", b"12"])
def test_a_damaged_form_file_is_named_with_what_to_do(client: Engagement, content: bytes) -> None:
    client.forms.mkdir()
    (client.forms / "predictions.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"predictions\.json is damaged: delete it and save the form again"):
        widgets.saved_form(client, "predictions")


def test_a_form_never_saved_is_empty(client: Engagement) -> None:
    assert widgets.saved_form(client, "predictions") == {}


def test_saved_form_is_readable_json_with_names_as_written(client: Engagement) -> None:
    _, button, _ = parts(widgets.prediction_form(client, {"wins": "It wins"}, ["Zoë"]))
    button.click()
    text = (client.forms / "predictions.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"Zoë/wins": 50} and "Zoë" in text


# ------------------------------------------------------------------------------------------------------- question box


def test_ask_box_shows_the_answer_with_the_cited_sentence_marked() -> None:
    answerer, asked = make_answerer(passage("1", "A deposit of $150 is due. Keep calm.", "rental.md", "Deposit")), []
    box = widgets.ask_box(answerer, "How much?", lambda text: asked.append(text) or answerer.ask(text))
    (question, button), shown = box.children[0].children, box.children[1]
    assert question.value == "How much?" and "press Ask" in shown.value
    question.value = "How much is the deposit?"
    button.click()
    assert "<mark>A deposit of $150 is due.</mark> Keep calm." in shown.value
    assert "<summary>rental.md, Deposit</summary>" in shown.value
    assert asked == ["How much is the deposit?"], "the given function answers, so that the query log is written"


@pytest.mark.parametrize("text", ["", "x" * 10_000])
def test_ask_box_says_what_is_wrong_with_a_question(text: str) -> None:
    answerer = make_answerer(passage("1", "Text."))
    box = widgets.ask_box(answerer, "", answerer.ask)
    box.children[0].children[0].value = text
    box.children[0].children[1].click()
    assert box.children[1].value.startswith("<b>Not done:</b> the question has")


def test_hostile_text_in_document_source_and_question_stays_text() -> None:
    answerer = make_answerer(passage("1", f"Deposit {EVIL} & more.\nSecond <b>line</b>.", f"{EVIL}.md", EVIL))
    html = widgets.answer_html(answerer.ask(f"deposit {EVIL}"), answerer)
    assert set(tags(html)) <= {"p", "b", "details", "summary", "mark", "br"}
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in html and "<script" not in html and "<img" not in html


def test_hostile_question_stays_text_in_a_refusal() -> None:
    answerer = make_answerer(passage("1", "Text."), intercept=-9.0)
    answer = answerer.ask("Is there <script>helicopterload()</script>?").model_copy(
        update={"reason": f"no passage mentions: {EVIL}"}
    )
    html = widgets.answer_html(answer, answerer)
    assert tags(html) == ["p", "b"] and "&lt;img" in html


# ---------------------------------------------------------------------------------- live views, sign-off, two tabs


def test_two_tabs_on_one_form_never_overwrite_each_other(client: Engagement) -> None:
    one, two = (parts(widgets.prediction_form(client, {"wins": "It wins"}, ["Bo"])) for _ in range(2))
    one[0]["Bo: It wins"].value = 80
    one[1].click()
    two[1].click()
    assert "somebody saved this form after you opened it" in two[2].value
    assert widgets.saved_form(client, "predictions") == {"Bo/wins": 80}
    one[1].click()
    one[1].click()
    assert one[2].value.startswith("Saved to"), "the tab that saved may save again, and twice"


def test_asking_twice_asks_once_and_the_button_comes_back() -> None:
    answerer, asked = make_answerer(passage("1", "A deposit of $150 is due.")), []
    box = widgets.ask_box(answerer, "How much is the deposit?", lambda text: asked.append(text) or answerer.ask(text))
    button = box.children[0].children[1]
    button.click()
    button.click()
    assert len(asked) == 1 and not button.disabled


CASE = {"tokens_saved": 1400, "calls_per_month": 1e7, "price_per_million": 0.15, "upfront": 9800, "cadence_months": 4}


def test_sliders_say_the_payback_and_draw_it_again_when_moved() -> None:
    view = widgets.break_even_sliders(CASE, 24, 4, "USD")
    calls, _, shown = view.children
    first = shown.value
    assert "Saves 2,100.00 USD a month; payback: after 4.7 months" in first and "data:image/png" in first
    calls.value = 1e6
    assert "payback: after 46.7 months" in shown.value and shown.value.split("src=")[1] != first.split("src=")[1]


def test_a_slider_position_that_cannot_be_computed_is_said_where_the_person_looks() -> None:
    _, price, shown = (view := widgets.break_even_sliders(CASE, 24, 4, "USD")).children
    price.value = 0
    assert shown.value.startswith("<b>Not done:</b> price_per_million is 0"), view


def test_failure_browser_shows_the_chosen_failure_as_text() -> None:
    choice, shown = widgets.failure_browser({"Q1": {"asked": EVIL, "right": "$5"}, "Q2": {"asked": "When?"}}).children
    assert tags(shown.value) == ["p", "b", "br", "p", "b", "br"] and "$5" in shown.value
    choice.value = "Q2"
    assert "When?" in shown.value and "$5" not in shown.value
    assert "No failures" in widgets.failure_browser({}).children[0].value


def test_adapter_toggle_says_what_is_said_on_each_side() -> None:
    view = widgets.adapter_toggle("a bed", lambda text, adapter: f"{text}: {'B2' if adapter else 'A1'} {EVIL}")
    text, switch, shown = view.children
    assert "a bed: A1" in shown.value and tags(shown.value) == ["p"]
    switch.value = True
    assert "a bed: B2" in shown.value
    text.value = "a lift"
    assert "a lift: B2" in shown.value


def test_sign_off_needs_a_name_and_a_reason_and_keeps_the_gates_sentence(client: Engagement) -> None:
    check = Check(question="an owner", found="no", required="yes", passed=False, evidence="client")
    gate = decide("May we?", [check])
    fields, button, message = parts(widgets.sign_off_form(client, "sign_off_06", gate, ["accept", "override"]))
    button.click()
    assert "name and reason still empty" in message.value and widgets.saved_form(client, "sign_off_06") == {}
    fields["name"].value, fields["reason"].value, fields["decision"].value = " Ana ", "a demonstration", "override"
    button.click()
    given = {"name": "Ana", "reason": "a demonstration", "decision": "override", "gate": gate.sentence}
    assert widgets.saved_form(client, "sign_off_06") == given
    again, _, _ = parts(widgets.sign_off_form(client, "sign_off_06", gate, ["accept", "override"]))
    assert [field.value for field in again.values()] == ["Ana", "a demonstration", "override"]


def test_portfolio_form_holds_every_use_cases_own_form(client: Engagement) -> None:
    forms = widgets.portfolio_form(client, RULES, [use_case(), use_case().model_copy(update={"id": "b", "name": "B"})])
    assert [forms.get_title(n) for n in (0, 1)] == ["Mails (Ana)", "B (Ana)"]
    parts(forms.children[1])[1].click()
    assert widgets.saved_form(client, "diagnosis_b") and not widgets.saved_form(client, "diagnosis_mails")


def test_every_widget_has_a_visible_label() -> None:
    for field in (*widgets.break_even_sliders(CASE, 24, 4, "USD").children[:-1],
                  *widgets.adapter_toggle("a", lambda text, adapter: text).children[:-1]):  # fmt: skip
        assert field.description
