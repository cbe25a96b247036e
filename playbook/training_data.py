"""Are the labelled examples good enough to learn from? Findings with row ids, and a learning curve.

Knows texts, labels and their vectors. It trains nothing but the linear probe and repairs nothing by itself: each
finding proposes what to do. A pattern that finds no personal data proves nothing; findings are flags, never "clean".
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from playbook.checked import TABLES, Frozen, read_yaml
from playbook.classifiers import cross_validated, fit_probe
from playbook.evaluation import Proportion, copies, normalise, proportion
from playbook.items import Example

Texts = Sequence[Example]
NEAR = 0.93  # cosine from which two texts are called near duplicates
RULES: dict[str, Any] = read_yaml(TABLES / "training_data.yaml")


class Finding(Frozen):
    """One kind of defect: which rows have it, how grave it is, and what to do."""

    kind: str
    rows: tuple[str, ...]
    blocks: bool
    repair: str


class CurvePoint(Frozen):
    """The linear probe's share right on the tuning split when trained on `examples` examples (mean of the repeats)."""

    examples: int
    mean: float
    low: float
    high: float


class Audit(Frozen):
    """What notebook 07 hands on: findings, what blocks, what was waived by whom, and the learning curve."""

    findings: tuple[Finding, ...]
    blocked_by: tuple[str, ...]
    rows_to_mask: tuple[str, ...]
    curve: tuple[CurvePoint, ...]
    waived: dict[str, str]


def luhn(digits: str) -> bool:
    """Check digit of a payment card number (ISO/IEC 7812-1)."""
    doubled = [int(d) * (1 + n % 2) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def iban(code: str) -> bool:
    """Check digits of an IBAN (ISO 13616: rearranged number modulo 97 is 1)."""
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1


CHECKS = {"card number": luhn, "IBAN": iban}  # get a match without blanks and hyphens


def _masked(kind: str, text: str) -> str:
    """The text with every match of one kind of personal data replaced by `[kind]`, where its check digits hold."""
    holds = CHECKS.get(kind, bool)

    def shown(match: re.Match[str]) -> str:
        return f"[{kind}]" if holds(re.sub(r"[ -]", "", match.group())) else match.group()

    return re.sub(RULES["personal_data"][kind], shown, text)


def personal_data(text: str) -> list[str]:
    """Kinds of personal data that patterns find in a text; card numbers and IBANs only when their check digits hold."""
    return [kind for kind in RULES["personal_data"] if _masked(kind, text) != text]


def mask(text: str) -> str:
    """The text with every personal-data match replaced by its kind in square brackets."""
    return reduce(lambda shown, kind: _masked(kind, shown), RULES["personal_data"], text)


def audit(
    train: Texts, held_out: Texts, vectors: np.ndarray, held_vectors: np.ndarray, limits: dict[str, float], seed: int
) -> list[Finding]:
    """Findings on the training texts, gravest first; vectors are unit, shape (texts, dimension)."""
    label, first = {e.id: e.label for e in train}, {normalise(e.text): e.id for e in reversed(train)}
    texts, held = ({e.id: e.text for e in group} for group in (train, held_out))
    near = [(a, b) for a, b in copies(texts, texts, vectors @ vectors.T, NEAR) if a < b]
    leaks = {a for a, _ in copies(texts, held, vectors @ held_vectors.T, NEAR)}
    few = (c for c, n in Counter(label.values()).items() if n < limits["least_per_code_for_training"])
    found = {
        "leaks into the held-out split": sorted(leaks),
        "personal data": [e.id for e in train if personal_data(e.text)],
        "same text, different codes": sorted({i for a, b in near if label[a] != label[b] for i in (a, b)}),
        "exact duplicates": sorted(e.id for e in train if first[normalise(e.text)] != e.id),
        "near duplicates": sorted({b for _, b in near}),
        "suspected wrong code": suspected(train, vectors, seed),
        "codes with few examples": sorted(few),
        "very short texts": [e.id for e in train if len(e.text.split()) < 3],
    }

    def finding(kind: str, rows: list[str]) -> Finding:
        rule = RULES["findings"][kind]
        most = limits.get(rule["tolerated"], rule["tolerated"]) * len(train)
        return Finding(kind=kind, rows=tuple(rows), blocks=len(rows) > most, repair=rule["repair"])

    return [finding(kind, rows) for kind, rows in found.items() if rows]


def suspected(examples: Texts, vectors: np.ndarray, seed: int) -> list[str]:
    """Ids whose out-of-fold prediction disagrees with the label more confidently than that predicted code's usual.

    The rule of confident learning (Northcutt et al. 2021): the threshold of a code is its own mean confidence. Codes
    with fewer than two examples are passed over.
    """
    counts = Counter(e.label for e in examples)
    rows = [n for n, e in enumerate(examples) if counts[e.label] >= 2]
    labels = [examples[n].label for n in rows]
    if len(set(labels)) < 2:
        return []
    folds = min(5, *Counter(labels).values())
    predicted, confidence = map(np.asarray, cross_validated(vectors[rows], labels, folds, seed))
    usual = np.array([confidence[predicted == code].mean() for code in predicted])
    doubted = (predicted != np.asarray(labels)) & (confidence >= usual + 0.05)
    return sorted(examples[rows[n]].id for n in np.flatnonzero(doubted))


def agreement(first: Sequence[str], second: Sequence[str]) -> Proportion:
    """Share of items on which two people chose the same code, with its interval."""
    return proportion(sum(a == b for a, b in zip(first, second, strict=True)), len(first))


def learning_curve(
    train: Texts, tune: Texts, vectors: np.ndarray, tune_vectors: np.ndarray, seed: int
) -> list[CurvePoint]:
    """Share right on `tune` of a linear probe trained on 25, 50, 75 and 100 % of `train`, over five seeded subsets.

    A subset that happens to hold one code only gives that code to every text.
    """
    labels, expected = np.array([e.label for e in train]), np.array([e.label for e in tune])
    points = []
    for share in (0.25, 0.5, 0.75, 1.0):
        size, scores = round(share * len(train)), []
        for repeat in range(5 if share < 1 else 1):
            rows = sorted(random.Random(f"{seed}/{repeat}").sample(range(len(train)), max(1, size)))
            one_code = len(set(labels[rows])) == 1
            predicted = labels[rows[0]] if one_code else fit_probe(vectors[rows], labels[rows]).predict(tune_vectors)
            scores.append(float(np.mean(np.asarray(predicted) == expected)))
        points.append(CurvePoint(examples=size, mean=float(np.mean(scores)), low=min(scores), high=max(scores)))
    return points
