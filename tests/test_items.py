"""Questions, labelled texts and the code book: what is read, and what each mistake in a file is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import CODEBOOK, EXAMPLES, QUESTIONS

from playbook.items import Example, load_codebook, load_examples, load_questions, read_rows

HEAD = "id,question,expected_answer,must_contain,source,answerable\n"


def csv(folder: Path, content: str | bytes, name: str = "questions.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# -------------------------------------------------------------------------------------------------------- questions


def test_questions_are_read_with_groups_and_alternatives(tmp_path: Path) -> None:
    first, second, third = load_questions(csv(tmp_path, QUESTIONS))
    assert (first.id, first.answerable, first.must_contain) == ("q1", True, (("8 in the morning",),))
    assert second.must_contain == (("$45", "45 dollars"),)
    assert (third.answerable, third.must_contain, third.source) == (False, (), "")


def test_two_groups_are_separated_by_a_semicolon_and_blanks_do_not_count(tmp_path: Path) -> None:
    (question,) = load_questions(csv(tmp_path, HEAD + "q1,Q?,A, a | b ;; c ;,x.md,YES\n"))
    assert question.must_contain == (("a", "b"), ("c",))


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + QUESTIONS,
        QUESTIONS.replace("\n", "\r\n"),
        QUESTIONS.replace("\n", "\n,,,,,\n\n", 2),
        QUESTIONS.replace("id,question", "ID , Question", 1),
        QUESTIONS.replace(",", ";"),
    ],
    ids=["byte order mark", "windows line ends", "empty rows", "capitals and blanks in the header", "semicolons"],
)
def test_what_spreadsheets_do_to_a_csv_changes_nothing(tmp_path: Path, content: str) -> None:
    expected = load_questions(csv(tmp_path, QUESTIONS))
    assert load_questions(csv(tmp_path, content, "other.csv")) == expected


def test_a_quoted_cell_may_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    rows = read_rows(csv(tmp_path, 'text,label\n"one, two\nthree",A\nfour,B\n'), ("text", "label"))
    assert rows == [(3, {"text": "one, two\nthree", "label": "A"}), (4, {"text": "four", "label": "B"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,question\nq1,Q?\n", r"questions.csv line 1 lacks the column\(s\) expected_answer, must_contain, source"),
        ("", r"lacks the column\(s\) id.*it has: nothing"),
        (HEAD, "has a header but no rows"),
        (
            HEAD + "q1,Q?,A,a,x.md,yes\n\nq1,R?,A,a,x.md,yes\n",
            "line 4: id 'q1' is used already on line 2; give each its own",
        ),
        (HEAD + ",Q?,A,a,x.md,yes\n", "line 2: 'id' is empty; fill it in"),
        (HEAD + "q1,  ,A,a,x.md,yes\n", "line 2: 'question' is empty"),
        (HEAD + "q1,Q?,A,a,x.md,perhaps\n", "line 2: 'answerable' is 'perhaps'; write yes or no"),
        (HEAD + "q1,Q?,A, ; ,x.md,yes\n", "q1 is answerable but must_contain is empty"),
        (HEAD + "q1,Well, when?,A,a,x.md,yes\n", "line 2 has 7 cells, the header 6: quote texts that hold a comma"),
    ],
)
def test_a_mistake_in_the_questions_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_questions(csv(tmp_path, content))


def test_a_file_that_is_not_utf8_is_named_with_the_first_bad_line(tmp_path: Path) -> None:
    path = csv(tmp_path, (HEAD + "q1,Caf\u00e9?,A,a,x.md,yes\n").encode("latin-1"))
    with pytest.raises(ValueError, match=r"questions.csv line 2 is not UTF-8: save the file as 'CSV UTF-8'"):
        load_questions(path)


def test_a_quote_that_never_closes_in_a_long_file_is_one_sentence(tmp_path: Path) -> None:
    path = csv(tmp_path, 'text,label\n"never closed,A\n' + "some words,B\n" * 20_000, "examples.csv")
    with pytest.raises(ValueError, match=r"examples.csv line \d+.*quote"):
        load_examples(path)


def test_a_client_without_a_file_has_no_items(tmp_path: Path) -> None:
    assert load_questions(tmp_path / "questions.csv") == []
    assert load_examples(tmp_path / "examples.csv") == []
    assert load_questions(None) == [] == load_examples(None)


def test_reading_rows_of_a_missing_file_says_where_it_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"x.csv is not there: expected at {tmp_path}"):
        read_rows(tmp_path / "x.csv", ("text",))


# ---------------------------------------------------------------------------------------------- labelled texts, codes


def test_examples_keep_their_ids_or_get_the_line_as_id(tmp_path: Path) -> None:
    assert load_examples(csv(tmp_path, "id,text,label\nx1,words,A\n")) == [Example(id="x1", text="words", label="A")]
    without = load_examples(csv(tmp_path, "label,text\nA,words\n\nB,more\n"))
    assert [(e.id, e.text, e.label) for e in without] == [("row2", "words", "A"), ("row4", "more", "B")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\nwords\n", r"lacks the column\(s\) label; it has: text"),
        ("text,label\n,A\n", "line 2: 'text' is empty; fill it in"),
        ("text,label\nwords,\n", "line 2: 'label' is empty"),
        ("id,text,label\nx,a,A\nx,b,B\n", "line 3: id 'x' is used already on line 2"),
    ],
)
def test_a_mistake_in_the_examples_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_examples(csv(tmp_path, content))


def test_the_same_text_twice_is_no_error_here(tmp_path: Path) -> None:
    assert len(load_examples(csv(tmp_path, "text,label\nsame,A\nsame,B\n"))) == 2


def test_code_book_is_read_and_must_know_every_label(tmp_path: Path) -> None:
    examples = load_examples(csv(tmp_path, EXAMPLES, "examples.csv"))
    codes = load_codebook(csv(tmp_path, CODEBOOK, "codebook.csv"), examples)
    assert [(c.code, c.definition) for c in codes] == [("RENT", "about renting"), ("REPAIR", "about repairing")]
    short = csv(tmp_path, "code,label,definition\nRENT,Rent,about renting\n", "short.csv")
    with pytest.raises(ValueError, match=r"short.csv lacks code 'REPAIR', which 6 example\(s\) carry"):
        load_codebook(short, examples)


def test_without_a_code_book_the_labels_stand_for_themselves(tmp_path: Path) -> None:
    examples = load_examples(csv(tmp_path, EXAMPLES, "examples.csv"))
    codes = load_codebook(tmp_path / "codebook.csv", examples)
    assert [(c.code, c.label, c.definition) for c in codes] == [("RENT", "RENT", ""), ("REPAIR", "REPAIR", "")]


def test_a_code_that_stands_twice_in_the_code_book_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, CODEBOOK + "RENT,Rent again,other words\n", "codebook.csv")
    with pytest.raises(ValueError, match="codebook.csv line 4: code 'RENT' is used already on line 2"):
        load_codebook(path, [])
