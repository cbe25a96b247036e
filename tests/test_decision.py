"""The decision: written rules on measured results. Nothing unproved is recommended, an override opens nothing."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from playbook.arms import ArmScore
from playbook.decision import STATEMENTS, decide, score_predictions
from playbook.diagnosis import DiagnosisResult, Verdict
from playbook.economics import EconomicsResult, OptionCost
from playbook.evaluation import compare, proportion
from playbook.gates import Check, Gate
from playbook.gates import decide as gate_of
from playbook.results import (
    DecisionResult,
    GateResult,
    LoraResult,
    MeasurementResult,
    PlanResult,
    Prediction,
    RoomResult,
    TrainingDataResult,
)

SETTLE = "run 03 and 05 with a chat model."
PLAN = PlanResult.model_construct(plan=type("Plan", (), {"thresholds": {"least_questions": 20}}))


def arm(name: str, hits: int, of: int = 40) -> ArmScore:
    return ArmScore(arm=name, evidence="direct", right=proportion(hits, of), refused=0, tokens=0)


def paired(first: str, second: str, wins: int) -> list:
    """An exact paired test in which `first` wins `wins` items and loses none."""
    return compare({first: [True] * 40, second: [False] * wins + [True] * (40 - wins)}, [(first, second)])


def measured(**changes: Any) -> MeasurementResult:
    found = {
        "looks": 1,
        "knowledge": (arm("first_sentences", 10), arm("hybrid", 32)),
        "knowledge_tests": paired("hybrid", "first_sentences", 22),
        "behaviour": (arm("definition", 16), arm("nearest_examples", 24), arm("linear_probe", 30)),
        "refused_rightly": 9,
        "unanswerable": 10,
        "refused_wrongly": 2,
        "answerable": 40,
    }
    return MeasurementResult.model_construct(**found | changes)


def gate(state: str = "open") -> Gate:
    evidence = "proxy" if state == "provisional" else "direct"
    check = Check(
        question="the figure", found="3", required="2", passed=state in ("open", "provisional"), evidence=evidence
    )
    override = {"name": "Odile Brandt", "reason": "paid already"} if state == "overridden" else None
    made = gate_of("Gate?", [check], SETTLE if state == "provisional" else "", override)
    assert made.state == state
    return made


def lora(wins: int, hits: int = 38) -> LoraResult:
    scores = (arm("lora_adapter", hits), arm("linear_probe", 30))
    return LoraResult.model_construct(looks=2, scores=scores, tests=paired("lora_adapter", "linear_probe", wins))


def option(use_case: str, name: str, total: float) -> OptionCost:
    return OptionCost(
        use_case=use_case,
        option=name,
        months=24,
        lines=(),
        once=0,
        monthly=0,
        first_year=0,
        total=total,
        per_item=0,
    )


ECONOMICS = EconomicsResult.model_construct(
    currency="USD",
    options=(
        option("answers", "rag", 12345.6),
        option("ticket_codes", "cheap_classifier", 900),
        option("ticket_codes", "lora", 70000),
    ),
    flip_points=tuple(f"flip {n}" for n in range(6)),
)
NO_ROOM = RoomResult.model_construct(predictions=())


def made(
    results: MeasurementResult | None = None,
    first: str = "open",
    second: str = "open",
    adapter: LoraResult | None = None,
    outcomes: dict[str, str] | None = None,
    economics: EconomicsResult = ECONOMICS,
    room: RoomResult = NO_ROOM,
) -> DecisionResult:
    verdicts = tuple(Verdict.model_construct(use_case=u, outcome=o) for u, o in (outcomes or {}).items())
    return decide(
        PLAN,
        DiagnosisResult.model_construct(verdicts=verdicts),
        economics,
        results or measured(),
        GateResult.model_construct(gate=gate(first)),
        TrainingDataResult.model_construct(gate=gate(second)),
        adapter,
        room,
        date(2026, 11, 1),
        "answers",
        "ticket_codes",
    )


# -------------------------------------------------------------------------------------------- answers from documents


def test_retrieval_is_recommended_when_it_is_provably_better_and_good() -> None:
    result = made()
    assert result.headline.startswith("Answer from your documents with retrieval (RAG)")
    assert "is proved (exact paired test)" in result.sure
    assert "right on 32 of 40 (80%, 95 % between 65% and 90%)" in result.why[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"knowledge_tests": paired("hybrid", "first_sentences", 5)},  # five wins of forty prove nothing
        {
            "knowledge": (arm("first_sentences", 1), arm("hybrid", 23))
        },  # proved, yet perhaps right less than half the time
    ],
)
def test_retrieval_is_only_piloted_when_unproved_or_poor(changes: dict[str, Any]) -> None:
    assert made(measured(**changes)).headline.startswith("Pilot retrieval (RAG)")


def test_with_too_few_questions_it_is_too_early_to_say_however_good_the_score() -> None:
    result = made(measured(answerable=19, knowledge=(arm("hybrid", 19, 19),)))
    assert "too early to say; 19 answerable test questions, 20 are needed" in result.headline
    assert "retrieval (RAG)" not in result.headline
    assert made(measured(answerable=20)).headline.startswith("Answer from your documents")


def test_the_other_direction_of_a_test_proves_nothing_for_retrieval() -> None:
    assert made(measured(knowledge_tests=paired("first_sentences", "hybrid", 22))).headline.startswith("Pilot")


# -------------------------------------------------------------------------------------------------------- behaviour


def test_an_adapter_that_wins_behind_open_gates_is_recommended_on_its_own_score() -> None:
    result = made(adapter=lora(wins=8), results=measured(behaviour=(arm("linear_probe", 20),)))
    assert (
        "Fine-tune a small adapter for the codes: use the adapter as a suggestion a person confirms." in result.headline
    )
    assert "The adapter is provably better than the cheap classifier." in result.sure


@pytest.mark.parametrize(
    ("first", "second", "wins", "words"),
    [
        ("open", "open", 5, "Do not fine-tune for the codes"),  # five wins to none: p = 0.0625
        ("open", "open", 6, "Fine-tune a small adapter"),
        ("provisional", "provisional", 6, "Fine-tune a small adapter"),
        ("closed", "closed", 6, "Do not fine-tune now"),
        ("open", "closed", 6, "Do not fine-tune now"),
        ("closed", "overridden", 6, "Do not fine-tune now"),  # trained by override: measured, shown, not counted
        ("open", "overridden", 6, "Do not fine-tune now"),
    ],
)
def test_fine_tuning_needs_open_gates_and_a_proved_gain(first: str, second: str, wins: int, words: str) -> None:
    result = made(first=first, second=second, adapter=lora(wins))
    assert words in result.headline
    assert any("trained adapter was right on 38 of 40" in reason for reason in result.why)


def test_without_training_the_best_cheap_arm_is_used_when_it_is_good_enough() -> None:
    assert (
        "Do not fine-tune now for the codes: use the linear probe as a suggestion"
        in made(first="closed", second="closed").headline
    )
    poor = measured(
        behaviour=(arm("definition", 10), arm("linear_probe", 20))
    )  # half right: the interval starts at 35 %
    assert "let people keep the codes and collect examples" in made(poor).headline


# ------------------------------------------------------------------------------------- what is missing, cost, expiry


def test_without_items_the_decision_is_to_collect_them() -> None:
    empty = measured(knowledge=(), behaviour=(), unanswerable=0, answerable=0, refused_rightly=0, refused_wrongly=0)
    result = made(empty)
    assert result.headline.startswith("Nothing could be measured yet")
    assert [reason.split(":")[0] for reason in result.why] == ["No frozen questions", "No labelled examples"]


def test_one_half_can_be_decided_without_the_other() -> None:
    assert made(measured(behaviour=())).headline.endswith("do not train for this.")
    assert made(measured(knowledge=())).headline.startswith("Do not fine-tune for the codes")


def test_cost_names_each_option_with_currency_and_months() -> None:
    assert made().cost == (
        "Answers by rag: 12,346 USD in 24 months; ticket codes by cheap classifier: 900 USD in 24 months; "
        "ticket codes by lora: 70,000 USD in 24 months"
    )
    nothing = EconomicsResult.model_construct(currency="USD", options=(), flip_points=())
    assert "missing (economics.yaml)" in made(economics=nothing).cost


def test_what_would_change_it_are_four_flip_points_and_the_run_that_settles_a_proxy() -> None:
    assert made().would_change == ("flip 0", "flip 1", "flip 2", "flip 3")
    assert made(first="provisional", second="provisional").would_change[-1] == SETTLE


def test_it_expires_105_days_after_the_engagements_date_and_shows_all_looks() -> None:
    assert made().expires == "2027-02-14"  # 29 days of November, December, January, 14 of February
    assert made().looks == 1
    assert made(adapter=lora(6)).looks == 2


# -------------------------------------------------------------------------------------- diagnoses and predictions


@pytest.mark.parametrize(
    ("outcome", "wins", "said"),
    [
        ("cheap_classifier", 0, "confirmed"),
        ("cheap_classifier", 8, "overturned"),
        ("lora", 8, "confirmed"),
        ("lora", 0, "overturned"),
        ("smaller_tuned_model", 8, "confirmed"),
        ("prompt_only", 8, "overturned"),
        ("prompt_only", 0, "untested"),  # no gain from training says nothing about prompts
        ("lora", None, "untested"),
    ],
)
def test_a_diagnosis_of_behaviour_is_held_against_the_adapter(outcome: str, wins: int | None, said: str) -> None:
    adapter = None if wins is None else lora(wins)
    assert made(adapter=adapter, outcomes={"ticket_codes": outcome}).diagnoses == {"ticket_codes": said}


def test_a_diagnosis_of_knowledge_is_held_against_the_plain_baseline() -> None:
    unproved = measured(knowledge_tests=paired("hybrid", "first_sentences", 5))
    outcomes = {"answers": "rag", "something_else": "rag"}
    assert made(outcomes=outcomes).diagnoses == {"answers": "confirmed", "something_else": "untested"}
    assert made(unproved, outcomes=outcomes).diagnoses["answers"] == "not yet proved"


def predictions(**stated: float) -> RoomResult:
    return RoomResult.model_construct(
        predictions=tuple(Prediction(who="Odile", statement=s, probability=p) for s, p in stated.items())
    )


def test_predictions_are_scored_by_what_happened() -> None:
    room = predictions(rag_answers=0.9, refuses=0.5, cheap_codes=0.2, adapter_wins=1.0)
    # happened: 80 % right; 9 of 10 refused; nearest examples 60 %; the adapter did not win
    assert score_predictions(room, measured(), lora(wins=0))["Odile"] == pytest.approx((0.01 + 0.25 + 0.64 + 1.0) / 4)


def test_only_measured_statements_are_scored_and_nobody_is_scored_on_none() -> None:
    room = predictions(adapter_wins=1.0)
    assert score_predictions(room, measured(), None) == {}
    room = predictions(refuses=0.5, adapter_wins=1.0)
    assert score_predictions(room, measured(refused_rightly=7), None) == {"Odile": 0.25}


def test_every_statement_of_the_ledger_can_be_scored() -> None:
    scores = [score_predictions(predictions(**{s: 1.0}), measured(), lora(6)) for s in STATEMENTS]
    assert scores == [{"Odile": 0.0}] * 4
