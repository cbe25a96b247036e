"""Answers: quotes are verbatim and checked, refusals say why, and a chat model's reply is sifted before it is shown."""

from __future__ import annotations

from typing import Any

import pytest
from fakes_embedding import make_answerer, passage
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from playbook.answering import (
    MAX_QUESTION,
    MAX_SENTENCES,
    MAX_WORDS,
    Answer,
    Citation,
    verify,
)

RENTAL = passage(
    "p1", "A deposit of $150 is due. It is paid back in 14 days.\nBring the bed back clean.", "rental.md", "Deposit"
)
MANUAL = passage("p2", "Change the filter LR-310 monthly. Never wash it – buy a new one!", "manual.md", "page 4")
NOISE = passage("p3", "Our vans leave at nine. Drivers carry gloves.", "drivers.md", "Vans")


def chat(reply: str, asked: str = "How much is the deposit?", **kwargs: Any) -> Answer:
    return make_answerer(RENTAL, MANUAL, chat=FakeListChatModel(responses=[reply]), **kwargs).ask(asked)


# -------------------------------------------------------------------------------------------------- extractive answers


def test_answer_quotes_the_right_sentence_word_for_word() -> None:
    answer = make_answerer(RENTAL, MANUAL, NOISE).ask("How much is the deposit?")
    assert not answer.refused
    assert answer.citations[0].quote == "A deposit of $150 is due."
    assert str(answer.citations[0]) == "rental.md, Deposit"
    assert answer.text == " ".join(c.quote for c in answer.citations) == answer.draft


@pytest.mark.parametrize("asked", ["How much is the deposit?", "Filter LR-310?", "vans gloves deposit", "zzz", "–"])
def test_every_citation_of_an_answer_can_be_verified(asked: str) -> None:
    answerer = make_answerer(RENTAL, MANUAL, NOISE)
    answer = answerer.ask(asked)
    passages = answerer.retriever.store.get_by_ids(answer.passage_ids)
    assert answer.citations
    for citation in answer.citations:
        text = next(p.page_content for p in passages if p.id == citation.passage_id)
        assert text[citation.start : citation.end] == citation.quote
        assert verify(citation, passages)


def test_answer_keeps_to_its_sentence_and_word_limits() -> None:
    long = "Deposit " + "word " * 60 + "end."
    answer = make_answerer(
        passage("1", " ".join([long] * 2)), passage("2", "Deposit one. Deposit two. Deposit three. Deposit four.")
    ).ask("deposit")
    assert 1 <= len(answer.citations) <= MAX_SENTENCES
    assert len(answer.citations) == 1 or len(answer.text.split()) <= MAX_WORDS


def test_verify_is_false_for_another_span_another_text_or_another_passage() -> None:
    right = Citation(
        source="rental.md", place="Deposit", passage_id="p1", start=0, end=25, quote="A deposit of $150 is due."
    )
    assert verify(right, [RENTAL, MANUAL])
    for change in (
        {"start": 1},
        {"end": 24},
        {"quote": "A deposit of $100 is due."},
        {"passage_id": "p2"},
        {"passage_id": "gone"},
    ):
        assert not verify(right.model_copy(update=change), [RENTAL, MANUAL]), change
    assert not verify(right, [MANUAL])
    assert not verify(right.model_copy(update={"start": 3, "end": 3, "quote": ""}), [RENTAL]), (
        "an empty quote proves nothing"
    )


def test_refusal_shows_no_text_names_missing_words_and_keeps_the_draft() -> None:
    answer = make_answerer(RENTAL, intercept=-9.0).ask("Do you sell helicopters?")
    assert (answer.refused, answer.text, answer.citations) == (True, "", ())
    assert answer.reason == "support 0.00 is below 0.50; no passage mentions: sell, helicopters"
    assert answer.draft, "notebook 05 needs what would have been said"


def test_without_the_only_source_there_is_nothing_to_answer_from() -> None:
    answer = make_answerer(RENTAL).ask("How much is the deposit?", without="rental.md")
    assert (answer.refused, answer.reason, answer.confidence, answer.passage_ids) == (
        True,
        "no passage was found",
        0.0,
        (),
    )


def test_without_one_source_answers_from_the_others_only() -> None:
    answer = make_answerer(RENTAL, NOISE).ask("How much is the deposit?", without="rental.md")
    assert {c.source for c in answer.citations} == {"drivers.md"}


@pytest.mark.parametrize("asked", ["", "  \n\t ", "x" * 10_000])
def test_empty_and_overlong_questions_are_refused_with_their_length(asked: str) -> None:
    with pytest.raises(
        ValueError, match=f"the question has {len(asked.strip())} characters; ask with 1 to {MAX_QUESTION}"
    ):
        make_answerer(RENTAL).ask(asked)


def test_longest_question_allowed_is_answered() -> None:
    assert make_answerer(RENTAL).ask("d" * MAX_QUESTION).question == "d" * MAX_QUESTION


def test_same_question_gives_the_same_answer_but_for_the_time() -> None:
    first, second = (make_answerer(RENTAL, MANUAL, NOISE).ask("deposit filter") for _ in range(2))
    assert first.model_dump(exclude={"milliseconds"}) == second.model_dump(exclude={"milliseconds"})


def test_tokens_are_those_of_question_and_passages() -> None:
    assert make_answerer(NOISE).ask("Vans at nine?").tokens == 3 + 8


# ------------------------------------------------------------------------------------------------------- chat answers


def test_chat_statements_without_a_citation_are_removed() -> None:
    answer = chat("It is $150 [1]. Everybody knows that. The bed costs nothing.")
    assert answer.text == "It is $150 [1]."
    assert [c.source for c in answer.citations] == ["rental.md"]


def test_chat_citation_after_the_full_stop_belongs_to_its_statement() -> None:
    answer = chat("It is $150. [1] Change filters monthly. [2] Goodbye.")
    assert answer.text == "It is $150. [1] Change filters monthly. [2]"
    assert [c.source for c in answer.citations] == ["rental.md", "manual.md"]


def test_chat_citing_two_passages_in_one_bracket() -> None:
    answer = chat("A deposit of $150 is due, and filters are changed monthly [1, 2].")
    assert [c.quote for c in answer.citations] == ["A deposit of $150 is due.", "Change the filter LR-310 monthly."]
    assert chat("A deposit of $150 is due, and filters are changed monthly [2,1].").citations == answer.citations


def test_chat_citations_are_the_sentences_that_carry_the_statements() -> None:
    answer = chat("A deposit of $150 is due [1]. It is due, the $150 deposit [1]. It is paid back in 14 days [1].")
    assert [c.quote for c in answer.citations] == ["A deposit of $150 is due.", "It is paid back in 14 days."]
    assert all(verify(c, [RENTAL]) for c in answer.citations)


@pytest.mark.parametrize(
    "claim",
    ["A deposit of $1500 is due [1].", "Filters LR-999 are changed monthly [2].", "Helicopters land weekly [1]."],
)
def test_chat_statements_that_their_passage_does_not_support_are_removed_and_counted(claim: str) -> None:
    answer = chat(f"A deposit of $150 is due [1]. {claim}")
    assert (answer.text, answer.dropped) == ("A deposit of $150 is due [1].", 1)


def test_markup_control_characters_and_links_of_a_model_stay_plain_text() -> None:
    answer = chat("<i>A deposit of $150 is due</i>\x07 [1].")
    assert answer.text == "<i>A deposit of $150 is due</i> [1]."


@pytest.mark.parametrize(
    "reply", ["It is $150 [3].", "It is $150 [0].", "It is $150 [99] [-1].", "It is $150.", "", "[x]"]
)
def test_chat_replies_without_a_valid_passage_number_are_refused(reply: str) -> None:
    answer = chat(reply)
    assert (answer.refused, answer.text, answer.citations) == (True, "", ())
    assert answer.reason == "the chat model gave no statement that a passage supports"


def test_chat_statement_with_a_valid_and_an_invalid_number_keeps_the_valid_citation() -> None:
    answer = chat("It is $150 [1] [77].")
    assert not answer.refused and [c.passage_id for c in answer.citations] == ["p1"]


@pytest.mark.parametrize(
    "reply", ["REFUSE", " REFUSE.", "**REFUSE**", "REFUSE [1]", "REFUSE\nPassages [1] and [2] do not say."]
)
def test_chat_refusal_is_a_refusal_with_its_reason(reply: str) -> None:
    answer = chat(reply)
    assert (answer.refused, answer.text, answer.citations) == (True, "", ())
    assert answer.reason == "the chat model found no answer in the passages"


def test_chat_statement_about_refuse_collection_is_no_refusal() -> None:
    assert chat("Refuse? Bring the bed back clean [1].").text == "Bring the bed back clean [1]."


def test_chat_model_is_not_asked_when_support_is_too_low() -> None:
    class Untouchable:
        def invoke(self, prompt: str) -> None:
            raise AssertionError("the chat model was asked")

    assert make_answerer(RENTAL, intercept=-9.0, chat=Untouchable()).ask("How much is the deposit?").refused


def test_chat_prompt_holds_numbered_passages_and_braces_in_them_do_no_harm() -> None:
    seen: list[str] = []

    class Listening(FakeListChatModel):
        def invoke(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
            seen.append(prompt)
            return super().invoke(prompt, *args, **kwargs)

    braces = passage("b", "Use {question} and {0} as written.", "form.md")
    answer = make_answerer(braces, chat=Listening(responses=["As written [1]."])).ask("How is {question} used?")
    assert answer.text == "As written [1]."
    assert "[1] (form.md) Use {question} and {0} as written." in seen[0]
    assert seen[0].endswith("Question: How is {question} used?")


# ------------------------------------------------------------------------------------------ conflicts, kinds, summaries


def test_another_files_figures_on_the_same_thing_are_shown_as_a_conflict() -> None:
    other = passage("p9", "A deposit of $200 is due.", "billing.md", "Deposit")
    answer = make_answerer(RENTAL, other, NOISE).ask("How much is the deposit?")
    assert {c.quote for c in answer.conflicts} | {answer.citations[0].quote} == {
        "A deposit of $150 is due.",
        "A deposit of $200 is due.",
    }
    assert not make_answerer(RENTAL, NOISE).ask("How much is the deposit?").conflicts


def test_a_replaced_document_loses_against_its_successor() -> None:
    old = passage("old", "The deposit is 100 dollars.", "rental_v1.md", "Deposit")
    new = passage("new", "Now the deposit is 120 dollars.", "rental_v2.md", "Deposit")
    answerer = make_answerer(old, new)
    assert answerer.ask("The deposit is?").citations[0].source == "rental_v1.md"
    old.metadata["replaced_by"] = ["rental_v2.md"]
    assert make_answerer(old, new).ask("The deposit is?").citations[0].source == "rental_v2.md"


def test_the_same_sentence_in_two_files_is_quoted_once() -> None:
    copy = passage("p8", RENTAL.page_content, "copy.md", "Deposit")
    quotes = [c.quote for c in make_answerer(RENTAL, copy).ask("How much is the deposit?").citations]
    assert len(quotes) == len(set(quotes))


def test_a_question_for_an_address_prefers_a_sentence_that_holds_one() -> None:
    desk = passage("d", "Complaints are read by the desk. Complaints: desk@fennmoor.example", "desk.md")
    answer = make_answerer(desk).ask("To which e-mail do complaints go?")
    assert "desk@fennmoor.example" in answer.citations[0].quote


def test_a_summary_quotes_at_most_one_sentence_a_passage_in_reading_order() -> None:
    first = passage("s1", "The lift carries people of up to 160 kg. It is blue.", "lift.md", "Load")
    second = passage("s2", "People are carried in a sling that fits the lift. Wash it.", "lift.md", "Slings")
    cited = make_answerer(first, second, NOISE).summarise("lift.md")
    assert [c.passage_id for c in cited] == ["s1", "s2"]
    assert all(verify(c, [first, second]) for c in cited)
    with pytest.raises(ValueError, match="gone.md has no sentences in the index"):
        make_answerer(NOISE).summarise("gone.md")
