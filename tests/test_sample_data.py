"""Check the sample client's frozen questions, documents and tickets against written rules.

Every failure names the file, the row and the rule. The test reads the sources, not the built files,
so it does not know whether a reader of PDF or Word gets the same text back.
"""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbook.evaluation import contains

ROOT = Path(__file__).resolve().parents[1]
CLIENT = ROOT / "data" / "sample_client"
SOURCES = ROOT / "data" / "sources"
DOCUMENTS = CLIENT / "documents"
COLUMNS = ["id", "question", "expected_answer", "must_contain", "source", "section", "type", "asked_by", "answerable", "required_form"]
TYPES = {
    "newest_version": 21,
    "paraphrase": 33,
    "table_cell": 33,
    "unanswerable": 66,
    "single_fact": 32,
    "two_passages": 22,
    "yes_no_condition": 23,
    "number_or_date": 24,
    "follow_up": 11,
}
# Words that carry no topic; what is left of a sentence counts as its content words.
FUNCTION_WORDS = set(
    """a about after while all am and any are as at be because been before but by can cannot did do does
    down else ever for from get given go had has have he her him his how i if in inside into is it
    its long lot many may me more much must my no nobody not now of off on one only or our out own
    she so some somebody than that the their them then there they this those to too under until up
    us was we what when where which who whoever will with without you your""".split()
)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as dicts of text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


QUESTIONS = read_rows(CLIENT / "questions.csv")
ANSWERABLE = [row for row in QUESTIONS if row["answerable"] == "yes"]


def flat(text: str) -> str:
    """Lower-case the text, drop Markdown bold and squeeze white space."""
    return " ".join(text.replace("**", "").lower().split())


def source_of(document: str) -> Path:
    """Return the one source file with the stem of a document."""
    found = [path for path in SOURCES.iterdir() if path.stem == Path(document).stem]
    assert len(found) == 1, f"{document}: {len(found)} sources with this stem; keep exactly one"
    return found[0]


def sections(path: Path) -> dict[str, str]:
    """Return heading -> text below it; in a CSV file, part number -> row."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":  # a row is cited by one of its cells, or by its first two
        rows = [list(row.values()) for row in read_rows(path)]
        return {key: " | ".join(row) for row in rows for key in (*reversed(row), f"{row[0]} {row[1]}")}
    # Markdown headings, "1. CAPITALS" in the handbook, "--- date" in the notes.
    pattern = r"^(?:#+ (.+)|(\d+\. [A-Z][A-Z ]+)|(--- .+))$"
    pieces = list(re.finditer(pattern, text, re.MULTILINE))
    if not pieces:
        return {"": text}
    ends = [piece.start() for piece in pieces[1:]] + [len(text)]
    return {
        next(filter(None, piece.groups())): text[piece.end() : end] for piece, end in zip(pieces, ends, strict=True)
    }


def cited_text(row: dict[str, str]) -> str:
    """Return the text of the sections a question cites, or fail with the missing heading."""
    known = sections(source_of(row["source"]))
    if source_of(row["source"]).suffix == ".txt" and row["section"] not in known:
        return source_of(row["source"]).read_text(encoding="utf-8")  # notes without headings are cited whole
    for name in row["section"].split(";"):
        assert name in known, f"questions.csv {row['id']}: no section '{name}' in {row['source']}"
    return " ".join(known[name] for name in row["section"].split(";"))


def groups(row: dict[str, str]) -> list[list[str]]:
    """Return the must_contain groups, each a list of alternatives."""
    return [[flat(key) for key in group.split("|")] for group in row["must_contain"].split(";")]


def content_words(text: str) -> set[str]:
    """Return word beginnings (five letters) of the words that carry the topic."""
    words = re.findall(r"[a-z]{2,}", text.lower())
    return {word[:5] for word in words if word not in FUNCTION_WORDS}


def text_files() -> Iterator[Path]:
    """Yield every text file of the sample client and its sources."""
    for path in sorted([*CLIENT.rglob("*"), *SOURCES.rglob("*")]):
        if path.suffix in {".md", ".txt", ".csv", ".html", ".yaml", ".json", ".jsonl"}:
            yield path


def test_questions_have_the_agreed_columns_ids_and_counts() -> None:
    assert list(QUESTIONS[0]) == COLUMNS, "questions.csv: columns differ from the agreed ones"
    ids = [row["id"] for row in QUESTIONS]
    assert ids == [f"q{n:03d}" for n in range(1, len(ids) + 1)], "questions.csv: ids must run q001, q002, ... without a gap"
    texts = Counter(flat(row["question"]) for row in QUESTIONS)
    assert max(texts.values()) == 1, f"questions.csv: repeated question {texts.most_common(1)}"
    assert Counter(row["type"] for row in QUESTIONS) == TYPES, "questions.csv: counts per type"
    assert {row["answerable"] for row in QUESTIONS} == {"yes", "no"}, "questions.csv: yes or no"
    assert all(row["asked_by"] for row in QUESTIONS), "questions.csv: asked_by is empty"


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: row["id"])
def test_source_document_exists(row: dict[str, str]) -> None:
    assert (DOCUMENTS / row["source"]).is_file(), f"{row['id']}: no document {row['source']}"


@pytest.mark.parametrize("row", ANSWERABLE, ids=lambda row: row["id"])
def test_every_key_occurs_in_the_cited_section(row: dict[str, str]) -> None:
    assert row["expected_answer"], f"questions.csv {row['id']}: expected_answer is empty"
    whole = flat(" ".join(sections(source_of(row["source"])).values()))
    cited = flat(cited_text(row))
    for group in groups(row):  # the same comparison that judges an answer
        assert all(group), f"questions.csv {row['id']}: empty key in must_contain"
        assert contains(whole, [group]), f"questions.csv {row['id']}: {group} not in {row['source']}"
        assert contains(cited, [group]), f"questions.csv {row['id']}: {group} not in {row['section']}"


def test_unanswerable_rows_are_empty() -> None:
    for row in QUESTIONS:
        empty = not (row["expected_answer"] or row["must_contain"] or row["section"])
        assert empty == (row["answerable"] == "no"), f"questions.csv {row['id']}: empty fields"
        assert (row["type"] == "unanswerable") == empty, f"questions.csv {row['id']}: type"


def test_paraphrases_share_no_content_word_with_the_answer() -> None:
    for row in (row for row in ANSWERABLE if row["type"] == "paraphrase"):
        sentences = re.split(r"(?<=[.!?])\s|\n", cited_text(row))
        keys = [key for group in groups(row) for key in group]
        answer = " ".join(s for s in sentences if any(key in flat(s) for key in keys))
        shared = content_words(row["question"]) & content_words(answer)
        assert answer and not shared, f"questions.csv {row['id']}: shares {sorted(shared)}"


def test_every_document_has_a_source_and_a_question() -> None:
    documents = {path.name for path in DOCUMENTS.iterdir()}
    assert {Path(name).stem for name in documents} == {path.stem for path in SOURCES.iterdir()}
    unasked = documents - {row["source"] for row in QUESTIONS}
    assert not unasked, f"questions.csv: no question about {sorted(unasked)}"
    assert (DOCUMENTS / "office_closures_2027.txt").stat().st_size == 0


def test_contacts_are_invented() -> None:
    for path in text_files():
        text = path.read_text(encoding="utf-8")
        for domain in re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", text):
            assert domain.endswith(".example"), f"{path.name}: mail domain {domain} is not .example"
        for number in re.findall(r"\b\d{3}[-. ]\d{3}[-. ]\d{4}\b|\b555[-. ]\d{4}\b", text):
            assert re.search(r"555-01\d\d$", number), f"{path.name}: phone {number} not 555-01xx"


def test_tickets_have_known_labels_and_no_duplicates() -> None:
    path = CLIENT / "examples.csv"
    if not path.exists():
        pytest.fail("examples.csv: not there")
    tickets, codes = read_rows(path), {row["code"] for row in read_rows(CLIENT / "codebook.csv")}
    assert {"id", "text", "label"} <= set(tickets[0]), "examples.csv: needs id, text, label"
    seen: dict[str, str] = {}
    for row in tickets:
        assert row["label"] in codes, f"examples.csv {row['id']}: label {row['label']} unknown"
        text = flat(row["text"])
        assert text not in seen, f"examples.csv {row['id']}: same text as {seen[text]}"
        seen[text] = row["id"]
    assert len({row["id"] for row in tickets}) == len(tickets), "examples.csv: repeated id"


def test_documents_build_the_same_bytes_twice(tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    pytest.importorskip("docx")
    spec = importlib.util.spec_from_file_location("builder", ROOT / "tools/build_documents.py")
    builder = importlib.util.module_from_spec(spec)
    sys.modules["builder"] = builder  # dataclasses look their module up by name
    spec.loader.exec_module(builder)
    for one, two in zip(builder.build(target=tmp_path / "a"), builder.build(target=tmp_path / "b"), strict=True):
        assert one.read_bytes() == two.read_bytes(), f"{one.name}: differs between two runs"
        if one.suffix in {".md", ".csv", ".txt", ".html"}:
            committed = (DOCUMENTS / one.name).read_bytes()
            assert one.read_bytes() == committed, f"{one.name}: run tools/build_documents.py"


def test_out_of_scope_messages_are_no_tickets() -> None:
    with (CLIENT / "out_of_scope.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (CLIENT / "examples.csv").open(encoding="utf-8", newline="") as file:
        tickets = {row["text"].lower() for row in csv.DictReader(file)}
    assert len(rows) >= 60, f"out_of_scope.csv: {len(rows)} rows, 60 wanted"
    assert len({row["id"] for row in rows}) == len(rows), "out_of_scope.csv: repeated id"
    for row in rows:
        assert row["text"].lower() not in tickets, f"out_of_scope.csv {row['id']}: is a coded ticket too"
