"""Are the labelled examples good enough to learn from? Findings with row ids, a repaired copy, a learning curve.

Knows texts, labels and an embedder. It trains nothing but the linear probe, changes no original and invents no label: each
finding proposes what to do, and `repair` does to a copy what needs no judgement. A pattern that finds no personal data
proves nothing; findings are flags, never "clean".
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import reduce
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from ftfy import fix_encoding
from pydantic import StringConstraints

from playbook.checked import TABLES, Frozen, build, read_yaml
from playbook.classifiers import Encode, cross_validated, fit_probe
from playbook.evaluation import normalise
from playbook.items import Example

RULES: dict[str, Any] = read_yaml(TABLES / "training_data.yaml")
LIMITS: dict[str, float] = RULES["limits"]
DRAWS = 5  # of training texts, for each size of the learning curve below all
LOST = "\ufffd"  # stands where a letter could not be decoded
NAMES = {"name"}  # kinds of personal data that are guessed, and are a finding of their own
Named = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2)]


class Row(Frozen):
    """A labelled text as it came: unlike an Example's, its text and its label may be empty."""

    id: str
    text: str
    label: str


Texts = Sequence[Row | Example]
Asked = dict[str, dict[str, str]]  # row -> action -> the finding that asks for it


class Known(NamedTuple):
    """What training texts are held against; what a client does not have stays empty.

    `codes`: of the code book. `trusted`: other texts whose labels are vouched for. `restricted`: passages not everybody
    may read. `too_long`: whether the model to be trained would cut a text.
    """

    held_out: Texts = ()
    codes: Collection[str] = ()
    trusted: Texts = ()
    restricted: Sequence[str] = ()
    too_long: Callable[[str], bool] = lambda text: False


class Finding(Frozen):
    """One kind of defect: which rows (or codes) have it, how grave it is, what to do, and what a repair of a copy does."""

    kind: str
    rows: tuple[str, ...]
    blocks: bool
    repair: str
    action: Literal["drop", "hold", "fix", "mask", "read", "collect"] = "read"


class Waiver(Frozen):
    """Who lets a finding pass, and why."""

    name: Named
    reason: Named


class CurvePoint(Frozen):
    """The linear probe's share right on the tuning split when trained on `examples` examples (mean of the repeats)."""

    examples: int
    mean: float
    low: float
    high: float


class Audit(Frozen):
    """What notebook 07 hands on: findings, what blocks, what was waived by whom, the repaired copy, the learning curve.

    `rows_to_mask` names what goes into a training masked, `rows_left_out` what does not go in; `sha256` is the repaired
    file's.
    """

    findings: tuple[Finding, ...]
    blocked_by: tuple[str, ...]
    rows_to_mask: tuple[str, ...]
    curve: tuple[CurvePoint, ...]
    waived: dict[str, Waiver]
    rows_left_out: tuple[str, ...] = ()
    sha256: str = ""


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


def mask(text: str, kinds: Collection[str] = tuple(RULES["personal_data"])) -> str:
    """The text with every match of these `kinds` of personal data (default: all) replaced by the kind in square brackets."""
    return reduce(lambda shown, kind: _masked(kind, shown), kinds, text)


def audit(rows: Texts, known: Known, encode: Encode, limits: Mapping[str, float], seed: int) -> list[Finding]:
    """Findings on training texts, gravest first; `limits` are the plan's thresholds.

    A row without text or code counts as empty and is passed over by all other checks.
    """
    filled = [r for r in rows if r.text.strip() and r.label.strip()]
    sound, copied = {r.id for r in filled}, {n for n, _, _ in _alike(known.trusted, filled, encode)}
    trusted = [r for n, r in enumerate(known.trusted) if n not in copied]  # a copy would know the right code of its row
    counts, languages = Counter(r.label for r in filled), {r.id: language(r.text) for r in filled}
    private = {r.id: personal_data(r.text) for r in filled}
    most, usual = max(counts.values(), default=0), Counter(filter(None, languages.values())).most_common(1)
    found = {
        "empty text or code": [r.id for r in rows if r.id not in sound],
        "code not in the code book": [r.id for r in filled if known.codes and r.label not in known.codes],
        "codes that only the held-out texts have": sorted({e.label for e in known.held_out} - set(counts)),
        "restricted source text": repeated(filled, known.restricted),
        "personal data": [i for i, kinds in private.items() if set(kinds) - NAMES],
        "names of persons": [i for i, kinds in private.items() if NAMES & set(kinds)],
        "damaged letters": [r.id for r in filled if LOST in r.text or fix_encoding(r.text) != r.text],
        **_copies(filled, known.held_out, encode),
        "suspected wrong code": [i for i in suspected([*filled, *trusted], encode, seed) if i in sound],
        "codes with few examples": sorted(c for c, n in counts.items() if n < limits["least_per_code_for_training"]),
        "rare codes beside the largest": sorted(c for c, n in counts.items() if n * LIMITS["rare_ratio"] < most),
        "too long for the adapter": [r.id for r in filled if known.too_long(r.text)],
        "very short texts": [r.id for r in filled if len(r.text.split()) < LIMITS["short_words"]],
        "another language than most": [i for i, name in languages.items() if name and name != usual[0][0]],
    }

    def finding(kind: str, tolerated: str | float, **rule: str) -> Finding:
        most = limits.get(tolerated, tolerated) * len(rows)
        return Finding(kind=kind, rows=tuple(found[kind]), blocks=len(found[kind]) > most, **rule)

    return [finding(kind, **rule) for kind, rule in RULES["findings"].items() if found[kind]]


def _copies(rows: Texts, held_out: Texts, encode: Encode) -> dict[str, list[str]]:
    """Rows that say the same as an earlier row or as a held-out text, by kind of finding."""
    pairs = [(rows[first], rows[later], exact) for later, first, exact in _alike(rows, rows, encode) if first < later]
    exact = {b.id for a, b, same in pairs if same and a.label == b.label}
    return {
        "leaks into the held-out split": sorted({rows[n].id for n, _, _ in _alike(rows, held_out, encode)}),
        "same text, different codes": sorted({r.id for a, b, _ in pairs if a.label != b.label for r in (a, b)}),
        "exact duplicates": sorted(exact),
        "near duplicates": sorted({b.id for a, b, _ in pairs if a.label == b.label} - exact),
    }


def _alike(left: Texts, right: Texts, encode: Encode) -> Iterator[tuple[int, int, bool]]:
    """Positions of texts that are copies of each other, and whether exact (but for case and blanks) or near.

    Near: almost the same vector, or a like one and many of the same words. Either alone misses reworded copies, or
    takes two people's complaints about the same thing for one.
    """
    a, b = ([normalise(r.text) for r in side] for side in (left, right))
    words, others = ([set(re.findall(r"\w+", text)) for text in side] for side in (a, b))
    cosines = encode([r.text for r in left]) @ encode([r.text for r in right]).T
    for i, j in np.argwhere(cosines >= LIMITS["near_cosine"]).tolist():
        shared = len(words[i] & others[j]) / max(1, len(words[i] | others[j]))
        if cosines[i, j] >= LIMITS["same_cosine"] or shared >= LIMITS["shared_words"]:
            yield i, j, a[i] == b[j]


def repeated(rows: Texts, passages: Sequence[str]) -> list[str]:
    """Ids of texts that repeat a run of words of any passage, as long as the limit says."""

    def runs(text: str) -> set[tuple[str, ...]]:
        words, length = re.findall(r"\w+", normalise(text)), int(LIMITS["repeated_words"])
        return {tuple(words[n : n + length]) for n in range(len(words) - length + 1)}

    closed = set().union(*map(runs, passages))
    return [r.id for r in rows if closed & runs(r.text)]


def language(text: str) -> str:
    """The language with the most of its frequent words or letters in the text; "" below two, or when two have as many."""
    hits = {name: len(re.findall(pattern, text.lower())) for name, pattern in RULES["languages"].items()}
    first, second = Counter(hits).most_common(2)
    return first[0] if first[1] >= 2 and first[1] > second[1] else ""


def suspected(rows: Texts, encode: Encode, seed: int) -> list[str]:
    """Ids of rows to which a model that has not seen them would give another code, the most doubtful first.

    Confident learning's normalised margin (Northcutt et al. 2021): how much more probable, out of fold, the likeliest
    code is than the given one. Codes with fewer than two rows are passed over.
    """
    counts = Counter(r.label for r in rows)
    judged = [r for r in rows if counts[r.label] >= 2]
    labels = [r.label for r in judged]
    if len(set(labels)) < 2:
        return []
    folds = min(10, max(counts.values()))
    codes, probability = cross_validated(encode([r.text for r in judged]), labels, folds, seed)
    margin = probability.max(axis=1) - probability[np.arange(len(judged)), np.searchsorted(codes, labels)]
    return [judged[n].id for n in np.argsort(-margin, kind="stable") if margin[n] >= LIMITS["doubt"]]


def waivers(given: Mapping[str, Any]) -> dict[str, Waiver]:
    """Checked waivers, by kind of finding; raises ValueError for an unknown kind, or one without name and reason."""
    if unknown := [kind for kind in given if kind not in RULES["findings"]]:
        raise ValueError(f"'{unknown[0]}' is no finding; waive one of: {', '.join(RULES['findings'])}.")
    return {kind: build(Waiver, said, f"waiver of '{kind}'") for kind, said in given.items()}


def blocking(findings: Sequence[Finding], waived: Mapping[str, Waiver]) -> list[str]:
    """Kinds of findings that forbid a training: those that block and that nobody has waived."""
    return [f.kind for f in findings if f.blocks and f.kind not in waived]


def repair(rows: Texts, findings: Sequence[Finding], waived: Collection[str] = ()) -> tuple[Texts, Asked]:
    """A repaired copy of the rows; and for each row that any finding names, by action, the gravest that asks for it.

    Does what each finding proposes unless it is waived: drops or holds the row, decodes damaged letters, masks personal
    data. A row with letters that are lost for good is held. Labels stay as they are.
    """
    kept, asked = [], {}
    kinds = [k for k in RULES["personal_data"] if ("names of persons" if k in NAMES else "personal data") not in waived]
    for row in rows:
        why = {f.action: f.kind for f in reversed(findings) if row.id in f.rows and f.kind not in waived}
        text = fix_encoding(row.text) if "fix" in why else row.text
        if "fix" in why and LOST in text:
            why["hold"] = why["fix"]
        if not {"drop", "hold"} & why.keys():
            kept.append(row.model_copy(update={"text": mask(text, kinds) if "mask" in why else text}))
        asked |= {row.id: why} if why else {}
    return kept, asked


def learning_draws(train: Texts, tune: Texts, encode: Encode, seed: int) -> dict[int, np.ndarray]:
    """Which texts of `tune` a linear probe gets right when trained on 25, 50, 75 and 100 % of `train`.

    By number of training texts: truth values, shape (draws, tune texts); the same seed draws the same texts. A draw that
    happens to hold one code only gives that code to every text.
    """
    vectors, told = encode([e.text for e in train]), encode([e.text for e in tune])
    labels, expected, draws = np.array([e.label for e in train]), np.array([e.label for e in tune]), {}
    for share in (0.25, 0.5, 0.75, 1.0):
        size, hits = max(1, round(share * len(train))), []
        for repeat in range(DRAWS if share < 1 else 1):
            rows = sorted(random.Random(f"{seed}/{repeat}").sample(range(len(train)), size))
            one_code = len(set(labels[rows])) == 1
            predicted = labels[rows[0]] if one_code else fit_probe(vectors[rows], labels[rows]).predict(told)
            hits.append(np.asarray(predicted) == expected)
        draws[size] = np.array(hits)
    return draws


def learning_curve(draws: Mapping[int, np.ndarray]) -> list[CurvePoint]:
    """The share right at each size of the training set: the mean of its draws, the lowest and the highest."""
    shares = {size: hits.mean(axis=1) for size, hits in draws.items()}
    return [CurvePoint(examples=n, mean=s.mean(), low=s.min(), high=s.max()) for n, s in shares.items()]
