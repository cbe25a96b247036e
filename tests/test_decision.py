"""The decision: written rules on measured results. Nothing unproved is recommended, an override opens nothing."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from playbook.arms import ArmScore
from playbook.checked import TABLES, read_yaml
from playbook.decision import STATEMENTS, decide, no_longer_holds, score_predictions
from playbook.diagnosis import DiagnosisResult, Verdict, load_rules
from playbook.economics import EconomicsResult, OptionCost
from playbook.evaluation import compare, proportion
from playbook.gates import Check, Gate
from playbook.gates import decide as gate_of
from playbook.plan import provable
from playbook.prices import load_price_book
from playbook.results import (
    BaselineResult,
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
LIMITS = read_yaml(TABLES / "plan.yaml")["thresholds"]
PLAN = PlanResult.model_construct(plan=type("Plan", (), {"thresholds": LIMITS}))
RULES = load_rules()


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
        once=total / 2,
        monthly=0,
        first_year=0,
        total=total,
        per_item=0,
    )


ECONOMICS = EconomicsResult.model_construct(
    currency="USD",
    months=24,
    budget=60_000,
    assumptions=tuple(load_price_book().lines.values()),
    options=(
        option("answers", "do_nothing", 0),
        option("answers", "rag", 12345.6),
        option("ticket_codes", "cheap_classifier", 900),
        option("ticket_codes", "lora", 70000),
    ),
    flip_points=tuple(f"flip {n}" for n in range(6)),
)
INPUTS = {"documents": 36, "questions": 0, "of them unanswerable": 0, "labelled texts": 0, "codes": 0}
NO_ROOM = RoomResult.model_construct(predictions=(), inputs=INPUTS)


def made(
    results: MeasurementResult | None = None,
    first: str = "open",
    second: str = "open",
    adapter: LoraResult | None = None,
    outcomes: dict[str, str] | None = None,
    economics: EconomicsResult = ECONOMICS,
    room: RoomResult = NO_ROOM,
    **more: Any,
) -> DecisionResult:
    verdicts = tuple(
        Verdict.model_construct(use_case=u, name=u.replace("_", " "), outcome=o, fired=RULES.rules) for u, o in (outcomes or {}).items()
    )
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
        **more,
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
        ("overridden", "open", 6, "Do not fine-tune now"),
    ],
)
def test_fine_tuning_needs_open_gates_and_a_proved_gain(first: str, second: str, wins: int, words: str) -> None:
    result = made(first=first, second=second, adapter=lora(wins))
    assert words in result.headline
    assert any("trained adapter was right on 38 of 40" in reason for reason in result.why)


def test_without_training_the_best_cheap_arm_is_used_when_it_is_good_enough() -> None:
    assert (
        "Do not fine-tune now for the codes: use the linear classifier as a suggestion"
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
    assert [reason.split(":")[0] for reason in result.why] == ["No test questions", "No labelled examples"]


def test_one_half_can_be_decided_without_the_other() -> None:
    assert made(measured(behaviour=())).headline.endswith("do not train for this.")
    assert made(measured(knowledge=())).headline.startswith("Do not fine-tune for the codes")


def test_the_first_pages_cost_is_that_of_what_is_recommended_and_of_what_a_gate_shut() -> None:
    assert made().cost == (
        "Answers by retrieval (RAG), recommended: 12,346 USD in 24 months, 6,173 of it once. "
        "Ticket codes by a cheap classifier, recommended: 900 USD in 24 months, 450 of it once."
    )
    assert made(first="closed", second="closed").cost.endswith(
        "a trained adapter (LoRA), not now because a gate is closed: 70,000 USD in 24 months, 35,000 of it once."
    )
    assert "missing (economics.yaml)" in made(economics=ECONOMICS.model_copy(update={"options": ()})).cost


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
    result = made(adapter=adapter, outcomes={"ticket_codes": outcome})
    assert result.diagnoses == {"ticket_codes": said}
    assert ("trained adapter" in result.because["ticket_codes"]) == (said != "untested")


def test_a_diagnosis_of_knowledge_is_held_against_the_plain_baseline() -> None:
    unproved = measured(knowledge_tests=paired("hybrid", "first_sentences", 5))
    outcomes = {"answers": "rag", "something_else": "rag"}
    assert made(outcomes=outcomes).diagnoses == {"answers": "confirmed", "something_else": "untested"}
    result = made(unproved, outcomes=outcomes)
    assert result.diagnoses["answers"] == "untested"
    assert "prove no difference" in result.because["answers"]
    poor = made(measured(knowledge=(arm("first_sentences", 1), arm("hybrid", 23))), outcomes=outcomes)
    assert (poor.diagnoses["answers"], "not right often enough yet" in poor.because["answers"]) == ("confirmed", True)


def predictions(**stated: float) -> RoomResult:
    return RoomResult.model_construct(
        inputs=INPUTS,
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


# ------------------------------------------------------------------------------------------- the record's lists, tables

LISTS = {"context", "drivers", "consequences", "could", "could_not", "collect", "stale"}
TABLES_OF_IT = {"options", "confirmation", "raci", "roadmap", "predictions", "budget", "sign_off"}
EMPTY = measured(knowledge=(), behaviour=(), unanswerable=0, answerable=0, refused_rightly=0, refused_wrongly=0)
KINDS = [
    {},
    {"results": EMPTY},
    {"results": measured(answerable=19)},
    {"results": measured(knowledge_tests=())},
    {"first": "closed", "second": "closed"},
    {"second": "overridden", "adapter": lora(8)},
    {"adapter": lora(8)},
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_decision_fills_every_section_with_finished_text(kind: dict[str, Any]) -> None:
    result = made(**kind, outcomes={"answers": "rag", "ticket_codes": "lora"})
    assert (set(result.lists), set(result.tables)) == (LISTS, TABLES_OF_IT)
    said = [*sum(result.lists.values(), ()), *(v for rows in result.tables.values() for row in rows for v in row.values())]
    assert all(said) and not [text for text in said if "{" in text or "_" in text]
    for name, rows in result.tables.items():
        assert len({tuple(row) for row in rows}) <= 1, f"{name}: every row has the same columns"
    assert set(result.diagnoses.values()) <= {"confirmed", "overturned", "untested"}


def test_options_show_doing_nothing_what_was_measured_and_what_a_gate_shut() -> None:
    rows = {(r["use_case"], r["option"]): r for r in made(first="closed", second="closed", adapter=lora(8)).tables["options"]}
    assert len(rows) == len(ECONOMICS.options)
    assert rows["Answers", "doing nothing for now"]["right"] == "not measured"
    assert rows["Answers", "retrieval (RAG)"]["right"].startswith("32 of 40")
    assert rows["Ticket codes", "a cheap classifier"]["said"] == "recommended"
    assert rows["Ticket codes", "a trained adapter (LoRA)"]["said"] == "not now because a gate is closed"
    assert rows["Ticket codes", "a trained adapter (LoRA)"]["right"].startswith("38 of 40")  # shown, and not counted


def test_drivers_are_rules_that_speak_for_the_verdict_of_a_measured_use_case() -> None:
    drivers = made(outcomes={"answers": "rag", "elsewhere": "rag"}).lists["drivers"]
    assert drivers and all(line.startswith("answers: ") for line in drivers)
    loud = {f"answers: {rule.plain}" for rule in RULES.rules if rule.effects.get("rag", 0) >= 2}
    assert set(drivers) == loud


def test_owners_are_named_where_known_and_else_to_be_named() -> None:
    people = {"documents": "Kwame Ferrante", "model": None, "it": "nobody named yet", "codes": ""}
    result = made(people=people)
    rows = {row["task"]: row for row in result.tables["raci"]}
    assert rows["Keep the documents true and current"]["responsible"] == "Kwame Ferrante"
    assert rows["Run and update the system"]["responsible"] == "to be named"
    signs = {row["role"]: row["name"] for row in result.tables["sign_off"]}
    assert signs["owns the documents"] == "Kwame Ferrante"
    assert {signs["owns the codes"], signs["looks after a trained model"], signs["pays"]} == {"to be named"}


def test_the_roadmap_has_four_stages_with_time_cost_and_source() -> None:
    rows = made().tables["roadmap"]
    assert [row["stage"] for row in rows] == ["workshop", "pilot", "governed production", "operation"]
    book = load_price_book()
    rate = book.line("specialist_cost_per_hour").value
    assert rows[1]["time"] == "3 to 10 working days"
    assert rows[1]["cost"] == f"{3 * 8 * rate:,.0f} to {10 * 8 * rate:,.0f} USD"
    assert rows[2]["cost"] == f"{4 * 40 * rate:,.0f} to {6 * 40 * rate:,.0f} USD"
    assert all(row["source"] for row in rows)


def test_confirmation_has_a_date_a_target_and_a_name() -> None:
    rows = made(people={"documents": "Kwame Ferrante"}).tables["confirmation"]
    assert rows[0]["by"] == "2027-01-24"  # twelve weeks after the first of November
    assert rows[0]["who"] == "Kwame Ferrante"
    assert "50%" in rows[0]["target"]


def test_predictions_stand_beside_what_happened() -> None:
    rows = made(room=predictions(rag_answers=0.9, adapter_wins=0.4)).tables["predictions"]
    assert [list(row) for row in rows[:1]] == [["statement", "Odile", "happened"]]
    assert (rows[0]["Odile"], rows[0]["happened"]) == ("90%", "yes")
    assert rows[-1]["happened"] == "not measured"  # no adapter was trained
    assert made().tables["predictions"] == ()


def test_without_items_the_record_says_what_could_not_be_decided_and_what_to_collect_with_counts() -> None:
    nothing = tuple(provable(what, 0, 0, LIMITS) for what in ("answerable questions", "texts to code"))
    result = made(EMPTY, baseline=BaselineResult.model_construct(provable=nothing))
    assert len(result.lists["could_not"]) == 2
    assert len(result.lists["collect"]) == 2
    assert result.lists["collect"][0].startswith("0 test questions are there; write at least 30")
    assert result.lists["could"]  # the diagnosis and the money
    assert result.tables["confirmation"] == ()
    some = (provable("answerable questions", 25, 2, LIMITS),)
    assert made(baseline=BaselineResult.model_construct(provable=some)).lists["collect"] == (some[0].sentence,)


def test_the_budget_is_told_after_each_gate() -> None:
    rows = made().tables["budget"]
    assert [row["after"] for row in rows] == ["03", "04", "05", "06", "07", "09"]
    assert all("of the budget of 60,000 left" in row["said"] for row in rows)
    over = made(economics=ECONOMICS.model_copy(update={"budget": 100})).tables["budget"]
    assert all("more than the budget" in row["said"] for row in over)


# --------------------------------------------------------------------------------------------- what no longer holds

RECORDED = {
    "01_diagnosis": {"use_cases.yaml": "u1"},
    "04_rag": {"03_plan": "p", "documents": "d1"},
    "05_measurements": {"04_rag": "r", "documents": "d1"},
    "06_gate": {"01_diagnosis": "x", "05_measurements": "m"},
}
NOW = {"use_cases.yaml": "u1", "03_plan": "p", "documents": "d1", "04_rag": "r", "01_diagnosis": "x", "05_measurements": "m"}


def test_unchanged_inputs_leave_everything_standing() -> None:
    assert no_longer_holds(RECORDED, NOW) == []


def test_changed_documents_name_the_figures_that_fall_and_those_that_rest_on_them() -> None:
    said = no_longer_holds(RECORDED, NOW | {"documents": "d2"})
    assert said[0] == (
        "The files accounted for, the search settings and the limit for refusing no longer hold (04_rag.json): documents "
        "changed since. Run notebooks/04_rag_prototype.ipynb again."
    )
    assert [line.split("(")[1].split(")")[0] for line in said] == ["04_rag.json", "05_measurements.json", "06_gate.json"]
    assert "04_rag, documents changed since" in said[1]


def test_an_input_that_is_gone_counts_as_changed() -> None:
    gone = {name: digest for name, digest in NOW.items() if name != "use_cases.yaml"}
    assert len(no_longer_holds(RECORDED, gone)) == 2  # the diagnosis, and the gate that rests on it


def test_every_artifact_of_the_route_has_words_for_what_is_lost() -> None:
    route = read_yaml(TABLES / "route.yaml")
    assert len(no_longer_holds({name: {"settings.yaml": "old"} for name in route}, {"settings.yaml": "new"})) == len(route)
