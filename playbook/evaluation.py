"""Metrics and statistics that need no judge: how often right, how sure, and what a small set can prove.

Pure functions on strings and numbers; scipy does the distributions. Knows nothing of files, models or arms.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import stats

from playbook.checked import Frozen


class Proportion(Frozen):
    """A share with its Wilson interval: `hits` of `n`, 95 % unless said otherwise."""

    hits: int
    n: int
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.hits} of {self.n} ({self.share:.0%}, 95 % between {self.low:.0%} and {self.high:.0%})"


class PairedTest(Frozen):
    """Two arms on the same items: wins and losses of the first, the exact p-value, and what may be said."""

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    p_value: float
    p_adjusted: float
    verdict: str


def proportion(hits: int, n: int, confidence: float = 0.95) -> Proportion:
    """Wilson score interval of `hits` out of `n` (Wilson 1927); raises ValueError unless 0 <= hits <= n and n > 0."""
    if n <= 0 or not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is not a share: there must be at least one item, and no more hits than items.")
    interval = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return Proportion(hits=hits, n=n, share=hits / n, low=float(interval.low), high=float(interval.high))


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided McNemar p-value from the discordant pairs (binomial test with one half); 1.0 without any."""
    if wins < 0 or losses < 0:
        raise ValueError(f"{wins} wins and {losses} losses: counts cannot be below 0.")
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979) of a family of p-values, in the order given."""
    given = np.asarray(p_values, float)
    order = np.argsort(given, kind="stable")
    stepped = np.minimum(1, given[order] * np.arange(len(given), 0, -1))
    given[order] = np.maximum.accumulate(stepped)
    return given.tolist()


def compare(hits: dict[str, Sequence[bool]], pairs: Sequence[tuple[str, str]], alpha: float = 0.05) -> list[PairedTest]:
    """Exact paired tests of the planned `pairs` of arms on the same items, Holm-corrected over all of them.

    `hits` maps an arm to one truth value per item. Raises ValueError for an unknown arm or unequal lengths.
    """
    rows = []
    for first, second in pairs:
        if first not in hits or second not in hits:
            raise ValueError(f"the plan compares '{first}' with '{second}', but measured were: {', '.join(hits)}.")
        a, b = np.asarray(hits[first], bool), np.asarray(hits[second], bool)
        if len(a) != len(b):
            raise ValueError(f"'{first}' has {len(a)} items and '{second}' {len(b)}: arms must answer the same items.")
        wins, losses = int((a & ~b).sum()), int((b & ~a).sum())
        counts = {"wins": wins, "losses": losses, "ties": len(a) - wins - losses, "p_value": mcnemar(wins, losses)}
        rows.append({"first": first, "second": second, **counts})
    tests = []
    for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        better = row["first"] if row["wins"] > row["losses"] else row["second"]
        verdict = f"{better} is better" if p < alpha else "no difference can be proved"
        tests.append(PairedTest(p_adjusted=p, verdict=verdict, **row))
    return tests


def smallest_provable_gain(n: int, losses: int, alpha: float = 0.05) -> int | None:
    """Fewest wins minus losses, in items, that an exact paired test on `n` items can prove, assuming `losses` losses.

    None when even winning every other item proves nothing. Divide by `n` for points.
    """
    if n < 1 or losses < 0:
        raise ValueError(f"{n} items with {losses} losses: give at least one item and no negative losses.")
    for wins in range(losses + 1, n - losses + 1):
        if mcnemar(wins, losses) < alpha:
            return wins - losses
    return None


def paired_bootstrap(a: Sequence[float], b: Sequence[float], seed: int = 0, rounds: int = 2000) -> tuple[float, ...]:
    """Mean difference of two arms' item scores with its 95 % percentile interval, items resampled in pairs."""
    difference = np.asarray(a, float) - np.asarray(b, float)
    if len(difference) == 0:
        raise ValueError("no items to compare.")
    means = np.random.default_rng(seed).choice(difference, (rounds, len(difference))).mean(axis=1)
    return float(difference.mean()), float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def normalise(text: str) -> str:
    """Lower case, one blank between words, plain quotes and hyphens: how answers and key strings are compared."""
    text = text.lower().replace("\u2019", "'").replace("\u2013", "-").replace("\u2011", "-").replace("\u00a0", " ")
    return re.sub(r"\s+", " ", text).strip()


def contains(text: str, must_contain: Sequence[Sequence[str]]) -> bool:
    """Whether every group occurs in `text` by at least one of its alternatives; a number must not continue.

    "14 days" is not found in "114 days", and "$5" not in "$50".
    """
    body = normalise(text)
    return all(any(_occurs(normalise(a), body) for a in group) for group in must_contain)


def _occurs(needle: str, body: str) -> bool:
    before = r"(?<![\d.,])" if needle[:1].isdigit() else ""
    after = r"(?![\d]|[.,]\d)" if needle[-1:].isdigit() else ""
    return re.search(before + re.escape(needle) + after, body) is not None


def brier(probabilities: Sequence[float], outcomes: Sequence[bool]) -> float:
    """Mean squared distance of stated probabilities from what happened (Brier 1950): 0 best, 0.25 a coin's, 1 worst."""
    if not probabilities or len(probabilities) != len(outcomes):
        raise ValueError(f"{len(probabilities)} probabilities for {len(outcomes)} outcomes: give one each, and some.")
    return float(np.mean([(p - float(o)) ** 2 for p, o in zip(probabilities, outcomes, strict=True)]))


def macro_f1(expected: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean over the labels in `expected` of the F1 score of each label, 0 to 1; raises ValueError without items."""
    if not expected:
        raise ValueError("no items: F1 needs at least one.")
    hits = Counter(e for e, p in zip(expected, predicted, strict=True) if e == p)
    total = Counter(expected) + Counter(predicted)
    return float(np.mean([2 * hits[label] / total[label] for label in set(expected)]))


def confusions(expected: Sequence[str], predicted: Sequence[str], most: int = 5) -> list[tuple[str, str, int]]:
    """The most frequent mistakes as (expected, predicted, count), ties in alphabetical order."""
    counts = Counter((e, p) for e, p in zip(expected, predicted, strict=True) if e != p)
    return [(e, p, n) for (e, p), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]]
