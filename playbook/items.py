"""The client's frozen questions and labelled texts: read from CSV, checked row by row.

Knows the columns and what may stand in them. It does not know how an item is answered or scored.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

QUESTION_COLUMNS = ("id", "question", "expected_answer", "must_contain", "source", "answerable")
EXAMPLE_COLUMNS = ("text", "label")
CODE_COLUMNS = ("code", "label", "definition")
YES = {"yes", "true", "1", "y"}
NO = {"no", "false", "0", "n"}


class Question(BaseModel):
    """One frozen question. `must_contain`: every group must occur, by any of its alternatives, ignoring case."""

    model_config = ConfigDict(frozen=True)
    id: str
    question: str
    expected_answer: str
    must_contain: tuple[tuple[str, ...], ...]
    source: str
    section: str = ""
    type: str = ""
    asked_by: str = ""
    answerable: bool


class Example(BaseModel):
    """One labelled text."""

    model_config = ConfigDict(frozen=True)
    id: str
    text: str
    label: str


class Code(BaseModel):
    """One entry of the client's code book: the code, its name, what it means, and examples given there."""

    model_config = ConfigDict(frozen=True)
    code: str
    label: str
    definition: str


def read_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV as (line number, values), empty rows left out.

    Raises ValueError naming the file, the line and the fix: missing file or columns, not UTF-8, wrong cell count.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is not there: expected at {path}.")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path.name} line {line} is not UTF-8: save the file as 'CSV UTF-8' and try again.") from None
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    header = [name.strip().lower() for name in next(reader, [])]
    missing = [c for c in columns if c not in header]
    if missing:
        raise ValueError(
            f"{path.name} line 1 lacks the column(s) {', '.join(missing)}; it has: {', '.join(header) or 'nothing'}."
        )
    rows = []
    for cells in _cells(reader, path):
        if not any(c.strip() for c in cells):
            continue
        if len(cells) != len(header):
            raise ValueError(
                f"{path.name} line {reader.line_num} has {len(cells)} cells, the header {len(header)}: quote texts that hold a comma."
            )
        rows.append((reader.line_num, {h: c.strip() for h, c in zip(header, cells, strict=True)}))
    if not rows:
        raise ValueError(f"{path.name} has a header but no rows.")
    return rows


def _cells(reader: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:  # most often a quote that never closes swallows the rest of the file
        raise ValueError(
            f"{path.name} line {reader.line_num}: {error}; look for a quote that is not closed."
        ) from error


def load_questions(path: Path) -> list[Question]:
    """Frozen questions from CSV (columns: id, question, expected_answer, must_contain, source, answerable, ...).

    A client without questions has no file: then the list is empty. Raises ValueError naming file, line
    and fix for missing columns, duplicate ids, empty questions, an answerable question without key strings, or an
    `answerable` that is neither yes nor no.
    """
    if not path.exists():
        return []
    questions, lines = [], {}
    for line, row in read_rows(path, QUESTION_COLUMNS):
        where = f"{path.name} line {line}"
        if not row["id"] or row["id"] in lines:
            other = f" (also on line {lines[row['id']]})" if row["id"] else ""
            raise ValueError(f"{where}: id '{row['id']}' is empty or used twice{other}; give each question its own id.")
        lines[row["id"]] = line
        if not row["question"]:
            raise ValueError(f"{where}: question {row['id']} is empty.")
        if row["answerable"].lower() not in YES | NO:
            raise ValueError(f"{where}: answerable is '{row['answerable']}'; write yes or no.")
        answerable = row["answerable"].lower() in YES
        groups = [tuple(a.strip() for a in g.split("|") if a.strip()) for g in row["must_contain"].split(";")]
        groups = tuple(g for g in groups if g)
        if answerable and not groups:
            raise ValueError(
                f"{where}: question {row['id']} is answerable but must_contain is empty; give its key strings."
            )
        questions.append(Question.model_validate({**row, "answerable": answerable, "must_contain": groups}))
    return questions


def load_examples(path: Path) -> list[Example]:
    """Labelled texts from CSV (columns: text, label, optionally id).

    A client without examples has no file: then the list is empty. Raises ValueError naming file, line
    and fix for missing columns, an empty text or label, or duplicate ids.
    Duplicated or doubtful texts are not an error here: notebook 07 reports them.
    """
    if not path.exists():
        return []
    examples, seen = [], set()
    for line, row in read_rows(path, EXAMPLE_COLUMNS):
        identity = row.get("id") or f"row{line}"
        if not row["text"] or not row["label"]:
            raise ValueError(
                f"{path.name} line {line}: {'text' if not row['text'] else 'label'} is empty; fill it or delete the row."
            )
        if identity in seen:
            raise ValueError(f"{path.name} line {line}: id '{identity}' is used twice; give each text its own id.")
        seen.add(identity)
        examples.append(Example(id=identity, text=row["text"], label=row["label"]))
    return examples


def load_codebook(path: Path, examples: list[Example]) -> list[Code]:
    """The code book (columns: code, label, definition); without a file, the labels themselves with no definition.

    Raises ValueError for a code that stands twice, and for a label of the examples that the code book lacks.
    """
    if not path.is_file():
        return [Code(code=c, label=c, definition="") for c in sorted({e.label for e in examples})]
    codes: list[Code] = []
    for line, row in read_rows(path, CODE_COLUMNS):
        if row["code"] in {c.code for c in codes}:
            raise ValueError(f"{path.name} line {line}: code '{row['code']}' is used twice; keep one definition.")
        codes.append(Code.model_validate(row))
    unknown = Counter(e.label for e in examples if e.label not in {c.code for c in codes})
    if unknown:
        name, count = unknown.most_common(1)[0]
        raise ValueError(
            f"{path.name} lacks code '{name}', which {count} example(s) carry; add it or correct the labels."
        )
    return codes


def refuse_lone_labels(path: Path) -> None:
    """Raise ValueError naming file, line and fix when a label stands on one row only: it cannot be learned and tested."""
    rows = read_rows(path, EXAMPLE_COLUMNS)
    counts = Counter(row["label"] for _, row in rows)
    for line, row in rows:
        if counts[row["label"]] == 1:
            raise ValueError(
                f"{path.name} line {line}: label '{row['label']}' stands on this row only; add a second text with it, "
                f"correct the label, or delete the row."
            )
