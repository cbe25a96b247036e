"""The diagnosis: rules fire where the sources say, verdicts and flips hold, and bad input is refused in plain words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playbook import diagnosis
from playbook.checked import read_yaml
from playbook.diagnosis import TABLES, UseCase, diagnose, diagnose_all, load_rules, load_use_cases

ROOT = Path(__file__).parents[1]
RULES = load_rules()
SAMPLE = {case.id: case for case in load_use_cases(ROOT / "data" / "sample_client" / "use_cases.yaml", RULES)}
PRACTICE = {case.id: case for case in load_use_cases(TABLES / "practice_cases.yaml", RULES)}
TRAINING = ("lora", "smaller_tuned_model")


def case(**answers: object) -> UseCase:
    return UseCase(id="a_case", name="A case", owner="Somebody", description="For a test.", answers=answers)


def scores(use_case: UseCase) -> dict[str, float]:
    return diagnose(use_case, RULES).scores


def outcome_of(use_case: UseCase) -> str:
    """The outcome alone, without its flips: diagnose() in a tenth of the time."""
    diagnosis.check_answers(use_case.answers, RULES, use_case.id)
    return diagnosis._rank(use_case.answers, RULES)[0][0]


VERDICTS = {known.id: diagnose(known, RULES) for known in (*SAMPLE.values(), *PRACTICE.values())}


# ---------------------------------------------------------------------------------------------- what the table holds


def test_the_table_has_every_row_of_both_decision_tables() -> None:
    for seed, name, rows in (("S1", "Table", 7), ("S3", "Factor", 6)):
        for row in range(1, rows + 1):
            says = f"{name} row {row} "
            assert len([r.id for r in RULES.rules if r.source.get(seed, "").startswith(says)]) == 1, says


def test_the_gap_in_s3_is_marked_as_our_reconstruction() -> None:
    gap = next(rule for rule in RULES.rules if rule.id == "s3-empty-section")
    assert list(gap.source) == ["reconstruction"]
    assert "empty" in gap.source["reconstruction"]
    assert [rule.id for rule in RULES.rules if "reconstruction" in rule.source] == [gap.id]


def test_each_rule_has_a_worked_case_and_each_outcome_is_expected_somewhere() -> None:
    worked = {rule for practice in PRACTICE.values() for rule in practice.rules}
    assert worked == {rule.id for rule in RULES.rules}
    assert {practice.expected for practice in PRACTICE.values()} == {outcome.id for outcome in RULES.outcomes}
    assert all(practice.rules for practice in PRACTICE.values())


def test_all_24_contradictions_of_the_sources_are_resolved_once() -> None:
    numbers = [number for rule in RULES.rules for number in rule.disputes]
    assert sorted(numbers, key=lambda c: int(c[1:])) == [f"C{n}" for n in range(1, 25)]
    worked = {rule for practice in PRACTICE.values() for rule in practice.rules}
    for rule in RULES.rules:
        for number, text in rule.disputes.items():
            assert rule.id in worked, f"no case exercises {number}"
            assert re.search(r"\b(S[0-4]|[Aa]ll five sources)\b", text), f"{number} does not say who claims it"
            assert re.search(r"\b([Ww]e|[Oo]ur|decides|They do not)\b", text), f"{number} does not say what is done"


def test_the_factors_of_the_sources_are_all_asked() -> None:
    """How often facts and style change, size against the window, citations, audit, time, volume, consistency, ..."""
    factors = """need wrong_part facts_per_month style_per_year corpus_tokens context_tokens citations audit latency_ms
        monthly_volume minutes_each consistency_first narrow_task examples_at_hand owner_named privacy offline budget"""
    assert set(factors.split()) <= {question.id for question in RULES.questions}
    text = (TABLES / "new_use_cases.yaml").read_text(encoding="utf-8")
    for question in RULES.questions:
        assert question.text in text and f"      {question.id}: " in text, f"the form does not ask {question.id}"


def test_every_question_is_used_and_every_outcome_can_win_points() -> None:
    used = {t.question for rule in RULES.rules for t in rule.when.all + rule.when.any}
    assert {q.id for q in RULES.questions} - used == set()
    given = {outcome for rule in RULES.rules for outcome, points in rule.effects.items() if points > 0}
    assert {o.id for o in RULES.outcomes} - given == set()
    moved = {axis for rule in RULES.rules for axis in rule.effects if axis in RULES.axes}
    assert moved == {"value", "readiness", "risk"} == set(RULES.axes)
    assert all(rule.effects.get("risk", 0) <= 0 for rule in RULES.rules)


def test_no_outcome_starts_with_training_and_training_comes_after_the_gate() -> None:
    for outcome in RULES.outcomes:
        assert outcome.steps[0] not in ("adapter", "data")
        if "adapter" in outcome.steps:
            assert outcome.steps.index("gate") < outcome.steps.index("data") < outcome.steps.index("adapter")
    lora = RULES.outcome("lora").steps
    assert [lora.index(s) for s in ("prompt", "constraint", "classifier", "measure", "gate", "adapter")] == sorted(
        lora.index(s) for s in ("prompt", "constraint", "classifier", "measure", "gate", "adapter")
    )


# ---------------------------------------------------------------------------------------------- rules and verdicts


WORKED = [(practice.id, rule) for practice in PRACTICE.values() for rule in practice.rules]


@pytest.mark.parametrize(("case_id", "rule"), WORKED, ids=[f"{c}-{r}" for c, r in WORKED])
def test_worked_case(case_id: str, rule: str) -> None:
    verdict = VERDICTS[case_id]
    assert rule in [fired.id for fired in verdict.fired]
    assert verdict.outcome == PRACTICE[case_id].expected == outcome_of(PRACTICE[case_id])


# What the sources call a case for training, and what the rules make of it: the case, and the answer that decides.
TURNS = [
    ("radiology_report", {"prompt_tried": "not_yet"}, "constrained_output"),  # the same wish before any work on it
    ("sealed_scanner", {"documents_forbidden": False}, "rag"),  # C1, C12: a local index is as local as an adapter
    ("answers_on_the_phone", {"latency_ms": 60000}, "rag"),  # C11: time allowed does not choose the method
    ("legacy_interface", {"prompt_tried": "not_enough"}, "constrained_output"),  # C3: a constraint before training
    ("defect_codes", {"own_codes": False}, "prompt_only"),  # C6
    ("terms_resist", {"terminology": "misunderstood", "prompt_tried": "not_yet"}, "prompt_only"),  # C5: glossary first
    ("opening_hours", {"corpus_tokens": 60000}, "rag"),  # C24
    ("shop_returns", {"context_tokens": 2000}, "rag"),  # the window is smaller than the text
    ("brand_voice_drifts", {"budget": 1000, "owner_named": False}, "prompt_only"),
    ("automatic_purchasing", {"human_check": True}, "constrained_output"),
]


@pytest.mark.parametrize(("case_id", "changed", "outcome"), TURNS, ids=[t[0] for t in TURNS])
def test_what_turns_a_case(case_id: str, changed: dict[str, object], outcome: str) -> None:
    assert diagnose(PRACTICE[case_id].answered(**changed), RULES).outcome == outcome


def test_every_part_of_a_mixed_need_has_its_own_verdict() -> None:
    parts = {part.kind: part.outcome for part in diagnose(PRACTICE["full_support_desk"], RULES).parts}
    assert parts == {"knowledge": "rag", "behaviour": "prompt_only"}
    parts = {part.kind: part.outcome for part in diagnose(PRACTICE["diagnosis_codes"], RULES).parts}
    assert parts == {"knowledge": "rag", "behaviour": "constrained_output"}  # C4: list looked up, form forced


def test_every_rule_can_fire() -> None:
    """Fulfil each rule's own condition and nothing else: it must fire, and the answers must be possible."""
    for rule in RULES.rules:
        answers: dict[str, object] = {}
        for line in rule.when.all + rule.when.any[:1]:
            value = line.value[0] if isinstance(line.value, tuple) else line.value
            if line.op.endswith("_answer"):
                value = answers.setdefault(line.value, 30000)
            step = {"more_than": 1, "less_than": -1}.get(line.op.removesuffix("_answer"), 0)
            answers[line.question] = value + step if step else value
        fired = {fired.id: fired for fired in diagnose(case(**answers), RULES).fired}
        assert rule.id in fired, f"{rule.id} does not fire for {answers}"
        assert fired[rule.id].source and fired[rule.id].plain


@pytest.mark.parametrize(
    ("case_id", "outcome"),
    [
        ("answers", "rag"),
        ("ticket_codes", "cheap_classifier"),
        ("complaint_script", "prompt_only"),
        ("order_form", "constrained_output"),
        ("delivery_zones", "fits_in_prompt"),
        ("invoices_and_stock", "query_database"),
        ("coded_replies", "hybrid"),
        ("service_refusal", "do_not_build"),
    ],
)
def test_sample_verdict(case_id: str, outcome: str) -> None:
    assert diagnose(SAMPLE[case_id], RULES).outcome == outcome


def test_points_strength_and_word_by_hand() -> None:
    """need=act and wrong_part=form: 1 + 3 + 2 for instructions, 1 + 1 for LoRA; 2 of 32 questions answered."""
    verdict = diagnose(case(need="act", wrong_part="form"), RULES)
    assert (verdict.outcome, verdict.scores["prompt_only"]) == ("prompt_only", 6)
    assert (verdict.runner_up, verdict.scores["lora"]) == ("lora", 2)
    assert verdict.strength == pytest.approx((6 - 2) / 6 * 2 / 32, abs=1e-4)
    assert verdict.strength_word == "weak"
    assert len(verdict.missing) == 30


def test_nothing_known_proposes_instructions_with_no_strength() -> None:
    verdict = diagnose(case(), RULES)
    assert (verdict.outcome, verdict.strength, verdict.need) == ("prompt_only", 0, "unknown")
    assert len(verdict.missing) == len(RULES.questions)


def test_unknown_and_unsure_count_as_missing() -> None:
    full = SAMPLE["order_form"]
    assert diagnose(full, RULES).missing == ()
    assert diagnose(full.answered(wrong_part="unknown"), RULES).missing == ("wrong_part",)
    assert diagnose(full.answered(need="unsure"), RULES).missing == ("need",)


def test_mixed_need_is_split_and_each_part_judged_alone() -> None:
    parts = {part.kind: part for part in diagnose(SAMPLE["coded_replies"], RULES).parts}
    assert (parts["knowledge"].outcome, parts["behaviour"].outcome) == ("rag", "cheap_classifier")
    assert diagnose(SAMPLE["answers"], RULES).parts == ()
    assert diagnose(case(need="both", high_stakes=True, human_check=False), RULES).parts == ()


def test_a_second_need_hidden_in_a_single_one_is_found() -> None:
    hidden = diagnose(SAMPLE["answers"].answered(own_codes=True, examples_at_hand=400), RULES)
    assert hidden.outcome == "hybrid"
    assert {part.kind: part.outcome for part in hidden.parts} == {"knowledge": "rag", "behaviour": "cheap_classifier"}
    assert any("Split the use case" in note for note in hidden.notes)


def test_wrong_facts_overrule_the_stated_need_to_act() -> None:
    assert diagnose(case(need="act", wrong_part="form"), RULES).outcome == "prompt_only"
    verdict = diagnose(case(need="act", wrong_part="fact"), RULES)
    assert verdict.outcome == "rag"
    assert any("do not match" in note for note in verdict.notes)


def test_not_to_build_cannot_be_outvoted() -> None:
    keen = SAMPLE["answers"].answered(human_check=False)
    verdict = diagnose(keen, RULES)
    assert verdict.scores["rag"] > verdict.scores["do_not_build"]
    assert (verdict.outcome, verdict.runner_up) == ("do_not_build", None)


def test_prompt_not_tried_rules_training_out_and_tried_in_vain_lets_it_in() -> None:
    voice = SAMPLE["complaint_script"]
    assert diagnose(voice.answered(prompt_tried="not_enough"), RULES).outcome == "lora"
    for untried in SAMPLE.values():
        verdict = diagnose(untried.answered(prompt_tried="not_yet"), RULES)
        assert verdict.outcome not in TRAINING and verdict.runner_up not in TRAINING


def test_citations_rule_out_an_adapter_alone() -> None:
    trained = PRACTICE["brand_voice_drifts"].answered(need="both")
    before = diagnose(trained, RULES)
    after = diagnose(trained.answered(citations=True), RULES)
    assert before.runner_up == "lora" and "lora" not in (after.outcome, after.runner_up)


@pytest.mark.parametrize("use_case", [*SAMPLE.values(), *PRACTICE.values()], ids=lambda c: c.id)
def test_privacy_decides_where_never_which(use_case: UseCase) -> None:
    """Not one point for or against any method, whatever the kind of data; only the place and the risk change."""
    verdicts = {p: diagnose(use_case.answered(privacy=p), RULES) for p in ("public", "personal", "regulated")}
    first = verdicts["public"]
    assert all(
        (v.scores, v.outcome, v.strength) == (first.scores, first.outcome, first.strength) for v in verdicts.values()
    )
    assert not [flip for flip in first.flips if flip.question == "privacy"]
    assert any(line.startswith("Must run on") for line in verdicts["personal"].where)
    assert not any(line.startswith("Must run on") for line in first.where)
    assert any("business associate agreement" in line for line in verdicts["regulated"].where)
    risks = [v.portfolio["risk"] for v in verdicts.values()]
    assert risks[0] > risks[1] > risks[2]


@pytest.mark.parametrize(
    ("rule", "question", "outside", "inside"),
    [
        ("row-data-changes", "facts_per_month", 1, 1.1),
        ("row-cost-to-iterate", "style_per_year", 3, 4),
        ("row-time-to-production", "weeks_to_first_use", 5, 4),
        ("large-corpus", "corpus_tokens", 20000, 20001),
        ("fits-in-context", "corpus_tokens", 20001, 20000),
        ("fits-in-context", "corpus_tokens", 0, 1),
        ("low-latency", "latency_ms", 501, 500),
        ("little-money", "budget", 6000, 5999),
        ("uses-1000", "monthly_volume", 999, 1000),
        ("minutes-10", "minutes_each", 9.5, 10),
        ("low-volume", "monthly_volume", 100000, 99999),
        ("few-examples", "examples_at_hand", 200, 199),
    ],
)
def test_threshold(rule: str, question: str, outside: float, inside: float) -> None:
    assert rule not in [fired.id for fired in diagnose(case(**{question: outside}), RULES).fired]
    assert rule in [fired.id for fired in diagnose(case(**{question: inside}), RULES).fired]


def test_training_stays_out_however_well_the_task_suits_it() -> None:
    suited = case(narrow_task=True, consistency_first=True, monthly_volume=2_000_000)
    assert diagnose(suited, RULES).outcome == "smaller_tuned_model"
    assert diagnose(suited.answered(prompt_tried="not_yet"), RULES).outcome == "prompt_only"


def test_a_tie_goes_to_the_cheaper_and_not_to_build_is_never_what_is_left() -> None:
    assert diagnose(case(), RULES.model_copy(update={"rules": ()})).outcome == "prompt_only"
    against = next(rule for rule in RULES.rules if rule.id == "prompt-always").model_copy(
        update={"effects": {o.id: -1 for o in RULES.outcomes if o.id != "do_not_build"}}
    )
    assert diagnose(case(), RULES.model_copy(update={"rules": (against,)})).outcome == "prompt_only"


# ---------------------------------------------------------------------------------------------- flips, monotone


@pytest.mark.parametrize("use_case", [*SAMPLE.values(), *PRACTICE.values()], ids=lambda c: c.id)
def test_flips_really_flip(use_case: UseCase) -> None:
    verdict = VERDICTS[use_case.id]
    for flip in verdict.flips:
        assert outcome_of(use_case.answered(**{flip.question: flip.answer})) == flip.outcome != verdict.outcome
    listed = {(f.question, f.outcome) for f in verdict.flips}
    assert len(listed) == len(verdict.flips)


@pytest.mark.parametrize("use_case", SAMPLE.values(), ids=lambda c: c.id)
def test_no_flip_is_left_out(use_case: UseCase) -> None:
    """Try every yes/no and every choice by brute force: each change of outcome is listed."""
    verdict = VERDICTS[use_case.id]
    listed = {(f.question, f.outcome) for f in verdict.flips}
    for question in RULES.questions:
        for option in question.choices:
            if option == question.open:
                continue
            try:
                outcome = outcome_of(use_case.answered(**{question.id: option}))
            except ValueError:  # contradicts another answer
                continue
            assert outcome == verdict.outcome or (question.id, outcome) in listed


def test_a_number_flips_exactly_at_its_threshold() -> None:
    flip = next(f for f in diagnose(SAMPLE["answers"], RULES).flips if f.question == "corpus_tokens")
    assert (flip.answer, flip.outcome) == (20000, "fits_in_prompt")
    assert diagnose(SAMPLE["answers"].answered(corpus_tokens=20001), RULES).outcome == "rag"
    flip = next(f for f in diagnose(SAMPLE["ticket_codes"], RULES).flips if f.question == "examples_at_hand")
    assert flip.answer == 199
    assert diagnose(SAMPLE["ticket_codes"].answered(examples_at_hand=200), RULES).outcome == "cheap_classifier"


def test_the_window_is_compared_with_the_size_and_either_can_flip_the_verdict() -> None:
    small = PRACTICE["shop_returns"]
    flips = {(f.question, f.outcome): f.answer for f in diagnose(small, RULES).flips}
    assert flips["context_tokens", "rag"] == small.answers["corpus_tokens"] - 1
    assert flips["corpus_tokens", "rag"] == small.answers["context_tokens"] + 1
    fired = [rule.id for rule in diagnose(small.answered(context_tokens=None), RULES).fired]
    assert "beyond-the-window" not in fired and "wide-window" not in fired  # not known is not too small


def test_provisional_says_how_many_and_which_missing_answers_matter() -> None:
    verdict = diagnose(SAMPLE["answers"], RULES)
    assert verdict.state == "provisional: 2 answer(s) missing"
    bare = diagnose(case(need="know", facts_about="own_documents"), RULES)
    assert bare.state == "provisional: 30 answer(s) missing"
    assert {"in_database", "documents_forbidden"} <= {f.question for f in bare.flips if f.question in bare.missing}
    whole = SAMPLE["answers"].answered(terminology="understood", weeks_to_first_use=12)
    assert diagnose(whole, RULES).state == "complete"


def test_the_short_talk_finds_the_verdict_of_the_long_one_for_the_sample() -> None:
    quick = [question.id for question in RULES.questions if question.quick]
    assert 10 <= len(quick) <= 15  # two minutes each: half an hour
    same = []
    for use_case in (*SAMPLE.values(), *PRACTICE.values()):
        short = case(**{q: a for q, a in use_case.answers.items() if q in quick})
        same.append(outcome_of(short) == VERDICTS[use_case.id].outcome)
        assert same[-1] or use_case.id not in SAMPLE
    assert sum(same) >= 0.85 * len(same)


MONOTONE = [  # question, answers in rising order, outcomes that may only lose points, outcomes that may only gain
    ("facts_per_month", (0, 1, 1.1, 4, 300), TRAINING, ("rag", "query_database", "fits_in_prompt")),
    ("style_per_year", (1, 3, 4, 12), TRAINING, ("prompt_only",)),
    ("citations", (False, True), (), ("rag", "hybrid")),
    ("audit", (False, True), TRAINING, ("rag",)),
    ("owner_named", (True, False), (*TRAINING, "hybrid"), ()),
    ("weeks_to_first_use", (52, 5, 4, 0), (*TRAINING, "hybrid"), ()),
    ("monthly_volume", (9_000_000, 1_000_000, 99_999, 10), TRAINING, ()),
    ("examples_at_hand", (10_000, 499, 199, 0), (*TRAINING, "cheap_classifier"), ()),
    ("prompt_tried", ("not_enough", "good_enough"), TRAINING, ("prompt_only",)),
    ("terminology", ("understood", "misunderstood", "even_with_glossary"), (), ("lora",)),
    ("budget", (6000, 5999, 0), (*TRAINING, "hybrid"), ()),
]


@pytest.mark.parametrize(("question", "answers", "falling", "rising"), MONOTONE, ids=[m[0] for m in MONOTONE])
@pytest.mark.parametrize("case_id", ["answers", "complaint_script", "coded_replies"])
def test_monotone(case_id: str, question: str, answers: tuple, falling: tuple, rising: tuple) -> None:
    base = SAMPLE["answers"] if question == "citations" else SAMPLE[case_id].answered(citations=None)
    runs = [scores(base.answered(**{question: answer})) for answer in answers]
    for before, after in zip(runs, runs[1:], strict=False):
        assert all(after[o] <= before[o] for o in falling)
        assert all(after[o] >= before[o] for o in rising)
    assert any(runs[-1][o] != runs[0][o] for o in (*falling, *rising)), f"{question} moves nothing here"


# ---------------------------------------------------------------------------------------------- all use cases at once


def test_portfolio_is_by_points_and_not_to_build_comes_last() -> None:
    result = diagnose_all(SAMPLE.values(), RULES)
    by_id = {verdict.use_case: verdict for verdict in result.verdicts}
    totals = [sum(by_id[use_case].portfolio.values()) for use_case in result.portfolio[:-1]]
    assert totals == sorted(totals, reverse=True)
    assert sorted(result.portfolio) == sorted(SAMPLE)
    assert result.portfolio[-1] == "service_refusal"
    praised = SAMPLE["service_refusal"].answered(monthly_volume=10**6, minutes_each=60, owner_named=True, budget=10**6)
    assert diagnose_all([praised, case()], RULES).portfolio == ("service_refusal", "a_case")[::-1]


def test_portfolio_points_by_hand() -> None:
    """9,000 uses: 4 steps, 3 minutes: 2 steps, half a point each; owner, documents, failure, money; stakes and audit."""
    assert diagnose(SAMPLE["answers"], RULES).portfolio == {"value": 3, "readiness": 4, "risk": -2}
    assert diagnose(case(), RULES).portfolio == {"value": 0, "readiness": 0, "risk": 0}  # unknown earns nothing


@pytest.mark.parametrize(
    "better",
    [{"monthly_volume": 9000}, {"minutes_each": 40}, {"owner_named": True}, {"audit": False}, {"budget": 5000}],
)
def test_more_value_more_readiness_and_less_risk_come_first(better: dict[str, object]) -> None:
    plain = case(need="act", monthly_volume=10, minutes_each=1, owner_named=False, audit=True, budget=0)
    first = plain.model_copy(update={"id": "z_better"}).answered(**better)
    assert diagnose_all([plain, first], RULES).portfolio == ("z_better", "a_case")


def test_a_tie_in_the_portfolio_goes_to_the_cheaper_outcome_then_to_the_clients_order() -> None:
    cheap = case(need="act").model_copy(update={"id": "z_cheap"})
    dear = case(need="know", facts_about="own_documents")
    assert diagnose_all([dear, cheap], RULES).portfolio == ("z_cheap", "a_case")
    twin = cheap.model_copy(update={"id": "a_twin"})
    assert diagnose_all([cheap, twin], RULES).portfolio == ("z_cheap", "a_twin")


def test_headline_counts() -> None:
    headline = diagnose_all(SAMPLE.values(), RULES).headline
    assert headline.startswith("Use cases: 8, of which 3 to know something, 4 to act differently, 1 to do both.")
    assert "steps and the gate: 0." in headline
    trained = diagnose_all([*SAMPLE.values(), PRACTICE["terms_resist"]], RULES).headline
    assert "steps and the gate: 1." in trained
    assert "Not to be built as described: Refusing a rental automatically" in headline


def test_result_survives_json_and_is_deterministic() -> None:
    result = diagnose_all(SAMPLE.values(), RULES)
    text = result.model_dump_json()
    assert diagnosis.DiagnosisResult.model_validate_json(text) == result
    assert diagnose_all(SAMPLE.values(), RULES).model_dump_json() == text


def test_order_of_rules_does_not_matter() -> None:
    turned = RULES.model_copy(update={"rules": RULES.rules[::-1]})
    for use_case in SAMPLE.values():
        assert diagnose(use_case, turned).scores == diagnose(use_case, RULES).scores
        assert diagnose(use_case, turned).outcome == diagnose(use_case, RULES).outcome


# ---------------------------------------------------------------------------------------------- bad input

GOOD_CASE = "use_cases:\n  - id: a\n    name: A\n    owner: B\n    description: C\n    answers: {need: know}\n"


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("need: know", "neeed: know", ["line 6", "'a'", "no question 'neeed'", "use one of need"]),
        ("need: know", "need: no", ["line 6", "need", "False is not a choice", "use one of know, act"]),
        ("need: know", "corpus_tokens: -1", ["line 6", "-1 does not fit; give 0 to 1,000,000,000 tokens"]),
        ("need: know", "corpus_tokens: .nan", ["nan does not fit"]),
        ("need: know", "corpus_tokens: yes", ["True does not fit; give 0 to"]),
        ("need: know", "citations: maybe", ["'maybe' is not a choice; use one of yes, no"]),
        ("need: know", "need: act, citations: yes", ["'a'", "need is act and citations is yes", "set need to both"]),
        ("need: know", "need: know, need: act", ["line 6", "'need' is there already", "remove one"]),
        ("    owner: B\n", "", ["line 2", "'owner' is missing"]),
        ("name: A", 'name: ""', ["line 3", "'name' is empty; fill it in"]),
        ("- id: a", "- id: ../../etc/passwd", ["'../../etc/passwd'", "'id' is"]),
        ("need: know", "budget: .inf", ["inf does not fit"]),
        ("    owner: B\n", "    owner: B\n    colour: red\n", ["unknown field 'colour'", "use only id, name"]),
        ("use_cases:", "cases:", ["'use_cases' is missing; add it"]),
        ("- id: a", "- id: Big Words", ["'Big Words'", "'id' is"]),
        ("    name: A", "   name: A", ["not readable YAML", "line"]),
    ],
)
def test_bad_use_cases_are_refused_with_file_place_and_fix(
    tmp_path: Path, old: str, new: str, parts: list[str]
) -> None:
    path = tmp_path / "use_cases.yaml"
    path.write_text(GOOD_CASE, encoding="utf-8")
    assert [c.id for c in load_use_cases(path, RULES)] == ["a"]
    assert old in GOOD_CASE
    path.write_text(GOOD_CASE.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        load_use_cases(path, RULES)
    for part in [str(path), *parts]:
        assert part in str(error.value)


def test_two_use_cases_with_one_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "use_cases.yaml"
    path.write_text(GOOD_CASE + GOOD_CASE.removeprefix("use_cases:\n"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 7: 'a' is there already in line 2; rename or remove one"):
        load_use_cases(path, RULES)


@pytest.mark.parametrize("content", [b"", b"- just a list\n", b"\xff\xfe\x00", b"? [a]\n: b\n"])
def test_unreadable_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "use_cases.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="use_cases.yaml"):
        load_use_cases(path, RULES)
    with pytest.raises(ValueError, match=r"nowhere.yaml cannot be read"):
        load_use_cases(tmp_path / "nowhere.yaml", RULES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '    source: {S1: "Wrong because',
            '    why: {S1: "Wrong because',
            "'wrong-fact': 'source' is missing; add it",
        ),
        (
            '    source: {S1: "Wrong because',
            '    wher: x\n    source: {S1: "Wrong because',
            "use only id, when, effects",
        ),
        ("effects: {rag: 2, fits_in_prompt: 1, query_database: 1,", "effects: {ragg: 2,", "no outcome 'ragg'"),
        ("question: wrong_part, op: is, value: fact}]}", "question: wrong, op: is, value: fact}]}", "question 'wrong'"),
        ("op: is, value: misunderstood}", "op: is, value: misread}", "'misread' is not a choice"),
        ('      S4: "Act', '      S9: "Act', "'act': 'source.S9"),
        (
            '      S4: "Act differently leads to fine-tuning."',
            '      S4: ""',
            "'act': 'source.S4' is empty; fill it in",
        ),
        ("op: more_than, value: 20000}", "op: above, value: 20000}", "'large-corpus'"),
        (
            "- {question: context_tokens, op: less_than_answer, value: corpus_tokens}",
            "- {question: context_tokens, op: less_than_answer, value: window}",
            "no question 'window'",
        ),
        ("effects: {value: 0.5}", "effects: {worth: 0.5}", "'uses-100': there is no outcome 'worth'"),
        ("effects: {value: 0.5}", "effects: {value: .inf}", "'uses-100': 'effects.value' is inf"),
    ],
)
def test_a_bad_rule_table_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (TABLES / "diagnosis.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "diagnosis.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"diagnosis.yaml, line \d+: rules '") as error:
        load_rules(path)
    assert message in str(error.value)


def test_a_rule_written_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "diagnosis.yaml"
    text = (TABLES / "diagnosis.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("- id: wrong-form", "- id: wrong-fact", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"diagnosis.yaml: .*line \d+: 'wrong-fact' is there already in line \d+"):
        load_rules(path)


def test_a_step_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "diagnosis.yaml"
    text = (TABLES / "diagnosis.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("steps: [human, review]", "steps: [humans, review]"), encoding="utf-8")
    with pytest.raises(ValueError, match="line .*no step 'humans'; use one of "):
        load_rules(path)


@pytest.mark.parametrize(("instead", "below"), [("", 0), ("    source: {}\n", 4)])
def test_a_rule_without_a_source_is_refused_with_its_line(tmp_path: Path, instead: str, below: int) -> None:
    text = (TABLES / "diagnosis.yaml").read_text(encoding="utf-8")
    path = tmp_path / "diagnosis.yaml"
    source = next(line for line in text.splitlines(keepends=True) if "Without a table there is nothing" in line)
    at = text[: text.index("  - id: not-in-a-database")].count("\n") + 1 + below
    path.write_text(text.replace(source, instead), encoding="utf-8")
    with pytest.raises(
        ValueError, match=rf"line {at}: rules 'not-in-a-database': 'source' is (missing; add|empty; give)"
    ):
        load_rules(path)


def test_hostile_names_stay_text() -> None:
    name = "<img src=x onerror=alert(1)> {{7*7}} =cmd|'/c calc'!A1 %s {0} \u202e"
    hostile = case(need="act").model_copy(update={"name": name, "owner": name, "description": name})
    result = diagnose_all([hostile], RULES)
    assert result.verdicts[0].name == name and name in result.headline
    assert diagnosis.DiagnosisResult.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize("clash", RULES.contradictions, ids=lambda c: c.id)
def test_answers_that_cannot_all_be_true_are_refused_and_never_proposed(clash: diagnosis.Contradiction) -> None:
    answers = {t.question: t.value[0] if isinstance(t.value, tuple) else t.value for t in clash.all}
    with pytest.raises(ValueError, match="cannot all be true") as error:
        diagnose(case(**answers), RULES)
    assert clash.fix in str(error.value) and all(question in str(error.value) for question in answers)
    last = clash.all[-1]
    rest = case(**{question: answer for question, answer in answers.items() if question != last.question})
    proposed = [(flip.question, flip.answer) for flip in diagnose(rest, RULES).flips]
    assert (last.question, answers[last.question]) not in proposed


def test_a_bad_answer_is_refused_without_a_file_too() -> None:
    with pytest.raises(ValueError, match="use case 'a_case': latency_ms: 1 does not fit"):
        diagnose(case(latency_ms=1), RULES)
    with pytest.raises(ValueError, match="no use cases"):
        diagnose_all([], RULES)
    with pytest.raises(ValueError, match="no outcome 'x'; use one of prompt_only, "):
        RULES.outcome("x")


# ---------------------------------------------------------------------------------------------- compliance sheet

SHEET = read_yaml(TABLES / "compliance.yaml")
PARTS = ("flows", "places", "duties", "checkpoint", "stages")


def test_every_line_of_the_compliance_sheet_has_a_listed_source_and_the_same_fields() -> None:
    assert SHEET["as_of"] and "not legal advice" in SHEET["says"]
    for part in PARTS:
        assert len({tuple(line) for line in SHEET[part]}) == 1, f"the lines of {part} differ in their fields"
        for line in SHEET[part]:
            assert line["source"] and set(line["source"]) <= set(SHEET["sources"]), line
            assert all(isinstance(value, str | list) and value for key, value in line.items() if key != "owner"), line
    used = {source for part in PARTS for line in SHEET[part] for source in line["source"]}
    assert used == set(SHEET["sources"])


def test_the_sheet_covers_each_option_duty_and_kind_of_data() -> None:
    assert [flow["option"] for flow in SHEET["flows"]] != []
    assert {flow["option"] for flow in SHEET["flows"]} == {outcome.id for outcome in RULES.outcomes}
    privacy = next(question for question in RULES.questions if question.id == "privacy")
    for duty in SHEET["duties"]:
        assert set(duty["for"]) <= set(privacy.choices)
        assert (duty["owner"], duty["status"]) == (None, "open")  # nobody is named, nothing is done before the meeting
    assert {duty["duty"] for duty in SHEET["duties"]} >= {"HIPAA", "SOC 2 Type II", "GDPR erasure"}
    assert len({duty["id"] for duty in SHEET["duties"]}) == len(SHEET["duties"])


def test_nothing_here_promises_that_a_duty_is_met_or_names_a_vendor() -> None:
    for name in ("compliance.yaml", "diagnosis.yaml", "practice_cases.yaml"):
        text = (TABLES / name).read_text(encoding="utf-8").lower()
        assert "compliant" not in text
        assert not re.search(r"openai|anthropic|google|azure|aws|llama|together ai|cohere|mistral|nvidia|a100", text)
