"""Why a question failed: one hand-made case for each of the five causes."""

from __future__ import annotations

import pytest
from fakes_embedding import make_answerer, passage
from langchain_core.documents import Document
from langchain_core.messages import AIMessage

from playbook.answering import Answer
from playbook.arms import Output, StyleGuide, StyleRule
from playbook.attribution import CAUSE_TABLE, CAUSES, FIX, Failure, cause_mix, instructive, why_miscoded, why_wrong
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


def failure(asked: Question, given: Answer, chat: object = None, **more: object) -> Failure:
    return why_wrong(asked, given, make_answerer(RENTAL, VANS, chat=chat), SECTIONS, **more)


class Chat:
    """Replies with the first of its replies whose trigger stands in the prompt."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies = replies

    def invoke(self, prompt: str) -> AIMessage:
        return AIMessage(next(reply for trigger, reply in self.replies.items() if trigger in prompt))


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
    assert (found.cause, found.recovered_by) == ("reading", ("oracle passage",))
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
    assert (found.pattern, found.recovered_by, found.missing) == ({"answerable": False}, (), ())


# ------------------------------------------------------------------------------------------- form, glossary, two passages

FORMED = ASKED.model_copy(update={"required_form": "begins with yes"})
RULE = StyleRule(id="yes", words="Yes at the beginning", scope="reply", patterns=("^Yes",), times=(1, 1))
YES = {"begins with yes": StyleGuide(rules=(RULE,))}
TERMS = {"deposit": "money that is paid back", "sling": "a cloth"}


def test_behaviour_when_passage_and_fact_are_right_but_the_form_is_not() -> None:
    found = failure(FORMED, answer("A deposit of $150 is due."), forms=YES)
    assert (found.cause, found.recovered_by, found.missing) == ("behaviour", (), ())
    assert (found.pattern["right fact"], found.pattern["constrained"], found.pattern["glossary"]) == (True, None, None)


def test_behaviour_when_the_same_passages_suffice_once_the_form_is_asked_for() -> None:
    chat = Chat({"Answer in this form: begins with yes.": "Yes, a deposit of $150 is due [1].", "": "Vans leave [1]."})
    found = failure(FORMED, answer("It is paid back in 14 days."), chat=chat, forms=YES, terms=TERMS)
    assert (found.cause, found.recovered_by) == ("behaviour", ("constrained",))
    assert found.pattern["glossary"] is False and found.missing == ("$150",)


def test_reading_when_only_the_glossary_puts_it_right() -> None:
    chat = Chat({"What the words mean here: deposit: money that is paid back.": "$150 is due [1].", "": "REFUSE"})
    found = failure(ASKED, answer("It is paid back in 14 days."), chat=chat, terms=TERMS)
    assert (found.cause, found.recovered_by) == ("reading", ("glossary",))
    assert found.pattern["constrained"] is None, "no form is asked for"


def test_refusal_of_a_chat_model_counts_as_held_back_when_it_answers_right_once_it_must() -> None:
    chat = Chat({"": "A deposit of $150 is due [1]."})
    assert failure(ASKED, answer("", draft="Vans leave at nine.", refused=True), chat=chat).cause == "refusal"
    silent = Chat({"": "REFUSE"})
    assert failure(ASKED, answer("", draft="REFUSE", refused=True), chat=silent).cause == "reading"


def test_oracle_passages_are_those_that_hold_it_together_when_no_single_one_does() -> None:
    rest = passage("rest", "Late fees are $9.", "rental.md")
    asked = ASKED.model_copy(update={"must_contain": (("$150",), ("$9",)), "question": "Deposit and late fees?"})
    sections = [*SECTIONS, Document(page_content=rest.page_content, metadata={"source": "rental.md"})]
    found = why_wrong(asked, answer("Vans.", passages=("vans",)), make_answerer(RENTAL, VANS, rest), sections)
    assert (found.cause, found.recovered_by, found.missing) == ("retrieval", ("oracle passage",), ("$150", "$9"))


# --------------------------------------------------------------------------------------------------------- truth table


def test_truth_table_names_only_what_is_tried_ends_in_a_row_for_the_rest_and_reaches_every_cause() -> None:
    tried = CAUSE_TABLE["checks"] | CAUSE_TABLE["interventions"]
    assert {name for row in CAUSE_TABLE["answers"] for name in row.get("when", {})} <= set(tried)
    assert {name for row in CAUSE_TABLE["codes"] for name in row.get("when", {})} == {"definition", "nearest_examples"}
    assert set(CAUSE_TABLE["added"]) <= set(CAUSE_TABLE["interventions"])
    assert {row["cause"] for row in CAUSE_TABLE["answers"]} == set(CAUSES)
    for kind in ("answers", "codes"):
        *rows, last = CAUSE_TABLE[kind]
        assert all(row["when"] for row in rows) and "when" not in last and all(row["why"] for row in [*rows, last])


# --------------------------------------------------------------------------------------------------------------- codes


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


def test_what_was_not_tried_is_no_reason_to_train() -> None:
    rows = [row("1", "linear_probe", "B"), row("1", "definition", "B")]
    assert [f.cause for f in why_miscoded(rows, {"1": "t"}, "linear_probe")] == ["reading"]


def test_texts_that_two_people_coded_differently_are_counted_apart() -> None:
    arms = ("linear_probe", "definition", "nearest_examples")
    rows = [row(item, arm, "B") for item in ("1", "2", "3") for arm in arms]
    found = why_miscoded(rows, dict.fromkeys("123", "t"), "linear_probe", disputed={"2", "9"})
    mix = cause_mix(found)
    assert [f.disputed for f in found] == [False, True, False]
    assert (mix.failures, mix.disputed, mix.shares["behaviour"].hits, mix.shares["behaviour"].n) == (2, 1, 2, 2)
    assert (cause_mix(found[1:2]).failures, cause_mix(found[1:2]).shares) == (0, {})


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


def test_instructive_failures_go_round_the_causes_and_take_one_single_recovery_first() -> None:
    def made(item: str, cause: str, *recovered: str, disputed: bool = False) -> Failure:
        shown = {"asked": "", "given": "", "wanted": "", "disputed": disputed}
        return Failure(item=item, cause=cause, recovered_by=recovered, **shown)

    given = [
        made("a", "refusal", "no refusal", "oracle passage"), made("b", "reading"), made("c", "reading", "oracle passage"),
        made("d", "retrieval"), made("e", "refusal", "no refusal"), made("f", "reading", "glossary"),
        made("g", "retrieval", "oracle passage", disputed=True),
    ]  # fmt: skip
    assert [f.item for f in instructive(given)] == ["d", "c", "e", "f", "a", "b"]
    assert [f.item for f in instructive(given, most=2)] == ["d", "c"] and instructive([]) == []


def test_every_cause_has_a_fix_in_words() -> None:
    assert tuple(FIX) == CAUSES and all(FIX.values())
