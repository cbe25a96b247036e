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
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from playbook.evaluation import smallest_provable_gain
from playbook.items import Example, Question

RULES = ("seed", "thresholds", "retrieval_weights")  # what no change of the items explains
TABLE = Path(__file__).parent / "tables" / "plan.yaml"


class Plan(BaseModel):
    """Everything fixed before the first score. `digest` is the SHA-256 of all the rest but the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")
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
    each code is in train and test, and from four examples on in tune as well. The same items and seed give the same
    plan; without items of a kind its arms are left out.
    """
    table: dict[str, Any] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    least = int(table["thresholds"]["least_examples_per_code"])
    by_label: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example.id)
    left_out = {label: len(ids) for label, ids in sorted(by_label.items()) if len(ids) < least}
    share = table["split"]
    unused = [] if questions else ["knowledge"]
    unused += [] if len(left_out) < len(by_label) else ["behaviour", "adapter"]
    table |= {f"{kind}_{what}": [] for kind in unused for what in ("arms", "comparisons")}
    keys = ("knowledge_arms", "behaviour_arms", "adapter_arms", "thresholds", "retrieval_weights")
    pairs = ("knowledge_comparisons", "behaviour_comparisons", "adapter_comparisons")
    return Plan(
        seed=seed,
        questions=split_questions(questions, share["questions"]["tune"], seed),
        examples=split_examples({k: v for k, v in by_label.items() if k not in left_out}, share["examples"], seed),
        labels_left_out=left_out,
        inputs=inputs,
        **{k: table[k] for k in keys},
        **{k: tuple(tuple(p) for p in table[k]) for k in pairs},
    )


def split_questions(questions: Sequence[Question], tune: float, seed: int) -> dict[str, tuple[str, ...]]:
    """Ids in `tune` and `test`; whole source files go to one side, until tune holds its share.

    A question without a source (most unanswerable ones) goes by itself, so that both sides can hold some.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        groups[question.source or question.id].append(question.id)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    tuned: list[str] = []
    for source in order:
        if len(tuned) + len(groups[source]) / 2 <= tune * len(questions):
            tuned += groups[source]
    chosen = set(tuned)
    return {
        "tune": tuple(q.id for q in questions if q.id in chosen),
        "test": tuple(q.id for q in questions if q.id not in chosen),
    }


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
        gain = smallest_provable_gain(items, count) if 0 < count + 1 <= items else None
        rows.append(
            {"assumed losses": count, "smallest provable gain": f"+{100 * gain / items:.0f} points" if gain else "none"}
        )
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
        raise ValueError(
            f"The frozen plan differs in {', '.join(changed)}. Changing it after freezing is possible, but recorded: "
            f"give REASON_FOR_CHANGE in notebook 03."
        )
    return new.model_copy(update={"reason_for_change": reason or "the questions or examples file changed"})
