"""Are the labelled examples good enough to learn from? Findings with row ids, and a learning curve.

Knows texts, labels and their vectors. It trains nothing but the linear probe and repairs nothing by itself: each
finding proposes what to do. A pattern that finds no personal data proves nothing; findings are flags, never "clean".
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from playbook.checked import Frozen
from playbook.classifiers import cross_validated, fit_probe
from playbook.evaluation import Proportion, normalise, proportion
from playbook.items import Example

Texts = Sequence[Example]
NEAR = 0.93  # cosine from which two texts are called near duplicates


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


def exact_duplicates(examples: Texts) -> list[tuple[str, ...]]:
    """Groups of ids whose texts are equal but for case and blanks."""
    groups: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        groups[normalise(example.text)].append(example.id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]


def near_pairs(left: Texts, right: Texts, a: np.ndarray, b: np.ndarray, least: float = NEAR) -> list[tuple[str, str]]:
    """Pairs of ids (left, right) with cosine of at least `least`; `a` and `b` are unit vectors, shape (n, dimension)."""
    rows, columns = np.nonzero(a @ b.T >= least)
    return [(left[i].id, right[j].id) for i, j in zip(rows, columns, strict=True) if left[i].id != right[j].id]


def luhn(digits: str) -> bool:
    """Check digit of a payment card number (ISO/IEC 7812-1)."""
    doubled = [int(d) * (1 + n % 2) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def iban(code: str) -> bool:
    """Check digits of an IBAN (ISO 13616: rearranged number modulo 97 is 1)."""
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1


Pattern = tuple[str, Callable[[str], bool]]  # what to look for, and a check of a match without blanks and hyphens
PERSONAL: dict[str, Pattern] = {
    "e-mail address": (r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b", bool),
    "phone number": (r"(?<!\d)(?:\+?1[-. ]?)?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)", bool),
    "social security number": (r"(?<!\d)(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?!\d)", bool),
    "card number": (r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)", luhn),
    "IBAN": (r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", iban),
}


def _compact(match: re.Match[str]) -> str:
    return re.sub(r"[ -]", "", match.group())


def personal_data(text: str) -> list[str]:
    """Kinds of personal data that patterns find in a text; card numbers and IBANs only when their check digits hold."""
    found = PERSONAL.items()
    return [kind for kind, (form, valid) in found if any(valid(_compact(m)) for m in re.finditer(form, text))]


def mask(text: str) -> str:
    """The text with every personal-data match replaced by its kind in square brackets."""
    for kind, (form, valid) in PERSONAL.items():
        text = re.sub(form, lambda m, k=kind, ok=valid: f"[{k}]" if ok(_compact(m)) else m.group(), text)
    return text


def audit(
    train: Texts, held_out: Texts, vectors: np.ndarray, held_vectors: np.ndarray, limits: dict[str, float], seed: int
) -> list[Finding]:
    """Findings on the training texts, gravest first; vectors are unit, shape (texts, dimension)."""
    label = {e.id: e.label for e in train}
    same = exact_duplicates(train)
    near = sorted({tuple(sorted(p)) for p in near_pairs(train, train, vectors, vectors)})
    conflicts = sorted({i for group in [*same, *near] if len({label[i] for i in group}) > 1 for i in group})
    held = {normalise(e.text) for e in held_out}
    leaks = {a for a, _ in near_pairs(train, held_out, vectors, held_vectors)}
    leaks |= {e.id for e in train if normalise(e.text) in held}
    few = [c for c, n in Counter(label.values()).items() if n < limits["least_per_code_for_training"]]
    private = [e.id for e in train if personal_data(e.text)]
    too_many = len(conflicts) > limits["conflicting_labels"] * len(train)
    again = sorted(i for group in same for i in group[1:])
    short = [e.id for e in train if len(e.text.split()) < 3]
    found = [  # kind, rows, whether it blocks training, what to do
        ("leaks into the held-out split", sorted(leaks), True, "remove these rows from training"),
        ("personal data", private, True, "mask it (the proposed copy does), or waive it by name"),
        ("same text, different codes", conflicts, too_many, "let one person decide the code of each pair"),
        ("exact duplicates", again, False, "keep one of each"),
        ("near duplicates", sorted({b for _, b in near}), False, "keep the clearer one"),
        ("suspected wrong code", suspected(train, vectors, seed), False, "read these first, with the code book"),
        ("codes with few examples", sorted(few), False, "collect more for these codes"),
        ("very short texts", short, False, "check that they can be coded at all"),
    ]
    return [Finding(kind=kind, rows=tuple(rows), blocks=stop, repair=fix) for kind, rows, stop, fix in found if rows]


def suspected(examples: Texts, vectors: np.ndarray, seed: int) -> list[str]:
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
    predicted, confidence = (np.asarray(found) for found in cross_validated(vectors[rows], labels, folds, seed))
    usual = np.array([confidence[predicted == code].mean() for code in predicted])
    doubted = (predicted != np.asarray(labels)) & (confidence >= usual + 0.05)
    return sorted(examples[rows[n]].id for n in np.flatnonzero(doubted))


def agreement(first: Sequence[str], second: Sequence[str]) -> Proportion:
    """Share of items on which two people chose the same code, with its interval."""
    return proportion(sum(a == b for a, b in zip(first, second, strict=True)), len(first))


def learning_curve(
    train: Texts, tune: Texts, vectors: np.ndarray, tune_vectors: np.ndarray, seed: int, repeats: int = 5
) -> list[CurvePoint]:
    """Share right on `tune` of a linear probe trained on 25, 50, 75 and 100 % of `train`, over seeded subsets.

    A subset that happens to hold one code only gives that code to every text.
    """
    labels, expected = np.array([e.label for e in train]), np.array([e.label for e in tune])
    points = []
    for share in (0.25, 0.5, 0.75, 1.0):
        size, scores = round(share * len(train)), []
        for repeat in range(repeats if share < 1 else 1):
            rows = sorted(random.Random(f"{seed}/{repeat}").sample(range(len(train)), max(1, size)))
            one_code = len(set(labels[rows])) == 1
            predicted = labels[rows[0]] if one_code else fit_probe(vectors[rows], labels[rows]).predict(tune_vectors)
            scores.append(float(np.mean(np.asarray(predicted) == expected)))
        points.append(CurvePoint(examples=size, mean=float(np.mean(scores)), low=min(scores), high=max(scores)))
    return points
