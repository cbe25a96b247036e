"""Each rule for the sample data is able to fail: rows with a planted defect give a line that names file, row and rule."""

from __future__ import annotations

import pytest
import sample_rules as rules

QUESTION = {
    "id": "q1",
    "answerable": "no",
    "source": "a.md",
    "absent": "red|blue",
    "second_reader": "not_answered",
    "split": "tune",
}
CODE = {
    "code": "GREYTAG",
    "label": "Grey tag",
    "definition": "Unsafe.",
    "example_1": "a",
    "example_2": "b",
    "not_this": "Broken: GREYTAG",
}
TICKETS = {"t1": {"id": "t1", "text": "the pump is dead since noon", "label": "GREYTAG", "split": "test"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"absent": "red"}, "questions.csv q1: 1 absent string(s), two wanted"),
        ({"absent": "red|The Green  door"}, "questions.csv q1: absent string 'the green door' stands in a.md"),
        ({"answerable": "yes"}, "questions.csv q1: absent is for unanswerable rows only"),
    ],
)
def test_absent_strings(change: dict[str, str], said: str) -> None:
    text = "Behind the **green**\ndoor."
    assert rules.absent_violations([QUESTION], lambda _: text) == []
    assert rules.absent_violations([QUESTION | change], lambda _: text) == [said]


@pytest.mark.parametrize("verdict", ["", "answered", "yes"])
def test_second_reader(verdict: str) -> None:
    assert rules.reader_violations([QUESTION, QUESTION | {"second_reader": "partly"}]) == []
    (said,) = rules.reader_violations([QUESTION | {"second_reader": verdict}])
    assert said.startswith(f"questions.csv q1: second_reader is '{verdict}'")


def test_splits_and_groups() -> None:
    other = QUESTION | {"id": "q2", "split": "test", "source": "b.md"}
    assert rules.split_violations("questions.csv", [QUESTION, other], {"tune", "test"}, "source") == []
    both = rules.split_violations("questions.csv", [QUESTION, other | {"source": "a.md"}], {"tune", "test"}, "source")
    assert both[1] == "questions.csv q2: source a.md is in both test and tune"
    (said,) = rules.split_violations("questions.csv", [QUESTION | {"split": "dev"}], {"tune", "test"})
    assert said == "questions.csv q1: split is 'dev', wanted test, tune"


def test_copies() -> None:
    known = {"t1": "Please fetch the wheelchair from our porch on Friday morning", "t2": "a quite different thing"}
    assert rules.copy_violations("examples.csv", {"t9": "The wheelchair broke on the porch"}, known) == []
    (same,) = rules.copy_violations(
        "examples.csv", {"t9": "please fetch the wheelchair, from our porch on friday morning!"}, known
    )
    (near,) = rules.copy_violations(
        "examples.csv", {"t9": "Please fetch the wheelchair from our porch on Friday mornin"}, known
    )
    assert same == "examples.csv t9: held out, but the same as t1"
    assert near == "examples.csv t9: held out, but a near copy of t1"


def test_lengths() -> None:
    texts = {"t1": "too short", "t2": "this is fine", "t3": "word " * 81}
    assert rules.length_violations("examples.csv", texts, 3, 80) == [
        "examples.csv t1: 2 words, 3 to 80 wanted",
        "examples.csv t3: 81 words, 3 to 80 wanted",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("write to jo@gmail.com", "mail domain gmail.com is not .example"),
        ("call 614-555-0214", "phone 614-555-0214 is not 555-01xx"),
        ("call (614) 867-5309 now", "phone (614) 867-5309 is not 555-01xx"),
        ("or 555-2368", "phone 555-2368 is not 555-01xx"),
    ],
)
def test_contacts(line: str, said: str) -> None:
    good = "jo@fennmoor.example, 614-555-0137, (614) 555-0199, serial 24-11-0377, 2026-07-01"
    assert rules.contact_violations("a.txt", good) == []
    assert rules.contact_violations("a.txt", f"{good}\n{line}") == [f"a.txt line 2: {said}"]


def test_encodings() -> None:
    assert rules.encoding_violations("a.csv", "café\n".encode()) == []
    assert rules.encoding_violations("a.csv", "x\ncafé".encode("cp1252")) == ["a.csv line 2: not utf-8"]
    assert rules.encoding_violations("a.csv", "x\n\ufffd".encode()) == ["a.csv line 2: a lost letter (U+FFFD)"]
    assert rules.encoding_violations("a.csv", b"\xef\xbb\xbfid") == ["a.csv line 1: begins with a byte-order mark"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"definition": " "}, "codebook.csv GREYTAG: definition is empty"),
        ({"example_2": "a"}, "codebook.csv GREYTAG: both examples are the same"),
        ({"not_this": "Broken: SWAPOUT"}, "codebook.csv GREYTAG: not_this names SWAPOUT, which is no code"),
    ],
)
def test_code_book(change: dict[str, str], said: str) -> None:
    assert rules.codebook_violations([CODE]) == []
    assert rules.codebook_violations([CODE | change]) == [said]
    assert rules.codebook_violations([CODE, CODE]) == ["codebook.csv GREYTAG: stands there twice"]


def test_class_sizes_and_counts() -> None:
    rows = [{"label": "A", "split": "test"}] * 5 + [{"label": "B", "split": "test"}, {"label": "B", "split": "train"}]
    assert rules.class_violations(rows, least_test=1, ratio=2.5) == []
    assert rules.class_violations(rows, least_test=2, ratio=3) == [
        "examples.csv B: 1 in the test split, 2 wanted",
        "examples.csv: A has 5 and B 2, 3 times as many wanted (long tail)",
    ]
    assert rules.count_violations("examples.csv", {"tickets": (1600, 1600)}) == []
    assert rules.count_violations("examples.csv", {"tickets": (999, 1600)}) == [
        "examples.csv: 999 tickets, at least 1,600 wanted"
    ]


FIRST, LEAKED = ("the lift went to the wrong house today", "WRONGDOOR"), ("the pump is dead since noon", "GREYTAG")
TRUE_KEYS = {  # defect -> (second row of the export, detail) of which the key is true
    "exact_duplicate": (FIRST, "row 1"),
    "near_duplicate": (("today the lift went to a wrong house", "WRONGDOOR"), "row 1"),
    "conflicting_label": ((FIRST[0], "GREYTAG"), "same text as row 1 (WRONGDOOR); right code WRONGDOOR"),
    "wrong_label": (("thank you Bev", "GREYTAG"), "right code WRONGDOOR"),
    "personal_data": (("call me at 614-555-0122", "GREYTAG"), "phone=614-555-0122"),
    "empty": (("", "GREYTAG"), "text"),
    "encoding": (("She canâ€™t reach it", "GREYTAG"), "UTF-8 read as cp1252; was: She can’t reach it"),
    "leakage": (LEAKED, "exact copy of test item t1"),
    "unknown_code": (("something else", "CHECKUP"), "right code GREYTAG"),
    "misspelt_code": (("something else", "GreyTagg"), "right code GREYTAG"),
}


@pytest.mark.parametrize("defect", rules.DEFECTS)
def test_keys_of_raw_exports(defect: str) -> None:
    (row, detail), codes = TRUE_KEYS[defect], {"GREYTAG", "WRONGDOOR"}
    key = {"row": "2", "defect": defect, "detail": detail}
    assert rules.key_violations("key.csv", [FIRST, row], [key], TICKETS, codes) == []
    clean = ("quite another matter altogether", "WRONGDOOR")
    said = rules.key_violations("key.csv", [FIRST, clean], [key], TICKETS, codes)
    assert said == [f"key.csv row 2: is not '{defect}' ({detail})"]


def test_keys_name_rows_and_defects_that_exist() -> None:
    keys = [{"row": "7", "defect": "empty", "detail": "text"}, {"row": "1", "defect": "odd", "detail": ""}]
    assert rules.key_violations("key.csv", [FIRST], keys, TICKETS, set()) == [
        "key.csv row 7: does not exist",
        "key.csv row 1: 'odd' is no known defect",
    ]
    trained = {"t1": TICKETS["t1"] | {"split": "train"}}
    key = {"row": "1", "defect": "leakage", "detail": "exact copy of test item t1"}
    assert rules.key_violations("key.csv", [LEAKED], [key], trained, set())
