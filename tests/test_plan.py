"""The frozen plan: who is in which split, what a change must explain, and what can be proved at all."""

from __future__ import annotations

import pytest

from playbook.items import Example, Question
from playbook.plan import Plan, check_change, make_plan, provable, split_examples, split_questions

SHARE = {"train": 0.5, "tune": 0.15, "test": 0.35}


def question(number: int, source: str) -> Question:
    return Question(
        id=f"q{number:02}",
        question="Q?",
        expected_answer="A",
        must_contain=(("a",),),
        source=source,
        answerable=bool(source),
    )


def examples(**counts: int) -> list[Example]:
    return [
        Example(id=f"{label}{n:02}", text=f"{label} {n}", label=label)
        for label, many in counts.items()
        for n in range(many)
    ]


QUESTIONS = [question(n, f"file{n % 8}.md") for n in range(40)]
EXAMPLES = examples(A=20, B=10, C=4, D=2, E=1)


def plan(seed: int = 0, inputs: dict[str, str] | None = None, **changes: object) -> Plan:
    return make_plan(QUESTIONS, EXAMPLES, seed, inputs or {"questions.csv": "1"}).model_copy(update=changes)


def sides(split: dict[str, tuple[str, ...]], key: dict[str, str]) -> dict[str, set[str]]:
    return {name: {key[i] for i in ids} for name, ids in split.items()}


# ----------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize("seed", range(20))
def test_no_source_file_serves_both_tuning_and_testing(seed: int) -> None:
    split = split_questions(QUESTIONS, 0.4, seed)
    files = sides(split, {q.id: q.source for q in QUESTIONS})
    assert files["tune"] & files["test"] == set()
    assert sorted(split["tune"] + split["test"]) == [q.id for q in QUESTIONS]
    assert len(split["tune"]) == 15  # files of five: three make 15, and half of a fourth would pass 16


def test_questions_without_a_source_are_split_one_by_one() -> None:
    asked = [*QUESTIONS, *(question(n, "") for n in range(50, 70))]
    split = split_questions(asked, 0.4, seed=0)
    silent = {name: sum(i >= "q50" for i in ids) for name, ids in split.items()}
    assert silent["tune"] > 0
    assert silent["test"] > 0
    assert silent["tune"] + silent["test"] == 20


def test_splits_keep_the_order_of_the_file() -> None:
    split = split_questions(QUESTIONS, 0.4, seed=1)
    assert all(list(ids) == sorted(ids) for ids in split.values())


@pytest.mark.parametrize("seed", range(5))
def test_each_code_is_cut_in_the_same_proportions_and_no_text_is_in_two_splits(seed: int) -> None:
    frozen = make_plan([], EXAMPLES, seed, {})
    label = {e.id: e.label for e in EXAMPLES}
    counts = {name: [sum(label[i] == c for i in ids) for c in "ABCDE"] for name, ids in frozen.examples.items()}
    # 20: 7 test, 3 tune; 10: 4 test (3.5 up), 2 tune (1.5 up); 4: 1, 1; 2: 1, 0; a single one is left out
    assert counts == {"train": [10, 4, 2, 1, 0], "tune": [3, 2, 1, 0, 0], "test": [7, 4, 1, 1, 0]}
    ids = [i for split in frozen.examples.values() for i in split]
    assert len(ids) == len(set(ids)) == 36
    assert frozen.labels_left_out == {"E": 1}


def test_every_code_with_four_texts_is_in_every_split_and_with_two_in_train_and_test() -> None:
    for many in range(2, 40):
        split = split_examples({"A": [f"a{n:02}" for n in range(many)]}, SHARE, seed=many)
        assert len(split["train"]) >= 1
        assert len(split["test"]) >= 1
        assert bool(split["tune"]) == (many >= 4)


def test_a_code_keeps_its_split_when_another_code_gets_more_texts() -> None:
    before, after = (split_examples({"A": list("abcdef"), "B": list(b)}, SHARE, 0) for b in ("uvwx", "uvwxyz"))
    assert {name: set(ids) & set("abcdef") for name, ids in before.items()} == {
        name: set(ids) & set("abcdef") for name, ids in after.items()
    }


def test_same_items_and_seed_give_the_same_plan_and_another_seed_another() -> None:
    assert plan(seed=7) == plan(seed=7)
    assert plan(seed=7).digest == plan(seed=7).digest
    assert plan(seed=7).digest != plan(seed=8).digest
    assert plan(seed=7).questions != plan(seed=8).questions
    assert plan(seed=7).examples != plan(seed=8).examples


def test_the_order_of_the_texts_in_the_file_changes_no_split() -> None:
    assert make_plan([], EXAMPLES[::-1], 0, {}).examples == make_plan([], EXAMPLES, 0, {}).examples


# ------------------------------------------------------------------------------------------------- arms and thresholds


def test_without_questions_or_texts_their_arms_are_left_out() -> None:
    no_questions, no_texts = make_plan([], EXAMPLES, 0, {}), make_plan(QUESTIONS, [], 0, {})
    assert (no_questions.knowledge_arms, no_questions.knowledge_comparisons) == ((), ())
    assert "linear_probe" in no_questions.behaviour_arms
    assert (no_texts.behaviour_arms, no_texts.adapter_arms, no_texts.adapter_comparisons) == ((), (), ())
    assert "hybrid" in no_texts.knowledge_arms


def test_texts_whose_codes_all_stand_alone_cannot_be_measured() -> None:
    alone = make_plan([], examples(A=1, B=1), 0, {})
    assert alone.examples == {"train": (), "tune": (), "test": ()}
    assert (alone.behaviour_arms, alone.adapter_arms) == ((), ())


def test_every_comparison_is_between_planned_arms() -> None:
    frozen = plan()
    arms = {*frozen.knowledge_arms, *frozen.behaviour_arms, *frozen.adapter_arms}
    pairs = [*frozen.knowledge_comparisons, *frozen.behaviour_comparisons, *frozen.adapter_comparisons]
    assert len(pairs) >= 4
    assert {arm for pair in pairs for arm in pair} <= arms


def test_the_digest_covers_thresholds_and_items_but_not_the_reason() -> None:
    frozen = plan()
    assert frozen.model_copy(update={"reason_for_change": "x"}).digest == frozen.digest
    assert frozen.model_copy(update={"thresholds": {**frozen.thresholds, "alpha": 0.1}}).digest != frozen.digest
    assert frozen.model_copy(update={"inputs": {}}).digest != frozen.digest


def test_a_plan_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        Plan.model_validate({**plan().model_dump(), "more": 1})


# ---------------------------------------------------------------------------------------------------------- changes


def test_the_first_plan_is_taken_as_it_is_and_an_equal_one_keeps_the_old_reason() -> None:
    first = plan()
    assert check_change(None, first, "") is first
    old = first.model_copy(update={"reason_for_change": "the first reason"})
    assert check_change(old, plan(), "another").reason_for_change == "the first reason"


def test_changed_thresholds_need_a_reason_and_keep_it() -> None:
    easier = plan(thresholds={**plan().thresholds, "alpha": 0.2})
    with pytest.raises(ValueError, match=r"differs in thresholds.*give REASON_FOR_CHANGE"):
        check_change(plan(), easier, "")
    assert check_change(plan(), easier, "agreed with the client").reason_for_change == "agreed with the client"


def test_changed_items_are_their_own_reason() -> None:
    more = make_plan([*QUESTIONS, question(99, "new.md")], EXAMPLES, 0, {"questions.csv": "2"})
    assert check_change(plan(), more, "").reason_for_change == "the questions or examples file changed"


def test_changed_items_do_not_excuse_changed_thresholds_or_another_seed() -> None:
    new = {"questions.csv": "2"}
    with pytest.raises(ValueError, match="differs in thresholds"):
        check_change(plan(), plan(inputs=new, thresholds={**plan().thresholds, "alpha": 0.2}), "")
    with pytest.raises(ValueError, match="differs in seed"):
        check_change(plan(), plan(seed=1, inputs=new), "")


# --------------------------------------------------------------------------------------------------- provable gains


def test_provable_gains_are_in_points_of_the_number_of_items() -> None:
    gains = {row["assumed losses"]: row["smallest provable gain"] for row in provable(30)}
    assert gains[0] == "+20 points"  # six of thirty
    assert gains[2] == "+27 points"  # eight of thirty
    assert {row["smallest provable gain"] for row in provable(5)} == {"none"}
