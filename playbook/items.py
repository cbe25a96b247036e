"""The client's frozen questions and labelled texts: read from CSV, checked row by row.

Knows the columns and what may stand in them. It does not know how an item is answered or scored.
"""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from playbook.checked import Frozen, Model, build

Filled = Annotated[str, Field(min_length=1)]


def _groups(cell: Any) -> Any:
    """The groups of a cell "a | b; c"; what is no text is left to pydantic."""
    if not isinstance(cell, str):
        return cell
    groups = [[choice.strip() for choice in group.split("|") if choice.strip()] for group in cell.split(";")]
    return [group for group in groups if group]


class Question(Frozen, extra="ignore"):
    """One frozen question. `must_contain`: every group must occur, by any of its alternatives, ignoring case.

    `split`: where the client froze it; empty leaves that to the plan.
    """

    id: Filled
    question: Filled
    expected_answer: str
    must_contain: Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_groups)]
    source: str
    section: str = ""
    type: str = ""
    answerable: bool
    required_form: str = ""
    split: Literal["", "tune", "test"] = ""

    @model_validator(mode="after")
    def _can_be_judged(self) -> "Question":
        if self.answerable and not self.must_contain:
            raise ValueError(f"question {self.id} is answerable but must_contain is empty; give its key strings")
        return self


class Example(Frozen, extra="ignore"):
    """One labelled text."""

    id: Filled
    text: Filled
    label: Filled
    split: Literal["", "train", "tune", "test"] = ""


class Code(Frozen, extra="ignore"):
    """One entry of the client's code book: the code, its name, what it means, and examples given there."""

    code: Filled
    label: str
    definition: str


def read_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV as (line number, values), empty rows left out.

    Raises ValueError naming the file, the line and the fix: missing file or columns, not UTF-8, wrong cell count.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is not there: expected at {path}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path.name} line {line} is not UTF-8: save the file as 'CSV UTF-8' and try again.") from None
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    header = [name.strip().lower() for name in next(reader, [])]
    if missing := [c for c in columns if c not in header]:
        has = ", ".join(header) or "nothing"
        raise ValueError(f"{path.name} line 1 lacks the column(s) {', '.join(missing)}; it has: {has}.")
    try:
        rows = [(reader.line_num, [c.strip() for c in cells]) for cells in reader if any(c.strip() for c in cells)]
    except csv.Error as error:  # most often a quote that never closes swallows the rest of the file
        raise ValueError(f"{path.name} line {reader.line_num}: {error}; look for a quote left open.") from error
    for line, cells in rows:
        if len(cells) != len(header):
            odd = f"{path.name} line {line} has {len(cells)} cells, the header {len(header)}"
            raise ValueError(f"{odd}: quote texts that hold a comma.")
    if not rows:
        raise ValueError(f"{path.name} has a header but no rows.")
    return [(line, dict(zip(header, cells, strict=True))) for line, cells in rows]


def _load(path: Path, model: type[Model], key: str, unnamed: bool = False) -> list[Model]:
    """A checked model for each row, no two with the same `key`; `unnamed`: without one, a row is named by its line."""
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    found: dict[str, tuple[int, Model]] = {}
    for line, row in read_rows(path, tuple(name for name in required if name != key or not unnamed)):
        where = f"{path.name} line {line}"
        name = row[key] = row.get(key) or (f"row{line}" if unnamed else "")
        if name in found:
            raise ValueError(f"{where}: {key} '{name}' is used already on line {found[name][0]}; give each its own.")
        found[name] = line, build(model, row, where)
    return [entry for _, entry in found.values()]


def load_questions(path: Path | None) -> list[Question]:
    """Frozen questions from CSV (columns: id, question, expected_answer, must_contain, source, answerable, ...).

    A client without questions has no file, or no path to one: then the list is empty. Raises ValueError naming file, line
    and fix for missing columns, duplicate ids, empty questions, an answerable question without key strings, or an
    `answerable` that is neither yes nor no.
    """
    return _load(path, Question, "id") if path and path.exists() else []


def load_examples(path: Path | None) -> list[Example]:
    """Labelled texts from CSV (columns: text, label, optionally id).

    A client without examples has no file, or no path to one: then the list is empty. Raises ValueError naming file, line
    and fix for missing columns, an empty text or label, or duplicate ids.
    Duplicated or doubtful texts are not an error here: notebook 07 reports them.
    """
    return _load(path, Example, "id", unnamed=True) if path and path.exists() else []


def load_codebook(path: Path, examples: list[Example]) -> list[Code]:
    """The code book (columns: code, label, definition); without a file, the labels themselves with no definition.

    Raises ValueError for a code that stands twice, and for a label of the examples that the code book lacks.
    """
    if not path.is_file():
        return [Code(code=c, label=c, definition="") for c in sorted({e.label for e in examples})]
    codes = _load(path, Code, "code")
    if unknown := Counter(e.label for e in examples if e.label not in {c.code for c in codes}):
        name, count = unknown.most_common(1)[0]
        raise ValueError(f"{path.name} lacks code '{name}', which {count} example(s) carry; add it or fix the labels.")
    return codes
