"""Are the labelled examples good enough to learn from? Findings with row ids, and a learning curve.

Knows texts, labels and their vectors. It trains nothing but the linear probe and repairs nothing by itself: each
finding proposes what to do. A pattern that finds no personal data proves nothing; findings are flags, never "clean".
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from playbook.classifiers import cross_validated, fit_probe
from playbook.evaluation import Proportion, normalise, proportion
from playbook.items import Example

REPAIR = {
    "leaks into the held-out split": "remove these rows from training",
    "personal data": "mask it (the proposed copy does), or waive it by name",
    "same text, different codes": "let one person decide the code of each pair",
    "exact duplicates": "keep one of each",
    "near duplicates": "keep the clearer one",
    "suspected wrong code": "read these first, with the code book",
    "codes with few examples": "collect more for these codes",
    "very short texts": "check that they can be coded at all",
}
NEAR = 0.93  # cosine from which two texts are called near duplicates
PERSONAL = {
    "e-mail address": re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b"),
    "phone number": re.compile(r"(?<!\d)(?:\+?1[-. ]?)?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)"),
    "social security number": re.compile(r"(?<!\d)(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?!\d)"),
    "card number": re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)"),
    "IBAN": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
}


class Finding(BaseModel):
    """One kind of defect: which rows have it, how grave it is, and what to do."""

    model_config = ConfigDict(frozen=True)
    kind: str
    rows: tuple[str, ...]
    blocks: bool
    repair: str


class CurvePoint(BaseModel):
    """The linear probe's share right on the tuning split when trained on `examples` examples (mean of the repeats)."""

    model_config = ConfigDict(frozen=True)
    examples: int
    mean: float
    low: float
    high: float


class Audit(BaseModel):
    """What notebook 07 hands on: counts, findings, the learning curve, and whether training may use the data."""

    model_config = ConfigDict(frozen=True)
    examples: int
    codes: int
    smallest_code: tuple[str, int]
    largest_code: tuple[str, int]
    findings: tuple[Finding, ...]
    blocked_by: tuple[str, ...]
    rows_to_mask: tuple[str, ...]
    agreement: Proportion | None
    curve: tuple[CurvePoint, ...]
    waived: dict[str, str]
    passed: bool
    headline: str


def exact_duplicates(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Groups of ids whose texts are equal but for case and blanks."""
    groups: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        groups[normalise(example.text)].append(example.id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]


def near_pairs(
    left: Sequence[Example], right: Sequence[Example], a: np.ndarray, b: np.ndarray, least: float = NEAR
) -> list[tuple[str, str]]:
    """Pairs of ids (left, right) with cosine of at least `least`; `a` and `b` are unit vectors, shape (n, dimension)."""
    rows, columns = np.nonzero(a @ b.T >= least)
    return [(left[i].id, right[j].id) for i, j in zip(rows, columns, strict=True) if left[i].id != right[j].id]


def personal_data(text: str) -> list[str]:
    """Kinds of personal data that patterns find in a text; card numbers and IBANs only when their check digits hold."""
    found = []
    for kind, pattern in PERSONAL.items():
        matches = [re.sub(r"[ -]", "", m.group()) for m in pattern.finditer(text)]
        if kind == "card number":
            matches = [m for m in matches if luhn(m)]
        if kind == "IBAN":
            matches = [m for m in matches if iban(m)]
        if matches:
            found.append(kind)
    return found


def mask(text: str) -> str:
    """The text with every personal-data match replaced by its kind in square brackets."""
    for kind, pattern in PERSONAL.items():
        valid = {"card number": luhn, "IBAN": iban}.get(kind, lambda _: True)
        text = pattern.sub(
            lambda m, k=kind, v=valid: f"[{k}]" if v(re.sub(r"[ -]", "", m.group())) else m.group(), text
        )
    return text


def luhn(digits: str) -> bool:
    """Check digit of a payment card number (ISO/IEC 7812-1)."""
    doubled = [int(d) * (1 + n % 2) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def iban(code: str) -> bool:
    """Check digits of an IBAN (ISO 13616: rearranged number modulo 97 is 1)."""
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1


def audit(
    train: Sequence[Example],
    held_out: Sequence[Example],
    vectors: np.ndarray,
    held_out_vectors: np.ndarray,
    thresholds: dict[str, float],
    seed: int,
) -> list[Finding]:
    """Findings on the training texts, gravest first; vectors are unit, shape (texts, dimension)."""
    label = {e.id: e.label for e in train}
    same = exact_duplicates(train)
    near = sorted({tuple(sorted(p)) for p in near_pairs(train, train, vectors, vectors)})
    conflicts = sorted({i for group in [*same, *near] if len({label[i] for i in group}) > 1 for i in group})
    held = {normalise(e.text) for e in held_out}
    leaks = {e.id for e in train if normalise(e.text) in held} | {
        a for a, _ in near_pairs(train, held_out, vectors, held_out_vectors)
    }
    few = [c for c, n in Counter(label.values()).items() if n < thresholds["least_per_code_for_training"]]
    found = {
        "leaks into the held-out split": sorted(leaks),
        "personal data": [e.id for e in train if personal_data(e.text)],
        "same text, different codes": conflicts,
        "exact duplicates": sorted(i for group in same for i in group[1:]),
        "near duplicates": sorted({b for _, b in near}),
        "suspected wrong code": suspected(train, vectors, seed),
        "codes with few examples": sorted(few),
        "very short texts": [e.id for e in train if len(e.text.split()) < 3],
    }
    blocking = {"leaks into the held-out split", "personal data"}
    if len(conflicts) > thresholds["conflicting_labels"] * len(train):
        blocking.add("same text, different codes")
    return [
        Finding(kind=kind, rows=tuple(rows), blocks=kind in blocking, repair=REPAIR[kind])
        for kind, rows in found.items()
        if rows
    ]


def suspected(examples: Sequence[Example], vectors: np.ndarray, seed: int) -> list[str]:
    """Ids whose out-of-fold prediction disagrees with the label more confidently than that predicted code's usual.

    The rule of confident learning (Northcutt et al. 2021): the threshold of a code is its own mean confidence. Codes
    with fewer than two examples are passed over.
    """
    counts = Counter(e.label for e in examples)
    rows = [n for n, e in enumerate(examples) if counts[e.label] >= 2]
    labels = [examples[n].label for n in rows]
    folds = min(5, min(Counter(labels).values(), default=0))
    if len(set(labels)) < 2 or folds < 2:
        return []
    predicted, confidence = cross_validated(vectors[rows], labels, folds, seed)
    usual: dict[str, float] = {}
    for code in set(predicted):
        usual[code] = float(np.mean([c for p, c in zip(predicted, confidence, strict=True) if p == code]))
    return sorted(
        examples[n].id
        for n, label, p, c in zip(rows, labels, predicted, confidence, strict=True)
        if p != label and c >= usual[p] + 0.05
    )


def agreement(first: Sequence[str], second: Sequence[str]) -> Proportion:
    """Share of items on which two people chose the same code, with its interval."""
    return proportion(sum(a == b for a, b in zip(first, second, strict=True)), len(first))


def learning_curve(
    train: Sequence[Example],
    tune: Sequence[Example],
    vectors: np.ndarray,
    tune_vectors: np.ndarray,
    seed: int,
    repeats: int = 5,
) -> list[CurvePoint]:
    """Share right on `tune` of a linear probe trained on 25, 50, 75 and 100 % of `train`, over seeded subsets.

    A subset that happens to hold one code only gives that code to every text.
    """
    expected = [e.label for e in tune]
    points = []
    for share in (0.25, 0.5, 0.75, 1.0):
        scores = []
        for repeat in range(repeats if share < 1 else 1):
            rows = sorted(
                random.Random(f"{seed}/{repeat}").sample(range(len(train)), max(1, round(share * len(train))))
            )
            labels = [train[n].label for n in rows]
            one_code = len(set(labels)) == 1
            predicted = labels[:1] * len(tune) if one_code else fit_probe(vectors[rows], labels).predict(tune_vectors)
            scores.append(float(np.mean([p == e for p, e in zip(predicted, expected, strict=True)])))
        points.append(
            CurvePoint(
                examples=round(share * len(train)), mean=float(np.mean(scores)), low=min(scores), high=max(scores)
            )
        )
    return points
