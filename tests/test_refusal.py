"""Refusal: a calibrated decision, its twins, and what may be promised at a threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from fakes_embedding import refusal

from playbook.answering import FEATURES
from playbook.checked import load
from playbook.refusal import (
    Case,
    RefusalModel,
    best_threshold,
    calibrate,
    certificate,
    risk_coverage,
    shipped_refusal,
    swapped,
)


def cases(count: int = 40, seed: int = 0) -> list[Case]:
    """Drafts whose first feature tells right from wrong with some overlap, and whose second says nothing."""
    noise = np.random.default_rng(seed)
    made = []
    for n in range(count):
        right = n % 2 == 0
        made.append(
            Case((float(right + noise.normal(0, 0.4)), float(noise.normal())), right, right or n % 4 == 1, f"g{n % 8}")
        )
    return made


def test_confidence_is_the_logistic_of_the_standardised_features() -> None:
    model = RefusalModel(weights=(4.0,), intercept=-5.0, threshold=0.5, calibrated_on="a test")
    assert model.confidence([1.25]) == pytest.approx(0.5)  # 2 * (1.25 - 1) / 0.5 - 1 = 0
    assert model.confidence([1.75]) == pytest.approx(0.880797, abs=1e-6)  # 1 / (1 + exp(-2))


def test_calibration_finds_the_feature_that_tells_and_scores_unseen_groups() -> None:
    model, asked = calibrate(cases())
    assert model.weights[0] > 3 * abs(model.weights[1])
    assert len(asked) == 40 and model.confidence((2.0, 0.0)) > 0.5 > model.confidence((-1.0, 0.0))
    right = [c for c, r, _ in asked if r]
    wrong = [c for c, r, _ in asked if not r]
    assert np.mean(right) > np.mean(wrong)


def test_out_of_fold_confidences_come_from_models_that_did_not_see_the_group() -> None:
    """With features that say nothing, a model that had seen its own cases would look better than chance; this one must not."""
    noise = np.random.default_rng(3)
    blind = [Case(tuple(noise.normal(size=12)), bool(n % 2), bool(n % 2), f"g{n}") for n in range(60)]
    _, asked = calibrate(blind)
    right = [(c >= 0.5) == r for c, r, _ in asked]
    assert np.mean(right) < 0.65


def test_twins_teach_but_are_not_questions() -> None:
    twins = [Case((-1.0, 0.0), False, None, "g1")] * 10
    model, asked = calibrate([*cases(), *twins])
    assert len(asked) == 40
    assert model.calibrated_on == "40 tuning questions and 10 twins that must be refused"


def test_calibration_on_one_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="all 2 cases have the same label or outcome"):
        calibrate([Case((0.0,), False, False, "a"), Case((1.0,), False, False, "b")])


@pytest.mark.parametrize(
    ("question", "entities", "expected"),
    [
        ("What does LR-310 cost?", ["LR-310"], "What does LR-643 cost?"),
        ("Did Marisol call?", ["Marisol"], "Did Quillhaven call?"),
        ("How much is it?", [], None),
        ("Is 7 enough?", ["7"], "Is 0 enough?"),
    ],
)
def test_a_swapped_twin_asks_for_something_the_corpus_does_not_hold(
    question: str, entities: list[str], expected: str | None
) -> None:
    assert swapped(question, entities, {"lr-310", "cost", "7"}) == expected


def test_a_swap_never_lands_on_something_that_is_known() -> None:
    assert swapped("Is 7 enough?", ["7"], {"7", "0", "2", "4"}) == "Is 8 enough?"
    assert swapped("Is 7 enough?", ["7"], {str(n) for n in range(10)}) is None


def test_saved_calibration_reads_back_the_same(tmp_path: Path) -> None:
    (tmp_path / "refusal.yaml").write_text(yaml.safe_dump(refusal(1.5).model_dump(mode="json")), encoding="utf-8")
    assert load(RefusalModel, tmp_path / "refusal.yaml") == refusal(1.5)


def test_shipped_calibration_fits_the_features() -> None:
    shipped = shipped_refusal()
    assert len(shipped.weights) == len(FEATURES)
    assert shipped.confidence([1.0] * len(FEATURES)) > shipped.threshold > shipped.confidence([0.0] * len(FEATURES))


def test_best_threshold_ends_most_questions_right() -> None:
    scored = [(0.9, True, True), (0.45, True, True), (0.3, False, True), (0.2, False, False), (0.1, False, False)]
    assert best_threshold(scored) == 0.45  # shows both right drafts, refuses both unanswerable; 0.25 to 0.45 are equal
    assert best_threshold([(0.8, False, False), (0.9, True, True)]) == 0.85


def test_best_threshold_does_not_chase_a_lucky_best() -> None:
    """Refusing below 0.7 ends 61 of 100 right, below 0.5 59: within one standard error (4.9), so one half is kept."""
    scored = [(0.9, True, True)] * 59 + [(0.6, False, False)] * 2 + [(0.2, False, True)] * 39
    assert best_threshold(scored) == 0.5
    assert best_threshold([(0.9, True, True)] * 30 + [(0.6, False, False)] * 70) == 0.65


def test_risk_coverage_curve_by_hand() -> None:
    curve = risk_coverage([(0.9, True), (0.8, False), (0.7, True), (0.7, True)])
    assert [(p.threshold, p.coverage, p.risk) for p in curve] == [(0.9, 0.25, 0.0), (0.8, 0.5, 0.5), (0.7, 1.0, 0.25)]


def test_certificate_states_the_upper_bound_and_the_count() -> None:
    scored = [(0.9, True)] * 99 + [(0.8, False)] + [(0.1, False)] * 20
    # 1 wrong of 100 shown: Wilson's upper end is 5.4 %, so at most 1 in 18
    assert certificate(scored, 0.5) == (
        "At 83 % of the questions answered, at most 1 in 18 answers is wrong (120 questions, 95 %)."
    )
    assert certificate(scored, 0.95) == "Nothing is answered at 0.95 (120 questions)."
