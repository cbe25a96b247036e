"""Answers with a fixed shape: forms filled from messages, and replies held to a style guide.

A filler turns a message into a form: written pattern rules, or a chat model held to the form's JSON schema. Forms are
judged by schema and by field, replies by rules of one shape. Knows no client: fields, codes and wordings are data.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import UsageMetadataCallbackHandler
from pydantic import Field

from playbook.arms import Output
from playbook.checked import Frozen
from playbook.chunking import sentence_spans
from playbook.evaluation import Proportion, proportion

Schema = Mapping[str, Any]
Filler = Callable[[str], tuple[str, int]]  # message -> the form as JSON, and the tokens it took
Scope = Literal["reply", "subject", "body", "paragraph", "last_paragraph", "sentence", "first_two_sentences"]
NEVER = "(?!)"  # a pattern that matches nothing


class Form(Frozen):
    """One message and the form an expert filled from it."""

    id: str
    split: Literal["train", "tune", "test"]
    text: str = Field(min_length=1)
    expected: dict[str, Any]


class Way(Frozen):
    """One way to fill a field: where `pattern` matches and `unless` does not, `value`, or the match written as `format`.

    `{0}` in the format is the whole match, `{1}` its first group; groups go through the table `words` first.
    """

    pattern: str
    unless: str = NEVER
    value: Any = None
    format: str = "{0}"
    written: Literal["as_is", "lower", "upper", "number"] = "as_is"


class FormRules(Frozen):
    """A client's rules for one form; `instructions` tell a chat model what they are.

    `fields`: the ways to fill each field, best first; null when none applies. `<name>` in a pattern is `names[name]`.
    """

    instructions: str
    words: dict[str, str | int]
    names: dict[str, str]
    fields: dict[str, tuple[Way, ...]]


class FormScore(Frozen):
    """One line of the forms table: forms right in every field and valid, forms the schema accepts, fields right."""

    arm: str
    exact: Proportion
    valid: Proportion
    fields: Proportion
    by_field: dict[str, Proportion]


class StyleRule(Frozen):
    """In every text of `scope`, one of `patterns` occurs `low` to `high` times.

    It holds only where `when` matches and `unless` does not: in that text, or in the texts of `when_in`.
    """

    id: str
    guide: str
    words: str
    scope: Scope
    patterns: tuple[str, ...] = Field(min_length=1)
    low: int = 0
    high: int = 9999
    when: str = ""
    unless: str = NEVER
    when_in: Scope | None = None
    case_sensitive: bool = False


class StyleGuide(Frozen):
    """The rules a program can check, and the patterns of what stands before and after the body of a reply."""

    source: str
    edition: str
    opening: str
    closing: str
    rules: tuple[StyleRule, ...]


def load_forms(path: Path) -> list[Form]:
    """Forms from chat lines `{"id", "split", "messages": [user, assistant]}`; without a file, the list is empty.

    Raises ValueError naming file and line for a line that is not of this shape, or whose reply is no JSON object.
    """
    forms = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], start=1):
        try:
            row = json.loads(line)
            text, filled = (message["content"] for message in row["messages"])
            split = row["split"].replace("held_out", "test")
            forms.append(Form(id=row["id"], split=split, text=text, expected=json.loads(filled)))
        except (ValueError, TypeError, KeyError) as error:
            shape = '{"id", "split", "messages": [user, assistant]}, the reply being one JSON object'
            fault = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{path.name} line {number} is damaged ({fault:.120}); write {shape}.") from error
    return forms


def pattern_rules(rules: FormRules) -> Filler:
    """A filler that reads each field off the message by the client's written rules: no model, no tokens.

    A field filled earlier is a line `name: value` below the message, so that later rules can look at it. A field whose
    name begins with `_` only serves the others.
    """

    def fill(text: str) -> tuple[str, int]:
        form: dict[str, Any] = {}
        for name, ways in rules.fields.items():
            found = (_read(way, rules, text) for way in ways)
            form[name] = next((value for value in found if value is not None), None)
            text += f"\n{name}: {form[name]}"
        return json.dumps({name: value for name, value in form.items() if name[0] != "_"}), 0

    return fill


def _read(way: Way, rules: FormRules, text: str) -> Any:
    named = partial(re.sub, r"<([a-z]+)>", lambda found: rules.names[found[1]])
    try:
        found = re.search(named(way.pattern), text, re.I | re.M)
        if not found or re.search(named(way.unless), text, re.I | re.M):
            return None
        groups = [rules.words.get(part.lower(), part) for part in (found[0], *found.groups(""))]
        value = way.format.format(*groups).strip()
        as_written = {"as_is": str, "lower": str.lower, "upper": str.upper, "number": int}[way.written]
        return as_written(value) if way.value is None else way.value
    except (re.error, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"pattern '{way.pattern}' fails ({error!r:.80}); correct it in the form's rules.") from error


def schema_constrained(chat: Any, schema: Schema, instructions: str) -> Filler:
    """A filler that asks a LangChain chat model, held to the schema by the provider's structured output.

    A reply that is cut off or does not parse is kept as it is, and counts as wrong; an error of the connection is raised.
    Raises ValueError without a chat model.
    """
    if chat is None:
        raise ValueError("schema_constrained is n/a without a chat model; choose a profile with one in settings.yaml.")
    # providers take the title for a name, so it holds no space
    held = chat.with_structured_output({**schema, "title": "form"})

    def fill(text: str) -> tuple[str, int]:
        used = UsageMetadataCallbackHandler()
        try:
            form = held.invoke([("system", instructions), ("human", text)], {"callbacks": [used]})
            output = json.dumps(form)
        except Exception as error:  # each provider has errors of its own; those about a request say which one
            if isinstance(error, OSError) or hasattr(error, "request") or hasattr(error, "status_code"):
                raise
            output = getattr(error, "llm_output", None) or f"(no form: {error})"
        return output, sum(one["total_tokens"] for one in used.usage_metadata.values())

    return fill


def fill_forms(arm: str, forms: Sequence[Form], schema: Schema, fill: Filler) -> list[Output]:
    """Run one arm over messages; right is a form that the schema accepts with every field as expected."""
    rows = []
    for form in forms:
        started = time.perf_counter()
        output, tokens = fill(form.text)
        took = {"tokens": tokens, "milliseconds": 1000 * (time.perf_counter() - started)}
        right = all(_fields_right(output, form.expected).values()) and not form_violations(output, schema)
        rows.append(
            Output(item=form.id, arm=arm, output=output, expected=json.dumps(form.expected), correct=right, **took)
        )
    return rows


def form_violations(output: str, schema: Schema) -> list[str]:
    """What the schema refuses in a form written as JSON, formats such as dates included; one line each, empty if nothing."""
    import jsonschema

    try:
        form = json.loads(output)
    except ValueError as error:
        return [f"not JSON: {error}"]
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(form)]


def _fields_right(output: str, expected: Mapping[str, Any]) -> dict[str, bool]:
    """Field -> whether it is there with the same value and type (1, true and "1" are three values)."""
    try:
        form = json.loads(output)
    except ValueError:
        form = None
    form = form if isinstance(form, dict) else {}
    return {name: name in form and json.dumps(form[name]) == json.dumps(value) for name, value in expected.items()}


def score_forms(outputs: Sequence[Output], schema: Schema) -> list[FormScore]:
    """The forms table: one line an arm, every share with its Wilson interval."""
    table = []
    for arm in dict.fromkeys(row.arm for row in outputs):
        rows = [row for row in outputs if row.arm == arm]
        right = [_fields_right(row.output, json.loads(row.expected)) for row in rows]
        names = dict.fromkeys(name for fields in right for name in fields)
        score = FormScore(
            arm=arm,
            exact=_share(row.correct for row in rows),
            valid=_share(not form_violations(row.output, schema) for row in rows),
            fields=_share(flag for fields in right for flag in fields.values()),
            by_field={name: _share(fields[name] for fields in right if name in fields) for name in names},
        )
        table.append(score)
    return table


def _share(flags: Iterable[bool]) -> Proportion:
    counted = list(flags)
    return proportion(sum(counted), len(counted))


def style_violations(reply: str, guide: StyleGuide) -> list[str]:
    """Ids of the rules that a reply breaks, in the guide's order."""
    texts = _texts(reply, guide)
    return [rule.id for rule in guide.rules if any(_breaks(rule, text, texts) for text in texts[rule.scope])]


def _texts(reply: str, guide: StyleGuide) -> dict[str, list[str]]:
    """Scope -> the texts of a reply it means; a paragraph holds one sentence a line, so that lines can be counted."""
    subject = re.findall(r"^Subject: *(.*)", reply, re.M)
    body = re.sub(rf"\A(?:Subject:.*\n+)?(?:{guide.opening}\n+)?|\n+(?:{guide.closing})\s*\Z", "", reply)
    split = [[part[a:b] for a, b in sentence_spans(part)] for part in re.split(r"\n\s*\n", body)]
    paragraphs, sentences = ["\n".join(part) for part in split if part], [s for part in split for s in part]
    return {
        "reply": [reply], "subject": subject, "body": [body], "paragraph": paragraphs,
        "last_paragraph": paragraphs[-1:], "sentence": sentences, "first_two_sentences": [" ".join(sentences[:2])],
    }  # fmt: skip


def _breaks(rule: StyleRule, text: str, texts: Mapping[str, Sequence[str]]) -> bool:
    flags = re.M if rule.case_sensitive else re.M | re.I
    around = "\n".join(texts[rule.when_in]) if rule.when_in else text
    if not re.search(rule.when, around, flags) or re.search(rule.unless, around, flags):
        return False
    return not rule.low <= len(re.findall("|".join(rule.patterns), text, flags)) <= rule.high
