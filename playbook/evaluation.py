"""Metrics and statistics that need no judge: how often right, how sure, and what a small set can prove.

Pure functions on strings and numbers; scipy does the distributions. Knows nothing of files, models or arms.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from scipy import optimize, stats

from playbook.checked import Frozen

Interval = tuple[float, float, float]  # a figure with the lower and upper bound of its 95 % interval
Pairs = Sequence[tuple[str, str]]
Scores = Sequence[float]  # one an item; truth values count as 0 and 1
Names = Sequence[str] | None  # what an item belongs to, for instance its document; None: only to itself
_WHOLE = r"(?!(?<=[\d.,])\d){}(?!(?<=\d)[.,]?\d)"  # a string; a number at its start or end goes no further


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


def share_of(flags: Iterable[bool]) -> Proportion:
    """The share of true values with its Wilson interval; raises ValueError without any value."""
    counted = list(flags)
    return proportion(sum(counted), len(counted))


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided McNemar p-value from the discordant pairs (binomial test with one half); 1.0 without any."""
    if wins < 0 or losses < 0:
        raise ValueError(f"{wins} wins and {losses} losses: counts cannot be below 0.")
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979) of a family of p-values, in the order given."""
    given = np.array(p_values, float)
    order = np.argsort(given, kind="stable")
    given[order] = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    return given.clip(max=1).tolist()


def compare(hits: dict[str, Sequence[bool]], pairs: Pairs, alpha: float = 0.05, least: float = 1) -> list[PairedTest]:
    """Exact paired tests of the planned `pairs` of arms on the same items, Holm-corrected over all of them.

    `hits` maps an arm to one truth value per item. With fewer than `least` items, or when both arms were right (or wrong)
    on all of them, the verdict says that and stops there. Raises ValueError for an unknown arm or unequal lengths.
    """
    found = []
    for first, second in pairs:
        if first not in hits or second not in hits:
            raise ValueError(f"the plan compares '{first}' with '{second}', but measured were: {', '.join(hits)}.")
        a, b = np.asarray(hits[first], bool), np.asarray(hits[second], bool)
        if len(a) != len(b):
            raise ValueError(f"'{first}' has {len(a)} items and '{second}' {len(b)}: arms must answer the same items.")
        wins, losses, ties = (int(side.sum()) for side in (a > b, a < b, a == b))
        counts = {"wins": wins, "losses": losses, "ties": ties, "p_value": mcnemar(wins, losses)}
        found.append({"first": first, "second": second, "verdict": _no_contest(a, b, least), **counts})
    for test, p in zip(found, holm([test["p_value"] for test in found]), strict=True):
        better = test["first" if test["wins"] > test["losses"] else "second"]
        verdict = f"{better} is better" if p < alpha else "no difference can be proved"
        test.update(p_adjusted=p, verdict=test["verdict"] or verdict)
    return [PairedTest(**test) for test in found]


def _no_contest(a: np.ndarray, b: np.ndarray, least: float) -> str:
    """Why two arms cannot be compared at all; empty when they can."""
    if len(a) < max(least, 1):
        return f"no verdict: {len(a)} items are too few, at least {least:.0f} are needed"
    same = {0: "wrong", 2 * len(a): "right"}.get(int(a.sum() + b.sum()))
    return f"both were {same} on all {len(a)} items: nothing can be compared" if same else ""


def smallest_provable_gain(n: int, losses: int, alpha: float = 0.05) -> int | None:
    """Fewest wins minus losses, in items, that an exact paired test on `n` items can prove, assuming `losses` losses.

    None when even winning every other item proves nothing. Divide by `n` for points.
    """
    if n < 1 or losses < 0:
        raise ValueError(f"{n} items with {losses} losses: give at least one item and no negative losses.")
    return next((gain for gain in range(1, n - 2 * losses + 1) if mcnemar(losses + gain, losses) < alpha), None)


def paired_bootstrap(a: Scores, b: Scores, seed: int = 0, clusters: Names = None) -> Interval:
    """Mean difference of two arms' item scores (a minus b) with its 95 % percentile interval.

    Items are drawn in pairs, by whole `clusters` where given (one name an item, for instance its document): items of one
    document rise and fall together (Miller 2024). Raises ValueError for fewer than two items or clusters.
    """
    return _bootstrap(np.subtract, (a, b), clusters, seed)


def extrapolate(hits: Mapping[int, np.ndarray], to: int, seed: int = 0, widest: float = 0.15) -> Interval | None:
    """Expected gain in share right from the largest size in `hits` to size `to`, with its 95 % interval.

    `hits`: size of the training set -> truth values, shape (draws, items). An inverse power law, top - gap * size^-speed
    (Figueroa et al. 2012), is fitted 200 times to drawn items and draws. None, for "cannot say": fewer than four sizes or
    50 items, more than twice the largest size, no fit, or an interval wider than `widest`.
    """
    sizes, items = np.array(sorted(hits)), min((found.shape[1] for found in hits.values()), default=0)
    if len(sizes) < 4 or items < 50 or to > 2 * sizes[-1]:
        return None
    rng, fit = np.random.default_rng(seed), {"bounds": ((0, 0, 0.01), (1, 1, 3)), "method": "dogbox"}

    def law(size: Any, top: float, gap: float, speed: float) -> Any:
        return top - gap * size**-speed

    def gain(drawn: np.ndarray) -> float:
        means = [hits[n][rng.integers(len(hits[n]), size=len(hits[n]))][:, drawn].mean() for n in sizes]
        found, _ = optimize.curve_fit(law, sizes / sizes[-1], means, (0.9, 0.1, 0.5), **fit)
        return law(to / sizes[-1], *found) - law(1, *found)

    with suppress(RuntimeError):  # curve_fit found no minimum
        gains = [gain(drawn) for drawn in rng.integers(items, size=(200, items))]
        low, middle, high = np.percentile(gains, (2.5, 50, 97.5)).tolist()
        return (middle, low, high) if high - low <= widest else None


def gain_share(floor: Scores, cheap: Scores, best: Scores, seed: int = 0, clusters: Names = None) -> Interval | None:
    """The prompt ceiling: share (0 to 1) of the best arm's gain over the floor that the cheap arm reached, with interval.

    One truth value an item and arm, drawn as in `paired_bootstrap`; None when the best arm gains nothing. In a drawn
    sample without a gain the share is 1 if the cheap arm gained, else 0: what cannot be told widens the interval.
    """

    def share(low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.clip((middle - low) / np.maximum(high - low, 1e-12), 0, 1)

    return _bootstrap(share, (floor, cheap, best), clusters, seed) if np.mean(best) > np.mean(floor) else None


def _bootstrap(figure: Callable[..., np.ndarray], arms: Sequence[Scores], clusters: Names, seed: int) -> Interval:
    """A figure of the arms' mean scores, one array an arm, with its bounds over 2,000 draws of whole clusters."""
    names, member = np.unique(np.arange(len(arms[0])) if clusters is None else clusters, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{len(names)} items or documents: an interval needs at least two.")
    sums = np.array([np.bincount(member, row) for row in (*arms, np.ones(len(member)))])  # the last row counts items
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), 2000)
    *totals, count = np.column_stack([sums.sum(axis=1), sums @ times.T])
    found = figure(*(total / count for total in totals))
    return float(found[0]), *np.percentile(found[1:], (2.5, 97.5)).tolist()


def normalise(text: str) -> str:
    """Lower case, one blank between words, plain quotes and hyphens: how answers and key strings are compared."""
    plain = text.lower().replace("\u2019", "'").replace("\u2013", "-").replace("\u2011", "-")
    return " ".join(plain.split())


def contains(text: str, must_contain: Sequence[Sequence[str]]) -> bool:
    """Whether every group occurs in `text` by at least one of its alternatives; a number must not continue.

    "14 days" is not found in "114 days", and "$5" not in "$50".
    """
    body = normalise(text)
    return all(any(re.search(_WHOLE.format(re.escape(normalise(a))), body) for a in group) for group in must_contain)


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


def token_f1(given: str, expected: str) -> float:
    """F1 of the words two answers share, 0 to 1, without case, punctuation and articles (Rajpurkar et al. 2016, SQuAD)."""
    bare = (re.sub(r"[^\w\s]", "", normalise(text)) for text in (given, expected))
    a, b = (Counter(re.sub(r"\b(a|an|the)\b", " ", text).split()) for text in bare)
    return 2 * (a & b).total() / (a.total() + b.total()) if a or b else 1.0
