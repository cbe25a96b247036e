"""When to refuse: a calibrated decision over features of support, not a score limit somebody guessed.

Calibrated on tuning questions and on twins that must be refused: the same question with its source left out, and with
a name or number swapped for one the corpus does not hold. Knows features and outcomes; it does not search or answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from playbook.checked import TABLES, Frozen, load
from playbook.classifiers import fit_yes_no
from playbook.evaluation import proportion

FOLDS = 5
STRANGE_NAMES = ("Quillhaven", "Ostrabeck", "Veldmarsh", "Tamberwick", "Jorvelund")


class RefusalModel(Frozen):
    """Logistic weights over the support features, and what they were calibrated on."""

    weights: tuple[float, ...]
    intercept: float
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    threshold: float
    calibrated_on: str

    def confidence(self, features: Sequence[float]) -> float:
        """Estimated chance that the answer is right, 0 to 1."""
        z = (np.asarray(features) - np.asarray(self.centre)) / np.asarray(self.spread)
        return float(1 / (1 + np.exp(-(z @ np.asarray(self.weights) + self.intercept))))


class Case(NamedTuple):
    """One draft to learn from: its features, whether it is right, whether the question is answerable, its group.

    A twin has `answerable` None: it teaches the weights, but it is no question anybody asked.
    """

    features: tuple[float, ...]
    right: bool
    answerable: bool | None
    group: str


class Point(NamedTuple):
    """One point of a risk-coverage curve: refuse below `threshold`, share answered, share of those that are wrong."""

    threshold: float
    coverage: float
    risk: float


def shipped_refusal() -> RefusalModel:
    """The calibration shipped with the project, for a client who has no tuning questions yet."""
    return load(RefusalModel, TABLES / "refusal.yaml")


def save_refusal(model: RefusalModel, path: Path) -> None:
    """Write a calibration as YAML (used to refresh the shipped one)."""
    path.write_text(yaml.safe_dump(model.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def swapped(question: str, entities: Sequence[str], known: Collection[str]) -> str | None:
    """The question with one of its `entities` (names, numbers) replaced by one that is not `known`; None without any."""
    for entity in entities:
        if re.search(r"\d", entity):
            turned = (
                re.sub(r"\d", lambda d, s=shift: str((int(d.group()) + s) % 10), entity) for shift in (3, 5, 7, 1)
            )
            strange = next((t for t in turned if t.lower() not in known), None)
        else:
            strange = next((n for n in STRANGE_NAMES if n.lower() not in known), None)
        if strange:
            return question.replace(entity, strange, 1)
    return None


def calibrate(cases: Sequence[Case]) -> tuple[RefusalModel, list[tuple[float, bool, bool]]]:
    """Fit the decision, and set its threshold on confidences from models that had not seen the question's group.

    Returns the model and these out-of-fold cases (confidence, right, answerable) in their order, twins left out. Raises ValueError
    when the cases have only one outcome.
    """
    groups = sorted({c.group for c in cases})
    fold = {group: n % FOLDS for n, group in enumerate(groups)}
    models = []
    for held_out in range(FOLDS):
        rest = [c for c in cases if fold[c.group] != held_out]
        models.append(_fit(rest if len({c.right for c in rest}) == 2 else cases))
    asked = [
        (models[fold[c.group]].confidence(c.features), c.right, c.answerable) for c in cases if c.answerable is not None
    ]
    return _fit(cases).model_copy(update={"threshold": best_threshold(asked)}), asked


def _fit(cases: Sequence[Case]) -> RefusalModel:
    table = np.asarray([c.features for c in cases])
    centre, spread = table.mean(axis=0), table.std(axis=0)
    spread = np.where(spread < 1e-3, 1.0, spread)  # a feature that never varied; a tiny value would be rounded to 0
    weights, intercept = fit_yes_no((table - centre) / spread, [c.right for c in cases])
    twins = sum(c.answerable is None for c in cases)
    return RefusalModel(
        weights=tuple(round(w, 4) for w in weights),
        intercept=round(intercept, 4),
        centre=tuple(round(float(c), 4) for c in centre),
        spread=tuple(round(float(s), 4) for s in spread),
        threshold=0.5,
        calibrated_on=f"{len(cases) - twins} tuning questions and {twins} twins that must be refused",
    )


def best_threshold(cases: Sequence[tuple[float, bool, bool]]) -> float:
    """The confidence below which to refuse, so that most questions end right; among equals the nearest to one half.

    A case is (confidence, whether the draft is right, whether the question is answerable): an unanswerable question is
    right when refused, an answerable one when a right draft is shown.
    """

    def ends_right(threshold: float) -> int:
        return sum(r if confidence >= threshold else not answerable for confidence, r, answerable in cases)

    return max((n / 20 for n in range(2, 19)), key=lambda t: (ends_right(t), -abs(t - 0.5)))


def risk_coverage(scored: Sequence[tuple[float, bool]]) -> list[Point]:
    """The curve of (score, right) cases, one point per distinct score, most cautious first (El-Yaniv and Wiener 2010)."""
    points = []
    for threshold in sorted({score for score, _ in scored}, reverse=True):
        shown = [right for score, right in scored if score >= threshold]
        points.append(Point(threshold, len(shown) / len(scored), 1 - sum(shown) / len(shown)))
    return points


def certificate(scored: Sequence[tuple[float, bool]], threshold: float) -> str:
    """What may be promised at a threshold: the share answered and the upper 95 % bound of the share wrong among them."""
    shown = [right for score, right in scored if score >= threshold]
    if not shown:
        return f"Nothing is answered at {threshold:.2f} ({len(scored)} questions)."
    most = proportion(len(shown) - sum(shown), len(shown)).high
    return (
        f"At {100 * len(shown) / len(scored):.0f} % of the questions answered, at most 1 in {max(1, int(1 / most))} answers is "
        f"wrong ({len(scored)} questions, 95 %)."
    )
