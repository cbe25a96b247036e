"""Answers with a fixed shape: forms filled from messages. (Replies held to a style guide: `arms`.)

A filler turns a message into a form: written pattern rules, or a chat model held to the form's JSON schema. Forms are
judged by schema and by field. Knows no client: fields, codes and wordings are data.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from playbook.arms import FLAGS, Output, by_arm
from playbook.checked import Frozen, build
from playbook.classifiers import held_to
from playbook.evaluation import share_of
from playbook.items import Example

Schema = dict[str, Any]
Filler = Callable[[str], tuple[str, int]]  # message -> the form as JSON, and the tokens it took
SPLITS = {"train": "train", "tune": "tune", "test": "test", "held_out": "test"}  # what a line of the file may say
WRITTEN = {"lower": str.lower, "upper": str.upper, "number": int}
Way = tuple[str, Any] | tuple[str, Any, str]  # pattern, value, and the pattern that must not match


class FormRules(Frozen):
    """A client's rules for one form; `instructions` tell a chat model what they are.

    `fields`: the ways to fill each field, best first; null when none applies. `<name>` in a pattern is `names[name]`. In
    a value that is a text, `{0}` is the whole match and `{1}` its first group; groups go through the table `words`.
    `written`: fields whose text is put in lower or upper case, or read as a whole number.
    """

    instructions: str
    words: dict[str, str | int]
    names: dict[str, str]
    written: dict[str, Literal["lower", "upper", "number"]] = {}
    fields: dict[str, tuple[Way, ...]]


def load_forms(path: Path) -> list[Example]:
    """Messages, each labelled with the form an expert filled from it, as JSON; without a file, the list is empty.

    A line of the file is a chat: `{"id", "split", "messages": [user, assistant]}`. Raises ValueError naming file and line
    for a line that is not of this shape, or whose reply is no JSON object.
    """
    forms = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], start=1):
        try:
            row = json.loads(line)
            text, filled = (message["content"] for message in row["messages"])
            row |= {"split": SPLITS[row["split"]], "text": text, "label": json.dumps({**json.loads(filled)})}
            forms.append(build(Example, row, "the pair"))
        except (ValueError, TypeError, KeyError) as error:
            shape = '{"id", "split", "messages": [user, assistant]}, the reply being one JSON object'
            raise ValueError(f"{path.name} line {number} is damaged ({error!r:.120}); write {shape}.") from error
    return forms


def pattern_rules(rules: FormRules) -> Filler:
    """A filler that reads each field off the message by the client's written rules: no model, no tokens.

    A field filled earlier is a line `name: value` below the message, so that later rules can look at it. A field whose
    name begins with `_` only serves the others. The filler raises ValueError naming a pattern that cannot work.
    """

    def fill(text: str) -> tuple[str, int]:
        form: dict[str, Any] = {}
        for name in rules.fields:
            form[name] = next(_values(name, rules, text), None)
            text += f"\n{name}: {form[name]}"
        return json.dumps({name: value for name, value in form.items() if name[0] != "_"}), 0

    return fill


def _values(name: str, rules: FormRules, text: str) -> Iterator[Any]:
    """What each way that applies makes of a field."""
    named = partial(re.sub, "<([a-z]+)>", lambda found: rules.names[found[1]])
    write = WRITTEN.get(rules.written.get(name), str)
    for pattern, value, *unless in rules.fields[name]:
        try:
            found, *against = (re.search(named(one), text, FLAGS) for one in (pattern, *unless))
            if found and not any(against):
                groups = [rules.words.get(part.lower(), part) for part in (found[0], *found.groups(""))]
                yield write(value.format(*groups).strip()) if isinstance(value, str) else value
        except (re.error, KeyError, IndexError, ValueError) as error:
            raise ValueError(f"pattern '{pattern}' fails ({error!r:.80}); correct it in the form's rules.") from error


def schema_constrained(chat: Any, schema: Schema, instructions: str) -> Filler:
    """A filler that asks a LangChain chat model, held to the schema by the provider's structured output.

    A reply that is cut off or does not parse is kept as it is, and counts as wrong; an error of the connection is raised.
    Raises ValueError without a chat model.
    """
    held = held_to(chat, {**schema, "title": "form"})  # providers take the title for a name, so it holds no space
    return lambda message: held([("system", instructions), ("human", message)])


def fill_forms(arm: str, forms: Sequence[Example], schema: Schema, fill: Filler) -> list[Output]:
    """Run one arm over messages; right is a form that the schema accepts with every field as expected."""
    rows = []
    for form in forms:
        started = time.perf_counter()
        output, tokens = fill(form.text)
        used = {"tokens": tokens, "milliseconds": 1000 * (time.perf_counter() - started)}
        right = all(_fields_right(output, form.label).values()) and not form_violations(output, schema)
        rows.append(Output(item=form.id, arm=arm, output=output, expected=form.label, correct=right, **used))
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


def _fields_right(output: str, expected: str) -> dict[str, bool]:
    """Field -> whether it is there with the same value and type (1, true and "1" are three values)."""
    form = {} if form_violations(output, {"type": "object"}) else json.loads(output)
    wanted = json.loads(expected)
    return {name: name in form and json.dumps(form[name]) == json.dumps(value) for name, value in wanted.items()}


def score_forms(outputs: Sequence[Output], schema: Schema) -> list[dict[str, Any]]:
    """The forms table: one row an arm, every share a Proportion with its Wilson interval.

    `arm`; `exact`: forms right in every field and valid; `valid`: forms the schema accepts; `fields`: fields right;
    `by_field`: the same for each field by name.
    """
    table = []
    for arm, rows in by_arm(outputs).items():
        right = [_fields_right(row.output, row.expected) for row in rows]
        score: dict[str, Any] = {"arm": arm, "exact": share_of([row.correct for row in rows])}
        score["valid"] = share_of([not form_violations(row.output, schema) for row in rows])
        score["fields"] = share_of([flag for fields in right for flag in fields.values()])
        names = dict.fromkeys(name for fields in right for name in fields)
        score["by_field"] = {name: share_of([fields[name] for fields in right if name in fields]) for name in names}
        table.append(score)
    return table
