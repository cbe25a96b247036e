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
from playbook.economics import break_even
from playbook.engagement import Engagement, write_atomic
from playbook.gates import Gate
from playbook.plots import break_even_chart, figure_uri

VOLUMES = [10 ** (n / 8) for n in range(24, 73)]  # calls a month, a thousand to a billion
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
        message.value = _said(act)
        button.disabled = False

    button.on_click(click)
    return button, message


def _said(act: Callable[..., str], **values: Any) -> str:
    """What `act` says as HTML, or its error: shown where the person looks, for a callback's traceback is invisible."""
    try:
        return act(**values)
    except (OSError, ValueError) as error:
        return f"<b>Not done:</b> {escape(str(error))}"


def _live(fields: Mapping[str, w.Widget], show: Callable[..., str]) -> w.VBox:
    """Fields, and below them what `show` makes of their values as HTML: at once, and again at each change."""
    shown = w.HTML()

    def update(_: object = None) -> None:
        shown.value = _said(show, **{name: field.value for name, field in fields.items()})

    for field in fields.values():
        field.observe(update, names="value")
    update()
    return w.VBox([*fields.values(), shown])


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


def break_even_sliders(case: Mapping[str, float], months: int, next_base: float, currency: str) -> w.VBox:
    """Calls a month and token price as sliders; below them payback in words, and the money month by month.

    `case` holds the arguments of `economics.break_even`; `next_base` is in months.
    """
    sliders = {
        "calls_per_month": w.FloatLogSlider(
            value=case["calls_per_month"], min=3, max=9, step=0.1, readout_format=",.0f"
        ),
        "price_per_million": w.FloatSlider(value=case["price_per_million"], min=0, max=20, step=0.05),
    }
    for name, slider in sliders.items():
        slider.description, slider.style, slider.layout = f"{name.replace('_', ' ')}", WIDE, LINE
        slider.continuous_update = False

    def show(**changed: float) -> str:
        result = break_even(**{**case, **changed})
        said = f"Saves {result.saving_per_month:,.2f} {currency} a month; payback: " + (
            "never" if result.months is None else f"after {result.months:.1f} months"
        )
        waits = [(calls, break_even(**{**case, **changed, "calls_per_month": calls}).months) for calls in VOLUMES]
        picture = figure_uri(break_even_chart({"here": result}, {"here": waits}, months, next_base, currency))
        return f'<p><b>{escape(said)}</b></p><img alt="{escape(said)}" src="{picture}" style="max-width:100%">'

    return _live(sliders, show)


def failure_browser(failures: Mapping[str, Mapping[str, object]]) -> w.VBox:
    """One failure at a time, chosen by its name from a list; below it every field with its name."""

    def show(failure: str) -> str:
        fields = failures[failure].items()
        return "".join(f"<p><b>{escape(name)}</b><br>{escape(str(value))}</p>" for name, value in fields)

    if not failures:
        return w.VBox([w.HTML("<i>No failures to show.</i>")])
    return _live({"failure": w.Dropdown(options=list(failures), description="Failure", layout=LINE)}, show)


def adapter_toggle(example: str, say: Callable[[str, bool], str]) -> w.VBox:
    """One text and a switch: what `say(text, adapter)` gives with the adapter off and on."""
    text = w.Text(value=example, description="Text", layout=LINE, continuous_update=False)
    switch = w.ToggleButtons(options=[("off", False), ("on", True)], description="Adapter")
    return _live({"text": text, "adapter": switch}, lambda text, adapter: f"<p>{escape(say(text, adapter))}</p>")


def sign_off_form(client: Engagement, form: str, gate: Gate, decisions: Sequence[str]) -> w.VBox:
    """Who decides what at a gate, and why; saved as form `form` with the gate's own sentence. A name and a reason are needed."""
    stored = saved_form(client, form)
    fields = {
        word: w.Text(value=stored.get(word, ""), description=word, style=WIDE, layout=LINE)
        for word in ("name", "reason")
    }
    fields["decision"] = w.Dropdown(
        options=decisions, value=stored.get("decision", decisions[0]), description="decision", style=WIDE
    )

    def read() -> dict[str, str]:
        given = {word: field.value.strip() for word, field in fields.items()}
        if empty := [word for word, value in given.items() if not value]:
            raise ValueError(f"{' and '.join(empty)} still empty: nobody signs without")
        return given | {"gate": gate.sentence}

    return _form(client, form, fields, read)


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
