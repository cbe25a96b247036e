"""Statistics against values worked out by hand or published; key strings against answers that nearly hold them."""

from __future__ import annotations

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


def test_paired_bootstrap_of_a_constant_difference_has_no_width() -> None:
    assert ev.paired_bootstrap([1, 1, 1], [0, 0, 0]) == (1.0, 1.0, 1.0)


def test_paired_bootstrap_is_seeded_and_surrounds_the_mean() -> None:
    a, b = [1, 0, 1, 1, 0, 1, 1, 0], [0, 0, 1, 0, 1, 0, 1, 0]
    mean, low, high = ev.paired_bootstrap(a, b, seed=3)
    assert mean == pytest.approx(2 / 8)
    assert low < mean < high
    assert ev.paired_bootstrap(a, b, seed=3) == (mean, low, high)
    with pytest.raises(ValueError, match="no items"):
        ev.paired_bootstrap([], [])


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


def test_confusions_are_counted_most_frequent_first_and_alphabetical_among_equals() -> None:
    expected, predicted = ["a", "a", "a", "b", "c"], ["b", "b", "a", "a", "a"]
    assert ev.confusions(expected, predicted) == [("a", "b", 2), ("b", "a", 1), ("c", "a", 1)]
    assert ev.confusions(expected, predicted, most=1) == [("a", "b", 2)]
