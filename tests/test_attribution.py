"""Why a question failed: one hand-made case for each of the five causes."""

from __future__ import annotations

import pytest
from fakes_embedding import make_answerer, passage
from langchain_core.documents import Document

from playbook.answering import Answer
from playbook.arms import Output
from playbook.attribution import CAUSES, FIX, Failure, cause_mix, why_miscoded, why_wrong
from playbook.items import Question

RENTAL = passage("rental", "A deposit of $150 is due. It is paid back in 14 days.", "rental.md")
VANS = passage("vans", "Vans leave at nine.", "vans.md")
SECTIONS = [Document(page_content=p.page_content, metadata={"source": p.metadata["source"]}) for p in (RENTAL, VANS)]
ASKED = Question(
    id="q1",
    question="How much is the deposit?",
    expected_answer="$150",
    must_contain=(("$150",),),
    source="rental.md",
    answerable=True,
)


def answer(text: str, draft: str = "", refused: bool = False, passages: tuple[str, ...] = ("rental",)) -> Answer:
    return Answer(
        question="?", text=text, citations=(), refused=refused, reason="", confidence=0.5, draft=draft or text,
        passage_ids=passages, tokens=0, milliseconds=0,
    )  # fmt: skip


def failure(asked: Question, given: Answer) -> Failure:
    return why_wrong(asked, given, make_answerer(RENTAL, VANS), SECTIONS)


def row(item: str, arm: str, output: str, expected: str = "A") -> Output:
    return Output(item=item, arm=arm, output=output, expected=expected, correct=output == expected)


def test_corpus_gap_when_no_document_holds_the_answer() -> None:
    missing = ASKED.model_copy(update={"must_contain": (("$999",),)})
    found = failure(missing, answer("Vans leave at nine."))
    assert (found.cause, found.recovered_by) == ("corpus gap", ())


def test_corpus_gap_when_only_another_document_holds_it() -> None:
    elsewhere = ASKED.model_copy(update={"must_contain": (("nine",),)})
    assert failure(elsewhere, answer("A deposit of $150 is due.")).cause == "corpus gap"


def test_retrieval_when_the_right_passage_was_not_given() -> None:
    found = failure(ASKED, answer("Vans leave at nine.", passages=("vans",)))
    assert (found.cause, found.recovered_by) == ("retrieval", ("oracle passage",))


def test_retrieval_even_when_it_refused_without_the_right_passage() -> None:
    assert (
        failure(ASKED, answer("", draft="Vans leave at nine.", refused=True, passages=("vans",))).cause == "retrieval"
    )


def test_reading_when_the_right_passage_was_given_and_another_sentence_taken() -> None:
    found = failure(ASKED, answer("It is paid back in 14 days."))
    assert (found.cause, found.recovered_by) == ("reading", ("oracle passage", "retrieved passages hold it"))
    assert (found.item, found.asked, found.given, found.wanted) == (
        "q1",
        "How much is the deposit?",
        "It is paid back in 14 days.",
        "$150",
    )


def test_refusal_when_the_right_answer_was_held_back() -> None:
    found = failure(ASKED, answer("", draft="A deposit of $150 is due.", refused=True))
    assert found.cause == "refusal" and "no refusal" in found.recovered_by
    assert found.given == "(refused) A deposit of $150 is due."


def test_refusal_when_an_unanswerable_question_was_answered() -> None:
    unanswerable = ASKED.model_copy(update={"answerable": False, "must_contain": (), "expected_answer": ""})
    found = failure(unanswerable, answer("Vans leave at nine."))
    assert (found.cause, found.wanted) == ("refusal", "a refusal")


def test_behaviour_when_definitions_and_examples_were_no_help() -> None:
    rows = [
        row("1", "linear_probe", "B"),
        row("1", "definition", "B"),
        row("1", "nearest_examples", "C"),
        row("1", "label_name", "A"),
    ]
    found = why_miscoded(rows, {"1": "a text"}, "linear_probe")
    assert [(f.cause, f.recovered_by, f.asked, f.given, f.wanted) for f in found] == [
        ("behaviour", ("label_name",), "a text", "B", "A")
    ]


@pytest.mark.parametrize("helper", ["definition", "nearest_examples"])
def test_reading_when_a_definition_or_an_example_alone_puts_the_code_right(helper: str) -> None:
    rows = [row("1", "linear_probe", "B"), row("1", helper, "A")]
    assert [(f.cause, f.recovered_by) for f in why_miscoded(rows, {"1": "t"}, "linear_probe")] == [
        ("reading", (helper,))
    ]


def test_right_codes_and_other_arms_failures_are_passed_over() -> None:
    rows = [
        row("1", "linear_probe", "A"),
        row("1", "definition", "B"),
        row("2", "linear_probe", "B"),
        row("2", "definition", "B"),
    ]
    assert [f.item for f in why_miscoded(rows, {"1": "t", "2": "u"}, "linear_probe")] == ["2"]


def test_cause_mix_shares_add_up_and_are_empty_without_failures() -> None:
    made = [
        Failure(item=str(n), cause=c, asked="", given="", wanted="", recovered_by=())
        for n, c in enumerate(("reading", "reading", "behaviour", "refusal"))
    ]
    mix = cause_mix(made)
    assert {c: (p.hits, p.n) for c, p in mix.shares.items()} == {
        "corpus gap": (0, 4), "retrieval": (0, 4), "reading": (2, 4), "behaviour": (1, 4), "refusal": (1, 4)
    }  # fmt: skip
    assert sum(p.share for p in mix.shares.values()) == pytest.approx(1)
    assert (cause_mix([]).failures, cause_mix([]).shares) == (0, {})


def test_every_cause_has_a_fix_in_words() -> None:
    assert tuple(FIX) == CAUSES and all(FIX.values())
