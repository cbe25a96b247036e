"""Forms for the moments that need hands. The only module that imports ipywidgets; it decides nothing.

Every form shows its defaults, saves on click to the client's `forms` folder, says what it saved in a text line, and has
a plain-code twin in the next cell. Uses only what ipywidgets 7.7 and 8 share; no Output, no interact, because nbval
and saved notebooks cannot follow those. Client text is escaped before it is shown as HTML.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from html import escape
from typing import Any

import ipywidgets as w

from playbook.answering import Answer, Answerer
from playbook.diagnosis import Question, RuleTable, UseCase
from playbook.engagement import Engagement, write_atomic

WIDE, LINE = {"description_width": "340px"}, w.Layout(width="760px")


def saved_form(client: Engagement, name: str) -> dict[str, Any]:
    """What was saved from the form `name`, or an empty dict; raises ValueError naming a damaged file."""
    path = client.forms / f"{name}.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")).items())
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: delete it and save the form again.") from error


def _form(client: Engagement, name: str, fields: Mapping[str, w.Widget], read: Callable[[], dict[str, Any]]) -> w.VBox:
    opened = [saved_form(client, name)]

    def save() -> str:
        answers = read()
        if saved_form(client, name) != opened[-1]:  # two browser tabs on one engagement
            raise ValueError("somebody saved this form after you opened it. Run this cell again to see those answers")
        path = write_atomic(client.forms / f"{name}.json", json.dumps(answers, indent=1, ensure_ascii=False))
        opened.append(saved_form(client, name))
        return f"Saved to {escape(str(path.relative_to(client.work.parent)))}. Run the next cell."

    idle = "Not saved yet: the next cell uses the stored or default answers."
    return w.VBox([*fields.values(), *_button("Save answers", save, idle)])


def _button(label: str, act: Callable[[], str], idle: str) -> tuple[w.Button, w.HTML]:
    """A button, and below it what `act` says as HTML, or what has to be corrected."""
    button, message = w.Button(description=label), w.HTML(f"<i>{idle}</i>")

    def click(_: w.Button) -> None:
        button.disabled = True  # until it is done, so that nobody wonders whether the click was heard
        try:
            message.value = act()
        except (OSError, ValueError) as error:  # shown where the person looks; a callback's traceback is invisible
            message.value = f"<b>Not done:</b> {escape(str(error))}"
        button.disabled = False

    button.on_click(click)
    return button, message


def portfolio_form(client: Engagement, rules: RuleTable, use_cases: Sequence[UseCase]) -> w.Accordion:
    """The diagnosis form of every use case, one below the other, each closed until it is wanted."""
    forms = w.Accordion([diagnosis_form(client, rules, use_case) for use_case in use_cases], selected_index=None)
    for number, use_case in enumerate(use_cases):
        forms.set_title(number, f"{use_case.name} ({use_case.owner})")
    return forms


def diagnosis_form(client: Engagement, rules: RuleTable, use_case: UseCase) -> w.VBox:
    """The diagnostic questions for one use case, filled with its answers; saved as form `diagnosis_<id>`."""
    form = f"diagnosis_{use_case.id}"
    stored = {**use_case.answers, **saved_form(client, form)}
    fields = {q.id: _question(q, stored.get(q.id)) for q in rules.questions}
    return _form(client, form, fields, lambda: {q.id: _answer(q, fields[q.id].value) for q in rules.questions})


def _question(question: Question, answer: Any) -> w.Widget:
    said = {"description": question.label, "style": WIDE, "layout": LINE}
    if not question.choices:
        said["description"] += f" ({question.unit})" if question.unit else ""
        return w.Text(value="" if answer is None else str(answer), placeholder="not known", **said)
    options = [("not known", ""), *((question.show(option), option) for option in question.choices)]
    return w.Dropdown(options=options, value="" if answer is None else answer, **said)


def _answer(question: Question, value: Any) -> Any:
    if not question.choices:
        with suppress(ValueError):  # what is no number stays a text, and that is no answer to this question
            value = float(value) if "." in value else int(value)
    answer = None if value == "" else value
    if problem := question.problem(answer):
        raise ValueError(f"{question.label}: {problem}.")
    return answer


def prediction_form(client: Engagement, statements: dict[str, str], people: Sequence[str]) -> w.VBox:
    """One slider per person and statement (0 to 100 %), saved as form `predictions` before anything is measured."""
    stored = saved_form(client, "predictions")
    fields = {
        f"{person}/{key}": w.IntSlider(
            value=int(stored.get(f"{person}/{key}", 50)), min=0, max=100, step=5, description=f"{person}: {text}",
            style={"description_width": "700px"}, layout=w.Layout(width="1040px"),
        )
        for key, text in statements.items() for person in people
    }  # fmt: skip
    return _form(client, "predictions", fields, lambda: {key: field.value for key, field in fields.items()})


def ask_box(answerer: Answerer, example: str, ask: Callable[[str], Answer]) -> w.VBox:
    """A question box: answer with citations and each passage with the cited sentence marked, or the refusal.

    `ask` gives the answer, for instance `knowledge.ask_logged`, which also writes the query log; the same question is
    asked once only, however often the button is pressed.
    """
    asked, box = cache(ask), w.Text(value=example, description="Question", layout=LINE)
    button, shown = _button("Ask", lambda: answer_html(asked(box.value), answerer), "Type a question and press Ask.")
    return w.VBox([w.HBox([box, button]), shown])


def answer_html(answer: Answer, answerer: Answerer) -> str:
    """An answer as inert HTML: quotes, where they stand, and the passage with the cited sentence marked."""
    if answer.refused:
        return f"<p><b>No answer.</b> {escape(answer.reason)}.</p>"
    parts = [f"<p><b>{escape(answer.text)}</b></p>"]
    for citation in answer.citations:
        text = answerer.retriever.store.get_by_ids([citation.passage_id])[0].page_content
        before, quote, after = text[: citation.start], citation.quote, text[citation.end :]
        passage = f"{escape(before)}<mark>{escape(quote)}</mark>{escape(after)}".replace("\n", "<br>")
        parts.append(f"<details><summary>{escape(str(citation))}</summary><p>{passage}</p></details>")
    return "".join(parts)
