"""The diagnosis: rules fire where the sources say, verdicts and flips hold, and bad input is refused in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook import diagnosis
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


# ---------------------------------------------------------------------------------------------- what the table holds


def test_the_table_has_every_row_of_both_decision_tables() -> None:
    says = " ".join(source.says for rule in RULES.rules for source in rule.source if source.seed in ("S1", "S3"))
    for row in range(1, 8):
        assert f"Table row {row} " in says
    for row in range(1, 7):
        assert f"Factor row {row} " in says


def test_the_gap_in_s3_is_marked_as_our_reconstruction() -> None:
    gap = next(rule for rule in RULES.rules if rule.id == "s3-empty-section")
    assert [source.seed for source in gap.source] == ["reconstruction"]
    assert "empty" in gap.source[0].says


def test_every_question_is_used_and_every_outcome_can_win_points() -> None:
    used = {t.question for rule in RULES.rules for t in rule.when.all + rule.when.any}
    assert {q.id for q in RULES.questions} - used == set()
    given = {outcome for rule in RULES.rules for outcome, points in rule.effects.items() if points > 0}
    assert {o.id for o in RULES.outcomes} - given == set()


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


@pytest.mark.parametrize(
    ("case_id", "rule", "outcome"),
    [
        ("product_catalogue", "row-product-features", "rag"),
        ("house_tone", "row-tone", "prompt_only"),
        ("price_and_policy_lookup", "row-prices-policies", "rag"),
        ("legacy_interface", "row-json-schema", "constrained_output"),
        ("plant_terms", "row-terminology", "prompt_only"),
        ("defect_codes", "row-own-categories", "cheap_classifier"),
        ("claim_forms", "row-regulatory-format", "constrained_output"),
        ("soap_notes", "row-regulatory-format", "constrained_output"),
        ("weekly_rules", "row-data-changes", "rag"),
        ("cited_law", "row-source-attribution", "rag"),
        ("audited_advice", "row-audit", "rag"),
        ("audited_advice", "row-hallucination", "rag"),
        ("seasonal_script", "row-cost-to-iterate", "prompt_only"),
        ("seasonal_script", "row-time-to-production", "prompt_only"),
        ("brand_voice_drifts", "s3-empty-section", "lora"),
        ("terms_resist", "terms-fail-with-glossary", "lora"),
        ("diagnosis_codes", "both", "hybrid"),
        ("depot_without_internet", "no-internet", "rag"),
        ("mature_search_ceiling", "retrieval-at-its-ceiling", "smaller_tuned_model"),
        ("opening_hours", "fits-in-context", "fits_in_prompt"),
        ("automatic_dismissal", "nobody-checks", "do_not_build"),
    ],
)
def test_practice_case(case_id: str, rule: str, outcome: str) -> None:
    verdict = diagnose(PRACTICE[case_id], RULES)
    assert rule in [fired.id for fired in verdict.fired]
    assert verdict.outcome == outcome


def test_every_rule_can_fire() -> None:
    """Fulfil each rule's own condition and nothing else: it must fire, and the answers must be possible."""
    for rule in RULES.rules:
        answers = {}
        for line in rule.when.all + rule.when.any[:1]:
            value = line.value[0] if isinstance(line.value, tuple) else line.value
            step = {"more_than": 1, "less_than": -1}.get(line.op, 0)
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
    """need=act and wrong_part=form: 1 + 3 + 2 for instructions, 1 + 1 for LoRA; 2 of 29 questions answered."""
    verdict = diagnose(case(need="act", wrong_part="form"), RULES)
    assert (verdict.outcome, verdict.scores["prompt_only"]) == ("prompt_only", 6)
    assert (verdict.runner_up, verdict.scores["lora"]) == ("lora", 2)
    assert verdict.strength == pytest.approx((6 - 2) / 6 * 2 / 29, abs=1e-4)
    assert verdict.strength_word == "weak"
    assert len(verdict.missing) == 27


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


@pytest.mark.parametrize("case_id", [c for c in SAMPLE if c != "service_refusal"])
def test_privacy_decides_where_never_which(case_id: str) -> None:
    verdicts = {p: diagnose(SAMPLE[case_id].answered(privacy=p), RULES) for p in ("public", "regulated")}
    assert verdicts["public"].outcome == verdicts["regulated"].outcome
    assert any(note.startswith("Must run on") for note in verdicts["regulated"].notes)
    assert not any(note.startswith("Must run on") for note in verdicts["public"].notes)
    for outcome in verdicts["public"].scores:
        assert verdicts["regulated"].scores[outcome] <= verdicts["public"].scores[outcome]


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
    verdict = diagnose(use_case, RULES)
    for flip in verdict.flips:
        changed = diagnose(use_case.answered(**{flip.question: flip.answer}), RULES)
        assert changed.outcome == flip.outcome != verdict.outcome
    listed = {(f.question, f.outcome) for f in verdict.flips}
    assert len(listed) == len(verdict.flips)


@pytest.mark.parametrize("use_case", SAMPLE.values(), ids=lambda c: c.id)
def test_no_flip_is_left_out(use_case: UseCase) -> None:
    """Try every yes/no and every choice by brute force: each change of outcome is listed."""
    verdict = diagnose(use_case, RULES)
    listed = {(f.question, f.outcome) for f in verdict.flips}
    for question in RULES.questions:
        options = {"yes_no": (True, False), "choice": question.choices, "number": ()}[question.type]
        for option in options:
            if option == question.open:
                continue
            try:
                outcome = diagnose(use_case.answered(**{question.id: option}), RULES).outcome
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
    ("privacy", ("public", "internal", "personal", "regulated"), TRAINING, ()),
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


def test_portfolio_is_cheapest_first_and_not_to_build_last() -> None:
    result = diagnose_all(SAMPLE.values(), RULES)
    effort = [outcome.id for outcome in RULES.outcomes]
    outcomes = {verdict.use_case: verdict.outcome for verdict in result.verdicts}
    ranks = [effort.index(outcomes[use_case]) for use_case in result.portfolio]
    assert ranks == sorted(ranks)
    assert sorted(result.portfolio) == sorted(SAMPLE)
    assert result.portfolio[-1] == "service_refusal"


def test_more_volume_comes_first_among_equals() -> None:
    small, large = (
        SAMPLE["answers"].model_copy(update={"id": i}).answered(monthly_volume=v)
        for i, v in (("a_small", 10), ("z_large", 9000))
    )
    assert diagnose_all([small, large], RULES).portfolio == ("z_large", "a_small")


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
        ("need: know", "corpus_tokens: -1", ["line 6", "-1 is out of range", "0 to 1,000,000,000 tokens"]),
        ("need: know", "corpus_tokens: .nan", ["nan is out of range"]),
        ("need: know", "corpus_tokens: yes", ["True is not a number"]),
        ("need: know", "citations: maybe", ["'maybe' is not a choice; use one of yes, no"]),
        ("need: know", "need: act, citations: yes", ["'a'", "need is act and citations is yes", "set need to both"]),
        ("need: know", "need: know, need: act", ["line 6", "'need' is there already", "remove one"]),
        ("    owner: B\n", "", ["line 2", "'owner' is missing"]),
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
        ('    source: [{seed: S1, says: "Wrong because', '    why: [{seed: S1, says: "Wrong because', "'wrong-fact'"),
        ("effects: {rag: 2, fits_in_prompt: 1, query_database: 1,", "effects: {ragg: 2,", "no outcome 'ragg'"),
        ("question: wrong_part, op: is, value: fact}]}", "question: wrong, op: is, value: fact}]}", "question 'wrong'"),
        ("op: is, value: misunderstood}", "op: is, value: misread}", "'misread' is not a choice"),
        ('seed: S4, says: "Act', 'seed: S9, says: "Act', "'act'"),
        ("op: more_than, value: 20000}", "op: above, value: 20000}", "'large-corpus'"),
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


def test_a_rule_without_a_source_is_refused(tmp_path: Path) -> None:
    text = (TABLES / "diagnosis.yaml").read_text(encoding="utf-8")
    path = tmp_path / "diagnosis.yaml"
    for bad in ("", "    source: []\n"):
        line = next(line for line in text.splitlines(keepends=True) if "Without a table there is nothing" in line)
        path.write_text(text.replace(line, bad), encoding="utf-8")
        with pytest.raises(ValueError, match=r"'not-in-a-database': 'source' is (missing; add it|empty; give)"):
            load_rules(path)


def test_a_bad_answer_is_refused_without_a_file_too() -> None:
    with pytest.raises(ValueError, match="use case 'a_case': latency_ms: 1 is out of range"):
        diagnose(case(latency_ms=1), RULES)
    with pytest.raises(ValueError, match="no use cases"):
        diagnose_all([], RULES)
    with pytest.raises(ValueError, match="no outcome 'x'; use one of prompt_only, "):
        RULES.outcome("x")
