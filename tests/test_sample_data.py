"""Check the sample client's frozen questions, documents and tickets against written rules.

Every failure names the file, the row and the rule; the rules stand in sample_rules.py. The test reads the sources, not
the built files, so it does not know whether a reader of PDF or Word gets the same text back.
"""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import sample_rules as rules

from playbook.evaluation import contains
from tools.difficulty import cited_sections, plain, sections, source_of

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
CLIENT = DATA / "sample_client"
SOURCES = DATA / "sources"
DOCUMENTS = CLIENT / "documents"
COLUMNS = set(
    """id question expected_answer must_contain source section type asked_by answerable required_form absent
    second_reader split""".split()
)
TYPES = {  # at least so many questions of each type
    "newest_version": 20,
    "paraphrase": 30,
    "table_cell": 30,
    "unanswerable": 60,
    "single_fact": 30,
    "two_passages": 20,
    "yes_no_condition": 20,
    "number_or_date": 20,
    "follow_up": 10,
}
FORMATS = {"md", "html", "pdf", "docx", "xlsx", "csv", "pptx", "eml", "txt"}
ORDERS = re.compile(r"(ignore|disregard|forget)\b.{0,40}\binstructions", re.IGNORECASE)
# A scan without text, a file behind a password and half a file: nobody is asked about what a reader cannot see.
UNREADABLE = {"fire_inspection_letter.pdf", "pay_bands_2026.pdf", "wheel_lock_bench_notes.docx"}
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
TICKETS = read_rows(CLIENT / "examples.csv")
ANSWERABLE = [row for row in QUESTIONS if row["answerable"] == "yes"]


def cited_text(row: dict[str, str]) -> str:
    """Return the text of the sections a question cites, or fail with the missing heading."""
    try:
        return " ".join(cited_sections(row["source"], row["section"]).values())
    except ValueError as error:
        pytest.fail(f"questions.csv {row['id']}: {error}")


def groups(row: dict[str, str]) -> list[list[str]]:
    """Return the must_contain groups, each a list of alternatives."""
    return [[plain(key) for key in group.split("|")] for group in row["must_contain"].split(";")]


def content_words(text: str) -> set[str]:
    """Return word beginnings (five letters) of the words that carry the topic."""
    words = re.findall(r"[a-z]{2,}", text.lower())
    return {word[:5] for word in words if word not in FUNCTION_WORDS}


def text_files() -> list[Path]:
    """Return every text file below data/."""
    kinds = {".md", ".txt", ".csv", ".html", ".yaml", ".json", ".jsonl", ".eml"}
    return [path for path in sorted(DATA.rglob("*")) if path.suffix in kinds]


def encoding_of(path: Path) -> str:
    """Return the encoding a file is said to have: UTF-8, but for the second raw export."""
    return "cp1252" if path.name == "raw_export_b.csv" else "utf-8"


def inside(path: Path) -> str:
    """Return what can be read of a built document as it lies there: the entries of a zip, the bytes of a PDF."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = [archive.read(name) for name in archive.namelist() if name.endswith((".xml", ".rels"))]
        return b"\n".join(entries).decode("utf-8")
    return path.read_bytes().decode("latin-1")


def assert_none(violations: list[str]) -> None:
    """Fail with the first twenty violations, one a line."""
    assert not violations, "\n".join([f"{len(violations)} violation(s)", *violations[:20]])


def test_questions_have_the_agreed_columns_ids_and_counts() -> None:
    assert set(QUESTIONS[0]) == COLUMNS, "questions.csv: columns differ from the agreed ones"
    ids = [row["id"] for row in QUESTIONS]
    assert ids == [f"q{n:03d}" for n in range(1, len(ids) + 1)], (
        "questions.csv: ids must run q001, q002, ... without a gap"
    )
    texts = Counter(plain(row["question"]) for row in QUESTIONS)
    assert max(texts.values()) == 1, f"questions.csv: repeated question {texts.most_common(1)}"
    unknown = [f"{row['id']} {row['type']}" for row in QUESTIONS if row["type"] not in TYPES]
    assert not unknown, f"questions.csv {unknown[0]}: unknown type"
    assert {row["answerable"] for row in QUESTIONS} == {"yes", "no"}, "questions.csv: yes or no"
    nobody = [row["id"] for row in QUESTIONS if not row["asked_by"]]
    assert not nobody, f"questions.csv {nobody}: asked_by is empty"
    split, kind = Counter(row.get("split") for row in QUESTIONS), Counter(row["type"] for row in QUESTIONS)
    formed = sum(bool(row["required_form"]) for row in QUESTIONS)
    wanted = {"questions": (len(QUESTIONS), 240), "in tune": (split["tune"], 100), "in test": (split["test"], 140)}
    wanted |= {"with a required_form": (formed, 30)} | {name: (kind[name], least) for name, least in TYPES.items()}
    assert_none(rules.count_violations("questions.csv", wanted))


def test_unanswerable_questions_are_proved_by_absent_strings_and_a_second_reader() -> None:
    texts = {row["source"]: source_of(row["source"]).read_text(encoding="utf-8") for row in QUESTIONS}
    assert_none(rules.absent_violations(QUESTIONS, texts.__getitem__))
    assert_none(rules.reader_violations(QUESTIONS))


def test_no_document_serves_both_splits_of_the_questions() -> None:
    assert_none(rules.split_violations("questions.csv", QUESTIONS, {"tune", "test"}, group="source"))


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: row["id"])
def test_source_document_exists(row: dict[str, str]) -> None:
    assert (DOCUMENTS / row["source"]).is_file(), f"{row['id']}: no document {row['source']}"


@pytest.mark.parametrize("row", ANSWERABLE, ids=lambda row: row["id"])
def test_every_key_occurs_in_the_cited_section(row: dict[str, str]) -> None:
    assert row["expected_answer"], f"questions.csv {row['id']}: expected_answer is empty"
    whole = plain(" ".join(sections(source_of(row["source"])).values()))
    cited = plain(cited_text(row))
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
        answer = " ".join(s for s in sentences if any(key in plain(s) for key in keys))
        shared = content_words(row["question"]) & content_words(answer)
        assert answer and not shared, f"questions.csv {row['id']}: shares {sorted(shared)}"


def test_every_document_has_a_source_and_a_question() -> None:
    documents = {path.name for path in DOCUMENTS.iterdir()}
    assert {Path(name).stem for name in documents} == {path.stem for path in SOURCES.iterdir()}
    unasked = documents - {row["source"] for row in QUESTIONS} - UNREADABLE
    assert not unasked, f"questions.csv: no question about {sorted(unasked)}"
    assert (DOCUMENTS / "office_closures_2027.txt").stat().st_size == 0


def test_there_are_enough_documents_of_every_kind() -> None:
    documents = sorted(DOCUMENTS.iterdir())
    texts = {path.name: path.read_text(encoding="utf-8") for path in SOURCES.iterdir()}
    ordering = [name for name, text in texts.items() if ORDERS.search(" ".join(text.split()))]
    formats = {path.suffix[1:] for path in documents}
    wanted = {
        "files": (len(documents), 80),
        "words in the sources": (sum(len(text.split()) for text in texts.values()), 45_000),
        "of the nine formats": (len(formats & FORMATS), len(FORMATS)),
        "with an instruction hidden in them": (len(ordering), 3),
        "empty": (sum(path.stat().st_size == 0 for path in documents), 1),
        "PDFs without a text layer": (sum(b"/Font" not in data for data in pdfs()), 1),
        "PDFs with a password": (sum(b"/Encrypt" in data for data in pdfs()), 1),
        "damaged Word files": (sum(not zipfile.is_zipfile(path) for path in DOCUMENTS.glob("*.docx")), 1),
    }
    assert_none(rules.count_violations("documents/", wanted))


def pdfs() -> list[bytes]:
    """Return the content of every PDF."""
    return [path.read_bytes() for path in sorted(DOCUMENTS.glob("*.pdf"))]


@pytest.mark.parametrize("path", text_files(), ids=lambda path: path.name)
def test_text_files_keep_their_encoding_and_invented_contacts(path: Path) -> None:
    name, data = path.relative_to(DATA).as_posix(), path.read_bytes()
    garbled = path.name == "raw_export_a.csv"  # holds lost letters on purpose; its key names them
    assert_none([] if garbled else rules.encoding_violations(name, data, encoding_of(path)))
    assert_none(rules.contact_violations(name, data.decode(encoding_of(path))))


@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*.[pdx]*")), ids=lambda path: path.name)
def test_built_documents_hold_no_foreign_mail_address(path: Path) -> None:
    for domain in re.findall(rules.MAIL, inside(path)):  # telephone numbers are looked for in the sources
        assert domain.endswith(".example"), f"{path.name}: mail domain {domain} is not .example"


def test_data_weighs_at_most_25_megabytes() -> None:
    size = sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file())
    assert size <= 25_000_000, f"data/: {size:,} bytes, 25,000,000 allowed"


def test_the_code_book_is_complete() -> None:
    codes = read_rows(CLIENT / "codebook.csv")
    assert_none(rules.codebook_violations(codes))
    assert_none(rules.count_violations("codebook.csv", {"codes": (len(codes), 48)}))


def test_there_are_enough_tickets_of_every_code() -> None:
    split = Counter(row["split"] for row in TICKETS)
    wanted = {"tickets": (len(TICKETS), 1600), "codes": (len({r["label"] for r in TICKETS}), 48)}
    assert_none(rules.count_violations("examples.csv", wanted | {"in the test split": (split["test"], 450)}))
    assert_none(rules.split_violations("examples.csv", TICKETS, {"train", "tune", "test"}))
    assert_none(rules.class_violations(TICKETS, least_test=5, ratio=2.5))
    for name in ("examples.csv", "out_of_scope.csv"):
        texts = {row["id"]: row["text"] for row in read_rows(CLIENT / name)}
        assert_none(rules.length_violations(name, texts, 3, 80))


def test_no_test_ticket_stands_in_training() -> None:
    held_out = {row["id"]: row["text"] for row in TICKETS if row["split"] == "test"}
    known = {row["id"]: row["text"] for row in TICKETS if row["split"] != "test"}
    assert_none(rules.copy_violations("examples.csv", held_out, known))
    seen = {row["id"]: row["text"] for row in TICKETS if row["split"] == "train"}
    tuned = {row["id"]: row["text"] for row in TICKETS if row["split"] == "tune"}
    assert_none(rules.copy_violations("examples.csv", tuned, seen))


def test_second_labels_are_for_tickets_that_exist() -> None:
    second, codes = read_rows(CLIENT / "second_labels.csv"), {row["code"] for row in read_rows(CLIENT / "codebook.csv")}
    known = {row["id"] for row in TICKETS}
    assert len({row["id"] for row in second}) == len(second) >= 200, "second_labels.csv: 200 different tickets wanted"
    for row in second:
        assert row["id"] in known, f"second_labels.csv {row['id']}: no such ticket"
        assert row["label"] in codes, f"second_labels.csv {row['id']}: label {row['label']} unknown"


def test_tickets_have_known_labels_and_no_duplicates() -> None:
    path = CLIENT / "examples.csv"
    if not path.exists():
        pytest.fail("examples.csv: not there")
    tickets, codes = read_rows(path), {row["code"] for row in read_rows(CLIENT / "codebook.csv")}
    assert set(tickets[0]) == {"id", "text", "label", "split"}, "examples.csv: needs id, text, label, split"
    seen: dict[str, str] = {}
    for row in tickets:
        assert row["label"] in codes, f"examples.csv {row['id']}: label {row['label']} unknown"
        text = plain(row["text"])
        assert text not in seen, f"examples.csv {row['id']}: same text as {seen[text]}"
        seen[text] = row["id"]
    assert len({row["id"] for row in tickets}) == len(tickets), "examples.csv: repeated id"


def test_documents_build_the_same_bytes_twice(tmp_path: Path) -> None:
    for library in ("reportlab", "docx", "pptx", "xlsxwriter", "PIL"):
        pytest.importorskip(library)
    spec = importlib.util.spec_from_file_location("builder", ROOT / "tools/build_documents.py")
    builder = importlib.util.module_from_spec(spec)
    sys.modules["builder"] = builder  # dataclasses look their module up by name
    spec.loader.exec_module(builder)
    for one, two in zip(builder.build(target=tmp_path / "a"), builder.build(target=tmp_path / "b"), strict=True):
        assert one.read_bytes() == two.read_bytes(), f"{one.name}: differs between two runs"
        if one.suffix in {".md", ".csv", ".txt", ".html"}:
            committed = (DOCUMENTS / one.name).read_bytes()
            assert one.read_bytes() == committed, f"{one.name}: run tools/build_documents.py"


def test_workbooks_store_a_value_with_every_formula() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    for path in sorted(DOCUMENTS.glob("*.xlsx")):
        shown, written = openpyxl.load_workbook(path, data_only=True), openpyxl.load_workbook(path)
        for cell in (cell for sheet in written for row in sheet.iter_rows() for cell in row if cell.data_type == "f"):
            value = shown[cell.parent.title][cell.coordinate].value
            assert value is not None, f"{path.name} {cell.parent.title} {cell.coordinate}: formula without a value"


def test_out_of_scope_messages_are_no_tickets() -> None:
    with (CLIENT / "out_of_scope.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (CLIENT / "examples.csv").open(encoding="utf-8", newline="") as file:
        tickets = {row["text"].lower() for row in csv.DictReader(file)}
    assert len(rows) >= 60, f"out_of_scope.csv: {len(rows)} rows, 60 wanted"
    assert len({row["id"] for row in rows}) == len(rows), "out_of_scope.csv: repeated id"
    for row in rows:
        assert row["text"].lower() not in tickets, f"out_of_scope.csv {row['id']}: is a coded ticket too"
