"""Statistics against values worked out by hand or published; key strings against answers that nearly hold them."""

from __future__ import annotations

import numpy as np
import pytest

from playbook import evaluation as ev

# ------------------------------------------------------------------------------------------------ shares and intervals


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(24, 30, 0.627, 0.905), (80, 100, 0.711, 0.867), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0)],
)
def test_wilson_interval_has_the_published_bounds(hits: int, n: int, low: float, high: float) -> None:
    share = ev.proportion(hits, n)
    assert (share.hits, share.n, share.share) == (hits, n, hits / n)
    assert (round(share.low, 3), round(share.high, 3)) == (low, high)


def test_interval_is_wider_when_more_confidence_is_asked() -> None:
    usual, sure = ev.proportion(24, 30), ev.proportion(24, 30, 0.99)
    assert sure.low < usual.low < usual.high < sure.high


def test_a_share_reads_as_counts_with_its_interval() -> None:
    assert ev.share_of(n < 24 for n in range(30)) == ev.proportion(24, 30)
    assert str(ev.proportion(24, 30)) == "24 of 30 (80%, 95 % between 63% and 90%)"


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (0, 0), (5, 4), (-1, 4)])
def test_impossible_shares_are_refused_with_their_numbers(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{hits} of {n} is not a share"):
        ev.proportion(hits, n)


# ----------------------------------------------------------------------------------------------------- paired tests


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (6, 0, 0.031),
        (5, 0, 0.062),
        (8, 1, 0.039),
        (10, 2, 0.039),
        (12, 3, 0.035),
        (62, 51, 0.347),
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_exact_mcnemar_p_values(wins: int, losses: int, p: float) -> None:
    assert ev.mcnemar(wins, losses) == pytest.approx(p, abs=0.0006)
    assert ev.mcnemar(losses, wins) == ev.mcnemar(wins, losses)


def test_mcnemar_of_six_to_nothing_is_two_tosses_of_six_equal_coins() -> None:
    assert ev.mcnemar(6, 0) == pytest.approx(2 / 2**6)


def test_mcnemar_refuses_counts_below_zero() -> None:
    with pytest.raises(ValueError, match="-1 wins"):
        ev.mcnemar(-1, 2)


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert ev.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert ev.holm([0.9, 0.8]) == [1.0, 1.0]
    assert ev.holm([]) == []


def test_compare_counts_wins_losses_and_ties() -> None:
    correct = {"a": [True, True, False, True, False], "b": [True, False, False, False, True]}
    (test,) = ev.compare(correct, [("a", "b")])
    assert (test.first, test.second, test.wins, test.losses, test.ties) == ("a", "b", 2, 1, 2)
    assert (test.p_value, test.verdict) == (1.0, "no difference can be proved")


@pytest.mark.parametrize(("first", "second"), [("good", "bad"), ("bad", "good")])
def test_compare_names_the_better_arm_whichever_comes_first(first: str, second: str) -> None:
    (test,) = ev.compare({"good": [True] * 6, "bad": [False] * 6}, [(first, second)])
    assert test.verdict == "good is better"


def test_a_second_planned_comparison_raises_the_bar() -> None:
    correct = {"good": [True] * 6, "bad": [False] * 6, "same": [True] * 6}
    tests = ev.compare(correct, [("good", "bad"), ("good", "same")])
    assert tests[0].p_value == pytest.approx(0.03125)
    assert tests[0].p_adjusted == pytest.approx(0.0625)
    assert tests[0].verdict == "no difference can be proved"


def test_a_published_head_to_head_of_154_items_proves_nothing() -> None:
    """62 of 113 decided pairs won (54.9 %) and 41 ties: beyond-the-cutoff prints p = 0.35 with it."""
    tuned = [True] * 62 + [False] * 51 + [True] * 41
    instructed = [False] * 62 + [True] * 51 + [True] * 41
    (test,) = ev.compare({"tuned": tuned, "instructed": instructed}, [("tuned", "instructed")])
    assert (test.wins, test.losses, test.ties) == (62, 51, 41)
    assert test.p_value == pytest.approx(0.347, abs=0.0005)
    assert test.verdict == "no difference can be proved"


@pytest.mark.parametrize(("right", "word"), [(True, "right"), (False, "wrong")])
def test_arms_that_are_all_right_or_all_wrong_cannot_be_compared(right: bool, word: str) -> None:
    (test,) = ev.compare({"a": [right] * 30, "b": [right] * 30}, [("a", "b")])
    assert test.verdict == f"both were {word} on all 30 items: nothing can be compared"
    (mixed,) = ev.compare({"a": [True, False], "b": [True, False]}, [("a", "b")])
    assert mixed.verdict == "no difference can be proved"


def test_one_arm_all_right_and_the_other_all_wrong_is_a_difference() -> None:
    (test,) = ev.compare({"a": [True] * 30, "b": [False] * 30}, [("a", "b")])
    assert test.verdict == "a is better"


def test_too_few_items_get_no_verdict_however_clear_they_look() -> None:
    hits = {"a": [True] * 19, "b": [False] * 19}
    (test,) = ev.compare(hits, [("a", "b")], least=20)
    assert test.verdict == "no verdict: 19 items are too few, at least 20 are needed"
    assert test.p_value < 0.001
    (enough,) = ev.compare(hits, [("a", "b")], least=19)
    assert enough.verdict == "a is better"
    (none,) = ev.compare({"a": [], "b": []}, [("a", "b")])
    assert none.verdict.startswith("no verdict: 0 items")


def test_compare_refuses_an_arm_that_was_not_measured_and_arms_of_other_length() -> None:
    with pytest.raises(ValueError, match="'ghost'.*measured were: a"):
        ev.compare({"a": [True]}, [("a", "ghost")])
    with pytest.raises(ValueError, match="'a' has 1 items and 'b' 2"):
        ev.compare({"a": [True], "b": [True, False]}, [("a", "b")])


@pytest.mark.parametrize(("losses", "gain"), [(0, 6), (1, 7), (2, 8), (3, 9)])
def test_smallest_provable_gain_on_thirty_questions(losses: int, gain: int) -> None:
    assert ev.smallest_provable_gain(30, losses) == gain
    assert ev.mcnemar(losses + gain, losses) < 0.05 <= ev.mcnemar(losses + gain - 1, losses)


def test_five_items_can_prove_nothing_and_six_only_a_clean_sweep() -> None:
    assert ev.smallest_provable_gain(5, 0) is None
    assert ev.smallest_provable_gain(6, 0) == 6
    assert ev.smallest_provable_gain(6, 1) is None


def test_smallest_provable_gain_refuses_no_items() -> None:
    with pytest.raises(ValueError, match="0 items"):
        ev.smallest_provable_gain(0, 0)


# ----------------------------------------------------------------------------------------------- bootstrap intervals


def test_paired_bootstrap_of_a_constant_difference_has_no_width() -> None:
    assert ev.paired_bootstrap([1, 1, 1], [0, 0, 0]) == (1.0, 1.0, 1.0)


def test_paired_bootstrap_is_seeded_and_surrounds_the_mean() -> None:
    a, b = [1, 0, 1, 1, 0, 1, 1, 0], [0, 0, 1, 0, 1, 0, 1, 0]
    mean, low, high = ev.paired_bootstrap(a, b, seed=3)
    assert mean == pytest.approx(2 / 8)
    assert low < mean < high
    assert ev.paired_bootstrap(a, b, seed=3) == (mean, low, high)
    assert ev.paired_bootstrap(b, a, seed=3) == pytest.approx((-mean, -high, -low))


@pytest.mark.parametrize("clusters", [None, ["one.md"] * 4])
def test_an_interval_needs_two_items_or_documents(clusters: list[str] | None) -> None:
    items = [1.0] * len(clusters or "1")
    with pytest.raises(ValueError, match="1 items or documents: an interval needs at least two"):
        ev.paired_bootstrap(items, items, clusters=clusters)
    with pytest.raises(ValueError, match="0 items"):
        ev.paired_bootstrap([], [])


def test_the_bootstrap_agrees_with_the_formula_for_independent_items() -> None:
    """Width of the 95 % interval of a mean: 3.92 standard errors."""
    difference = np.random.default_rng(5).choice([-1.0, 0.0, 1.0], 400, p=[0.1, 0.6, 0.3])
    mean, low, high = ev.paired_bootstrap(difference, np.zeros(400))
    assert mean == pytest.approx(difference.mean())
    assert high - low == pytest.approx(3.92 * difference.std() / 20, rel=0.08)


def test_items_of_one_document_count_as_one_when_they_rise_and_fall_together() -> None:
    """40 documents with five equal items each: the interval is that of 40 items, sqrt(5) times as wide as that of 200."""
    by_document = np.random.default_rng(6).choice([0.0, 1.0], 40)
    items, documents = np.repeat(by_document, 5), [f"{n:02}.md" for n in range(40) for _ in range(5)]
    none = np.zeros(200)
    alone, together = ev.paired_bootstrap(items, none), ev.paired_bootstrap(items, none, clusters=documents)
    forty = ev.paired_bootstrap(by_document, np.zeros(40))
    assert together == pytest.approx(forty)
    assert (together[2] - together[1]) / (alone[2] - alone[1]) == pytest.approx(5**0.5, rel=0.1)


def test_documents_of_unequal_size_weigh_by_their_items() -> None:
    mean, low, high = ev.paired_bootstrap([1, 1, 1, 0], [0, 0, 0, 0], clusters=["a", "a", "a", "b"])
    assert (mean, low, high) == (0.75, 0.0, 1.0)


def arms(floor: int, cheap: int, best: int, n: int = 100) -> list[list[bool]]:
    """Three arms over `n` items with so many right, the better ones right wherever the worse ones are."""
    return [[i < right for i in range(n)] for right in (floor, cheap, best)]


def test_gain_share_is_the_part_of_the_whole_gain_with_an_interval_around_it() -> None:
    share, low, high = ev.gain_share(*arms(20, 65, 70))
    assert share == pytest.approx(0.9)
    assert 0.7 < low < share < high <= 1
    assert ev.gain_share(*arms(20, 65, 70)) == (share, low, high)
    small = ev.gain_share(*arms(4, 13, 14, n=20))
    assert small[0] == pytest.approx(0.9)
    assert small[2] - small[1] > high - low


@pytest.mark.parametrize(("cheap", "share"), [(20, 0.0), (10, 0.0), (70, 1.0), (80, 1.0)])
def test_gain_share_stays_between_nothing_and_all(cheap: int, share: float) -> None:
    assert ev.gain_share(*arms(20, cheap, 70))[0] == share


@pytest.mark.parametrize("best", [20, 15])
def test_without_a_gain_there_is_no_share_of_it(best: int) -> None:
    assert ev.gain_share(*arms(20, 20, best)) is None


def test_a_gain_that_may_be_none_leaves_its_share_open() -> None:
    floor, cheap = [True, False] * 10, [False, True] * 10
    _, low, high = ev.gain_share(floor, cheap, [True] * 2 + [False, True] * 9)
    assert (low, high) == (0.0, 1.0)


def test_gain_share_counts_documents_where_items_go_together() -> None:
    documents = [str(i // 10) for i in range(100)]
    _, low, high = ev.gain_share(*arms(20, 50, 70))
    _, wide_low, wide_high = ev.gain_share(*arms(20, 50, 70), clusters=documents)
    assert wide_high - wide_low > high - low


# ------------------------------------------------------------------------------------------------------ key strings


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("Return it within 14 days.", "14 days", True),
        ("Return it within 114 days.", "14 days", False),
        ("It costs $50 a week.", "$5", False),
        ("It costs $5.50 a week.", "$5", False),
        ("It costs $5.", "$5", True),
        ("In 2026, we moved.", "2026", True),
        ("That is 1,500 pounds.", "500", False),
        ("That is 1,500 pounds.", "1,500", True),
        ("Call  the\nNIGHT bell", "night bell", True),
        ("the client\u2019s own", "client's own", True),
        ("opens 8\u201317", "8-17", True),
        ("45\u00a0dollars", "45 dollars", True),
        ("nothing of the kind", "14 days", False),
        ("a.b", "axb", False),
    ],
)
def test_a_key_string_is_found_whole_and_numbers_do_not_continue(text: str, key: str, found: bool) -> None:
    assert ev.contains(text, [[key]]) is found


def test_each_group_must_occur_by_any_of_its_alternatives() -> None:
    groups = [["$45", "45 dollars"], ["a week", "weekly"]]
    assert ev.contains("45 dollars weekly", groups)
    assert not ev.contains("45 dollars a month", groups)
    assert not ev.contains("a week", groups)


# ---------------------------------------------------------------------------------------------------------- scores


def test_brier_is_the_mean_squared_distance() -> None:
    assert ev.brier([0.9, 0.2], [True, False]) == pytest.approx((0.01 + 0.04) / 2)
    assert ev.brier([0.5, 0.5], [True, False]) == 0.25
    assert ev.brier([1.0], [False]) == 1.0


@pytest.mark.parametrize(("stated", "happened"), [([], []), ([0.5], [True, False])])
def test_brier_refuses_nothing_and_unequal_lists(stated: list[float], happened: list[bool]) -> None:
    with pytest.raises(ValueError, match="give one each"):
        ev.brier(stated, happened)


def test_macro_f1_weighs_labels_equally() -> None:
    assert ev.macro_f1(["a", "a", "b"], ["a", "b", "b"]) == pytest.approx(2 / 3)
    assert ev.macro_f1(["a", "b"], ["a", "c"]) == 0.5  # b was never found; c is nobody's label and counts as a miss
    assert ev.macro_f1(["a"] * 9 + ["b"], ["a"] * 10) == pytest.approx((18 / 19 + 0) / 2)


def test_macro_f1_refuses_no_items() -> None:
    with pytest.raises(ValueError, match="no items"):
        ev.macro_f1([], [])


@pytest.mark.parametrize(
    ("given", "expected", "f1"),
    [
        ("The rent is $45 a week.", "rent is 45 week", 1.0),  # case, punctuation and articles do not count
        ("14 days", "within 14 days of delivery", 2 * 2 / (2 + 5)),
        ("two two", "two", 2 * 1 / 3),  # a word repeated is matched once
        ("Thursday", "Friday", 0.0),
        ("Andy", "dy", 0.0),  # an article inside a word stays
        ("", "14 days", 0.0),
        ("the", "", 1.0),
    ],
)
def test_token_f1(given: str, expected: str, f1: float) -> None:
    assert ev.token_f1(given, expected) == pytest.approx(f1)
    assert ev.token_f1(expected, given) == pytest.approx(f1)
