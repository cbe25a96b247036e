"""The plan: who is in which split, which arms run, what is compared, which thresholds decide. Frozen before measuring.

Pure but for reading its table. It does not know how an arm works or what it scored.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from playbook.checked import TABLES, Frozen, read_yaml
from playbook.evaluation import smallest_provable_gain
from playbook.items import Example, Question

RULES = ("seed", "thresholds", "retrieval_weights")  # what no change of the items explains


class Plan(Frozen):
    """Everything fixed before the first score. `digest` is the SHA-256 of all the rest but the reason."""

    seed: int
    questions: dict[str, tuple[str, ...]]
    examples: dict[str, tuple[str, ...]]
    labels_left_out: dict[str, int]
    knowledge_arms: tuple[str, ...]
    behaviour_arms: tuple[str, ...]
    adapter_arms: tuple[str, ...]
    knowledge_comparisons: tuple[tuple[str, str], ...]
    behaviour_comparisons: tuple[tuple[str, str], ...]
    adapter_comparisons: tuple[tuple[str, str], ...]
    thresholds: dict[str, float]
    retrieval_weights: tuple[float, ...]
    inputs: dict[str, str]
    reason_for_change: str = ""

    @property
    def digest(self) -> str:
        """Hash that 05, 08 and the decision record quote."""
        content = self.model_dump(mode="json", exclude={"reason_for_change"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def make_plan(questions: Sequence[Question], examples: Sequence[Example], seed: int, inputs: dict[str, str]) -> Plan:
    """Split the items and write the plan down.

    Questions are split by source file, so that no document serves both tuning and testing; examples by code, so that
    each code is in train and test, and from four examples on in tune as well. Where the items carry a split of their
    own, that one stands; raises ValueError when only some do. The same items and seed give the same plan; without items
    of a kind its arms are left out.
    """
    table = dict(read_yaml(TABLES / "plan.yaml"))
    by_label = {label: [e.id for e in examples if e.label == label] for label in sorted({e.label for e in examples})}
    least = table["thresholds"]["least_examples_per_code"]
    left_out = {label: len(ids) for label, ids in by_label.items() if len(ids) < least}
    unused = [] if questions else ["knowledge"]
    unused += [] if len(left_out) < len(by_label) else ["behaviour", "adapter"]
    table |= {f"{kind}_{what}": [] for kind in unused for what in ("arms", "comparisons")}
    share = table["split"]
    kept = {label: ids for label, ids in by_label.items() if label not in left_out}
    known = {i for ids in kept.values() for i in ids}
    split = _own_split(examples, ("train", "tune", "test")) or split_examples(kept, share["examples"], seed)
    asked = _own_split(questions, ("tune", "test")) or split_questions(questions, share["questions"]["tune"], seed)
    return Plan(
        seed=seed,
        questions=asked,
        examples={part: tuple(i for i in ids if i in known) for part, ids in split.items()},
        labels_left_out=left_out,
        inputs=inputs,
        **{name: table[name] for name in Plan.model_fields.keys() & table.keys()},
    )


def _own_split(items: Sequence[Question] | Sequence[Example], parts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The ids by the split that the items carry; empty when none does."""
    without = [i.id for i in items if not i.split]
    if without and len(without) < len(items):
        more = f"{without[0]} and {len(without) - 1} more have no split"
        raise ValueError(f"{more}, the others do: fill the column or empty it.")
    return {} if without else {part: tuple(i.id for i in items if i.split == part) for part in parts if items}


def split_questions(questions: Sequence[Question], tune: float, seed: int) -> dict[str, tuple[str, ...]]:
    """Ids in `tune` and `test`; whole source files go to one side, until tune holds its share.

    A question without a source (most unanswerable ones) goes by itself, so that both sides can hold some.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        groups[question.source or question.id].append(question.id)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    tuned: set[str] = set()
    for source in order:
        if len(tuned) + len(groups[source]) / 2 <= tune * len(questions):
            tuned |= set(groups[source])
    sides = {"tune": True, "test": False}
    return {side: tuple(q.id for q in questions if (q.id in tuned) == is_tune) for side, is_tune in sides.items()}


def split_examples(by_label: dict[str, list[str]], share: dict[str, float], seed: int) -> dict[str, tuple[str, ...]]:
    """Ids in `train`, `tune` and `test`, each code cut in the same proportions, at least one to train and test."""
    parts: dict[str, list[str]] = {"train": [], "tune": [], "test": []}
    for label in sorted(by_label):
        ids = sorted(by_label[label])
        random.Random(f"{seed}/{label}").shuffle(ids)
        test = max(1, math.floor(share["test"] * len(ids) + 0.5))
        tune = min(math.floor(share["tune"] * len(ids) + 0.5), len(ids) - test - 1)
        parts["test"] += ids[:test]
        parts["tune"] += ids[test : test + tune]
        parts["train"] += ids[test + tune :]
    return {name: tuple(sorted(ids)) for name, ids in parts.items()}


def provable(items: int, losses: Sequence[int] = (0, 2, 4, 8)) -> list[dict[str, Any]]:
    """For several assumed numbers of losses: the smallest gain on `items` items that could be proved, in points."""
    rows = []
    for count in losses:
        gain = smallest_provable_gain(items, count) if count < items else None
        points = f"+{100 * gain / items:.0f} points" if gain else "none"
        rows.append({"assumed losses": count, "smallest provable gain": points})
    return rows


def check_change(old: Plan | None, new: Plan, reason: str) -> Plan:
    """The plan to freeze: the old one when nothing changed, else the new one with its reason.

    A change that does not come from changed questions or examples needs a reason; raises ValueError without one.
    Changed items explain another split, never another seed, threshold or weight.
    """
    if old is None or old.digest == new.digest:
        return old or new
    watched = Plan.model_fields.keys() - {"reason_for_change"} if old.inputs == new.inputs else RULES
    changed = sorted(k for k in watched if getattr(old, k) != getattr(new, k))
    if changed and not reason:
        fix = "Changing it after freezing is possible, but recorded: give REASON_FOR_CHANGE in notebook 03."
        raise ValueError(f"The frozen plan differs in {', '.join(changed)}. {fix}")
    return new.model_copy(update={"reason_for_change": reason or "the questions or examples file changed"})
