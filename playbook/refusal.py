"""When to refuse: a calibrated decision over features of support, not a score limit somebody guessed.

Calibrated on tuning questions and on twins that must be refused: the same question with its source left out, and with
a name or number swapped for one the corpus does not hold. Knows features and outcomes; it does not search or answer.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from playbook.checked import TABLES, Frozen, load, read_yaml
from playbook.classifiers import fit_yes_no
from playbook.evaluation import proportion

FOLDS = 5
STRANGE_NAMES = read_yaml(TABLES / "words.yaml")["strange_names"]


class RefusalModel(Frozen):
    """Logistic weights over the support features, and what they were calibrated on."""

    weights: tuple[float, ...]
    intercept: float
    threshold: float
    calibrated_on: str

    def confidence(self, features: Sequence[float]) -> float:
        """Estimated chance that the answer is right, 0 to 1."""
        return float(1 / (1 + np.exp(-(np.dot(features, self.weights) + self.intercept))))


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


def swapped(question: str, entities: Sequence[str], known: Collection[str]) -> str | None:
    """The question with one of its `entities` (names, numbers) replaced by one that is not `known`; None without any."""
    for entity in entities:
        turned = [re.sub(r"\d", lambda d, by=by: str((int(d[0]) + by) % 10), entity) for by in (3, 5, 7, 1)]
        strange = [new for new in (STRANGE_NAMES if turned[0] == entity else turned) if new.lower() not in known]
        if strange:
            return question.replace(entity, strange[0], 1)
    return None


def calibrate(cases: Sequence[Case]) -> tuple[RefusalModel, list[tuple[float, bool, bool]]]:
    """Fit the decision, and set its threshold on confidences from models that had not seen the question's group.

    Returns the model and these out-of-fold cases (confidence, right, answerable) in their order, twins left out. Raises ValueError
    when the cases have only one outcome.
    """
    fold = {group: n % FOLDS for n, group in enumerate(sorted({c.group for c in cases}))}
    rests = [[c for c in cases if fold[c.group] != held_out] for held_out in range(FOLDS)]
    models = [_fit(rest if len({c.right for c in rest}) == 2 else cases) for rest in rests]
    real = [c for c in cases if c.answerable is not None]
    asked = [(models[fold[c.group]].confidence(c.features), c.right, c.answerable) for c in real]
    return _fit(cases).model_copy(update={"threshold": best_threshold(asked)}), asked


def _fit(cases: Sequence[Case]) -> RefusalModel:
    table = np.asarray([c.features for c in cases])
    centre, spread = table.mean(axis=0), table.std(axis=0)
    spread = np.where(spread < 1e-3, 1.0, spread)  # a feature that never varied
    weights, intercept = fit_yes_no((table - centre) / spread, [c.right for c in cases])
    slopes, twins = weights / spread, sum(c.answerable is None for c in cases)
    rounded = {"weights": slopes.round(4).tolist(), "intercept": round(float(intercept - slopes @ centre), 4)}
    made_of = f"{len(cases) - twins} tuning questions and {twins} twins that must be refused"
    return RefusalModel(threshold=0.5, calibrated_on=made_of, **rounded)


def best_threshold(cases: Sequence[tuple[float, bool, bool]]) -> float:
    """The confidence below which to refuse: nearest to one half among those that end about as many questions right.

    A case is (confidence, whether the draft is right, whether the question is answerable): an unanswerable question is
    right when refused, an answerable one when a right draft is shown. "About as many": within one standard error of the
    best, because the very best of many thresholds is often luck (Breiman et al. 1984, the one-standard-error rule).
    """
    right = {n / 20: sum(r if c >= n / 20 else not answerable for c, r, answerable in cases) for n in range(2, 19)}
    enough = (best := max(right.values())) - np.sqrt(best * (len(cases) - best) / len(cases))
    return min((t for t, count in right.items() if count >= enough), key=lambda t: (abs(t - 0.5), -right[t]))


def risk_coverage(scored: Sequence[tuple[float, bool]]) -> list[Point]:
    """The curve of (score, right) cases, one point per distinct score, most cautious first (El-Yaniv and Wiener 2010)."""
    thresholds = sorted({score for score, _ in scored}, reverse=True)
    shown = {t: [right for score, right in scored if score >= t] for t in thresholds}
    return [Point(t, len(rights) / len(scored), 1 - sum(rights) / len(rights)) for t, rights in shown.items()]


def certificate(scored: Sequence[tuple[float, bool]], threshold: float) -> str:
    """What may be promised at a threshold: the share answered and the upper 95 % bound of the share wrong among them."""
    shown = [right for score, right in scored if score >= threshold]
    if not shown:
        return f"Nothing is answered at {threshold:.2f} ({len(scored)} questions)."
    most = proportion(len(shown) - sum(shown), len(shown)).high
    answered, one_in = 100 * len(shown) / len(scored), f"{int(10 / most) / 10:g}" if most > 0.2 else int(1 / most)
    held = f"At {answered:.0f} % of the questions answered, at most 1 in {one_in} answers is wrong"
    return f"{held} ({len(scored)} questions, 95 %)."
