"""Answers: quotes are verbatim and checked, refusals say why, and a chat model's reply is sifted before it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes_embedding import make_answerer, passage, refusal
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from playbook.answering import (
    FEATURES,
    MAX_QUESTION,
    MAX_SENTENCES,
    MAX_WORDS,
    Answer,
    Citation,
    RefusalModel,
    best_threshold,
    calibrate,
    save_refusal,
    shipped_refusal,
    verify,
)
from playbook.items import Question

RENTAL = passage(
    "p1", "A deposit of $150 is due. It is paid back in 14 days.\nBring the bed back clean.", "rental.md", "Deposit"
)
MANUAL = passage("p2", "Change the filter LR-310 monthly. Never wash it – buy a new one!", "manual.md", "page 4")
NOISE = passage("p3", "Our vans leave at nine. Drivers carry gloves.", "drivers.md", "Vans")


def question(asked: str, key: str = "", source: str = "", answerable: bool = True) -> Question:
    groups = ((key,),) if key else ()
    return Question(
        id=asked, question=asked, expected_answer=key, must_contain=groups, source=source, answerable=answerable
    )


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
    assert answer.reason == "support 0.00 is below 0.50; no passage mentions: sell, helicopter"
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


# ---------------------------------------------------------------------------------------------------- refusal decision


def test_confidence_is_the_logistic_of_the_standardised_features() -> None:
    model = RefusalModel(
        weights=(2.0,), intercept=-1.0, centre=(1.0,), spread=(0.5,), threshold=0.5, calibrated_on="a test"
    )
    assert model.confidence([1.25]) == pytest.approx(0.5)  # 2 * (1.25 - 1) / 0.5 - 1 = 0
    assert model.confidence([1.75]) == pytest.approx(0.880797, abs=1e-6)  # 1 / (1 + exp(-2))


def test_calibration_learns_to_refuse_when_the_source_is_gone() -> None:
    answerer = make_answerer(RENTAL, MANUAL, NOISE)
    asked = [
        question("How much is the deposit?", "$150", "rental.md"),
        question("Which filter is changed monthly?", "LR-310", "manual.md"),
        question("When do the vans leave?", "nine", "drivers.md"),
        question("Is there a helicopter?", answerable=False),
    ]
    model = calibrate(answerer, asked)
    assert model.calibrated_on == "4 tuning questions and 3 twins without their source"
    assert len(model.weights) == len(model.centre) == len(model.spread) == len(FEATURES)
    answerer.refusal = model
    assert not answerer.ask("How much is the deposit?").refused
    assert answerer.ask("How much is the deposit?", without="rental.md").refused
    assert answerer.ask("Is there a helicopter?").refused


def test_calibration_on_one_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="all 2 calibration cases have the same outcome"):
        calibrate(
            make_answerer(RENTAL), [question("Helicopter?", answerable=False), question("Aeroplane?", answerable=False)]
        )


def test_saved_calibration_reads_back_the_same(tmp_path: Path) -> None:
    save_refusal(refusal(1.5), tmp_path / "refusal.yaml")
    stored = yaml.safe_load((tmp_path / "refusal.yaml").read_text(encoding="utf-8"))
    assert RefusalModel.model_validate(stored) == refusal(1.5)


def test_shipped_calibration_fits_the_features() -> None:
    shipped = shipped_refusal()
    assert len(shipped.weights) == len(shipped.centre) == len(shipped.spread) == len(FEATURES)
    assert shipped.confidence([1.0] * len(FEATURES)) > shipped.threshold > shipped.confidence([0.0] * len(FEATURES))


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
    assert [c.source for c in chat("It is $150 and monthly [1, 2].").citations] == ["rental.md", "manual.md"]


def test_chat_citing_one_passage_twice_gives_one_citation_that_verifies() -> None:
    answer = chat("It is $150 [1]. Paid back in 14 days [1].")
    assert len(answer.citations) == 1 and verify(answer.citations[0], [RENTAL])


@pytest.mark.parametrize(
    "reply", ["It is $150 [3].", "It is $150 [0].", "It is $150 [99] [-1].", "It is $150.", "", "[x]"]
)
def test_chat_replies_without_a_valid_passage_number_are_refused(reply: str) -> None:
    answer = chat(reply)
    assert (answer.refused, answer.text, answer.citations) == (True, "", ())
    assert answer.reason == "the chat model gave no statement with a citation that could be verified"


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
    assert chat("Refuse is collected with the bed [1].").text == "Refuse is collected with the bed [1]."


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


def test_best_threshold_ends_most_questions_right() -> None:
    cases = [(0.9, True, True), (0.45, True, True), (0.3, False, True), (0.2, False, False), (0.1, False, False)]
    assert best_threshold(cases) == 0.45  # shows both right drafts, refuses both unanswerable; 0.25 to 0.45 are equal
    assert best_threshold([(0.8, False, False), (0.9, True, True)]) == 0.85
