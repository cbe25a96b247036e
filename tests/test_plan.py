"""The frozen plan: who is in which split, what a change must explain, and what can be proved at all."""

from __future__ import annotations

import pytest

from playbook.evaluation import mcnemar, smallest_provable_gain
from playbook.items import Example, Question
from playbook.plan import (
    Plan,
    check_change,
    collect_next,
    make_plan,
    provable,
    unseen_labels,
)


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
    split = make_plan(QUESTIONS, [], seed, {}).questions
    files = sides(split, {q.id: q.source for q in QUESTIONS})
    assert files["tune"] & files["test"] == set()
    assert sorted(split["tune"] + split["test"]) == [q.id for q in QUESTIONS]
    assert len(split["tune"]) == 15  # files of five: three make 15, and half of a fourth would pass 16


def test_questions_without_a_source_are_split_one_by_one() -> None:
    asked = [*QUESTIONS, *(question(n, "") for n in range(50, 70))]
    split = make_plan(asked, [], 0, {}).questions
    silent = {name: sum(i >= "q50" for i in ids) for name, ids in split.items()}
    assert silent["tune"] > 0
    assert silent["test"] > 0
    assert silent["tune"] + silent["test"] == 20


def test_splits_keep_the_order_of_the_file() -> None:
    split = make_plan(QUESTIONS, [], 1, {}).questions
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
        split = make_plan([], examples(A=many), many, {}).examples
        assert len(split["train"]) >= 1
        assert len(split["test"]) >= 1
        assert bool(split["tune"]) == (many >= 4)


def test_a_code_keeps_its_split_when_another_code_gets_more_texts() -> None:
    before, after = (make_plan([], examples(A=6, B=b), 0, {}).examples for b in (4, 6))
    kept = [{name: [i for i in ids if i.startswith("A")] for name, ids in split.items()} for split in (before, after)]
    assert kept[0] == kept[1]
    assert sum(map(len, kept[0].values())) == 6


def test_labels_that_only_the_test_carries_are_named_with_their_texts_counted() -> None:
    assert unseen_labels(examples(A=2), examples(A=1, B=2, C=1)) == {"B": 2, "C": 1}
    assert unseen_labels(examples(A=2), []) == {}


FORMS = [
    Example(id=f"f{n}", split=split, text="Text", label="{}")
    for n, split in enumerate(["test", "train", "tune", "test"])
]


def test_forms_keep_the_split_they_carry() -> None:
    frozen = make_plan([], [], 0, {}, forms=FORMS)
    assert frozen.forms == {"train": ("f1",), "tune": ("f2",), "test": ("f0", "f3")}
    assert make_plan(QUESTIONS, EXAMPLES, 0, {}).forms == {"train": (), "tune": (), "test": ()}
    assert frozen.digest != make_plan([], [], 0, {}, forms=FORMS[:3]).digest


def test_items_that_carry_a_split_keep_it_and_half_filled_columns_are_refused() -> None:
    own = [e.model_copy(update={"split": "test" if n % 2 else "train"}) for n, e in enumerate(EXAMPLES[:6])]
    frozen = make_plan([], own, 0, {})
    assert frozen.examples == {"train": ("A00", "A02", "A04"), "tune": (), "test": ("A01", "A03", "A05")}
    with pytest.raises(ValueError, match="A06 and 3 more have no split: fill the column for all or none"):
        make_plan([], [*own, *EXAMPLES[6:10]], 0, {})


def test_same_items_and_seed_give_the_same_plan_and_another_seed_another() -> None:
    assert plan(seed=7) == plan(seed=7)
    assert plan(seed=7).digest == plan(seed=7).digest
    assert plan(seed=7).digest != plan(seed=8).digest
    assert plan(seed=7).questions != plan(seed=8).questions
    assert plan(seed=7).examples != plan(seed=8).examples


def test_the_order_of_the_texts_in_the_file_changes_no_split() -> None:
    drawn, turned = (make_plan([], some, 0, {}).examples for some in (EXAMPLES, EXAMPLES[::-1]))
    assert turned == {part: ids[::-1] for part, ids in drawn.items()}


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


def every(frozen: Plan, what: str) -> list:
    return [
        entry for kind in ("knowledge", "behaviour", "adapter", "form") for entry in getattr(frozen, f"{kind}_{what}")
    ]


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(
    "some", [(QUESTIONS, EXAMPLES, FORMS), (QUESTIONS, [], []), ([], EXAMPLES, []), ([], [], FORMS)]
)
def test_every_comparison_is_between_planned_arms(some: tuple[list, list, list], chat: bool) -> None:
    frozen = make_plan(some[0], some[1], 0, {}, chat, some[2])
    assert {arm for pair in every(frozen, "comparisons") for arm in pair} <= set(every(frozen, "arms"))
    assert every(frozen, "arms")


def test_arms_that_need_a_chat_model_are_planned_only_with_one() -> None:
    without, with_chat = (
        make_plan(QUESTIONS, EXAMPLES, 0, {}, forms=FORMS),
        make_plan(QUESTIONS, EXAMPLES, 0, {}, chat=True, forms=FORMS),
    )
    needed = {"in_prompt", "closed_book", "constrained", "schema_constrained"}
    assert set(every(with_chat, "arms")) - set(every(without, "arms")) == needed
    assert without.knowledge_arms == ("first_sentences", "keyword", "dense", "hybrid")
    assert without.behaviour_arms == ("label_name", "definition", "nearest_examples", "linear_probe")
    assert (without.form_arms, without.form_comparisons) == (("pattern_rules",), ())
    assert with_chat.form_comparisons == (("schema_constrained", "pattern_rules"),)
    assert ("hybrid", "in_prompt") in with_chat.knowledge_comparisons
    assert ("constrained", "nearest_examples") in with_chat.behaviour_comparisons


def test_without_forms_their_arms_are_left_out() -> None:
    assert make_plan(QUESTIONS, EXAMPLES, 0, {}, chat=True).form_arms == ()


def test_a_chat_model_that_comes_later_is_a_change_that_needs_a_reason() -> None:
    later = make_plan(QUESTIONS, EXAMPLES, 0, {"questions.csv": "1"}, chat=True)
    with pytest.raises(ValueError, match="behaviour_arms.*knowledge_comparisons"):
        check_change(plan(), later, "")


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

LIMITS = {"alpha": 0.05, "least_questions": 20, "worth_points": 9}


def test_the_smallest_provable_gain_is_said_with_its_losses_and_how_many_more_items_make_it_worth_having() -> None:
    found = provable("answerable questions", 105, 8, LIMITS)
    assert (found.items, found.losses, found.points) == (105, 8, 12)
    start = "With these 105 answerable questions and about 8 losses you can prove +12 points or more; "
    assert found.sentence.startswith(f"{start}{found.more} more would make it +9")
    assert "one batch" in found.sentence
    assert provable("x", 105 + 60, 13, LIMITS).points == 9  # sixty more, with the same share of losses


def test_the_points_can_be_proved_and_fewer_cannot() -> None:
    found = provable("x", 105, 8, LIMITS)
    gain = smallest_provable_gain(105, 8)
    assert 100 * (gain - 1) / 105 < found.points
    assert 100 * gain / 105 <= found.points  # rounded up: never promised too early
    assert mcnemar(8 + gain, 8) < 0.05 <= mcnemar(8 + gain - 1, 8)


def test_the_batch_is_the_smallest_that_is_enough() -> None:
    found = provable("x", 105, 8, LIMITS)
    after = [
        provable("x", 105 + more, -(-8 * (105 + more) // 105), LIMITS).points for more in (found.more - 10, found.more)
    ]
    assert after[0] > 9 >= after[1]


def test_more_planned_comparisons_prove_less() -> None:
    alone, three = provable("x", 139, 8, LIMITS), provable("x", 139, 8, LIMITS, comparisons=3)
    assert (alone.points, three.points) == (9, 11)
    assert (alone.more, alone.sentence.endswith("collect nothing after that.")) == (0, True)
    assert three.more > 0


def test_too_few_items_get_no_figure_but_the_number_that_is_missing() -> None:
    found = provable("answerable questions", 12, 1, LIMITS)
    assert (found.points, found.more) == (None, 8)
    assert found.sentence.startswith("12 answerable questions are too few for any claim: 20 are the least")
    assert provable("answerable questions", 0, 0, LIMITS).points is None


def test_a_gain_that_no_number_of_items_shows_is_called_that() -> None:
    found = provable("x", 30, 3, LIMITS | {"worth_points": 0.5})
    assert (found.points, found.more) == (30, None)
    assert "not even 2000 more" in found.sentence


def test_where_half_the_items_are_lost_no_gain_can_be_proved() -> None:
    found = provable("x", 20, 9, LIMITS)
    assert found.points is None
    assert "no gain can be proved" in found.sentence


def test_the_questions_to_collect_next_fill_documents_types_and_the_unanswerable_share() -> None:
    asked = [question(n, "rent.md").model_copy(update={"type": "price"}) for n in range(40)]
    asked += [question(n, "hours.md").model_copy(update={"type": "table"}) for n in range(50, 55)]
    asked += [question(n, "hours.md").model_copy(update={"type": "two files"}) for n in range(60, 63)]
    silent = question(90, "").model_copy(update={"type": "silent"})
    rows = collect_next([*asked, silent], ["rent.md", "hours.md", "sale.md"])
    gaps = [("unanswerable", 1), ("two files", 3), ("table", 5), ("sale.md", 0)]
    assert [(row["about"], row["have"]) for row in rows] == gaps
    assert rows[0]["why"].startswith("only 1 of 49 questions")
    assert "within 65 points" in rows[2]["why"]  # Wilson 95 % of 2 of 5: 11.8 to 76.9
    assert rows[3]["why"] == "no question asks for anything in this document"


def test_nothing_is_left_to_collect_for_an_even_set() -> None:
    asked = [question(n, "rent.md").model_copy(update={"type": "price"}) for n in range(40)]
    assert collect_next([*asked, *(question(n, "") for n in range(50, 70))], ["rent.md"]) == []


def test_without_questions_everything_is_left_to_collect() -> None:
    assert [row["about"] for row in collect_next([], ["b.md", "a.md"])] == ["a.md", "b.md"]
