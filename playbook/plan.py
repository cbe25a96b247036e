"""The plan: who is in which split, which arms run, what is compared, which thresholds decide. Frozen before measuring.

Pure but for reading its table. It does not know how an arm works or what it scored.
"""

import hashlib
import json
import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

from playbook.checked import TABLES, Frozen, read_yaml
from playbook.evaluation import proportion, smallest_provable_gain
from playbook.items import Example, Question

_TABLE = read_yaml(TABLES / "plan.yaml")
PARTS = ("train", "tune", "test")
RULES = ("seed", "thresholds", "retrieval_weights")  # what no change of the items explains
Questions, Examples, Forms = Sequence[Question], Sequence[Example], Sequence[Any]
Split = dict[str, tuple[str, ...]]


class Plan(Frozen):
    """Everything fixed before the first score. `digest` is the SHA-256 of all the rest but the reason."""

    seed: int
    questions: Split
    examples: Split
    forms: Split = {}
    labels_left_out: dict[str, int]
    knowledge_arms: tuple[str, ...]
    behaviour_arms: tuple[str, ...]
    adapter_arms: tuple[str, ...]
    form_arms: tuple[str, ...] = ()
    knowledge_comparisons: tuple[tuple[str, str], ...]
    behaviour_comparisons: tuple[tuple[str, str], ...]
    adapter_comparisons: tuple[tuple[str, str], ...]
    form_comparisons: tuple[tuple[str, str], ...] = ()
    thresholds: dict[str, float]
    retrieval_weights: tuple[float, ...]
    inputs: dict[str, str]
    reason_for_change: str = ""

    @property
    def digest(self) -> str:
        """Hash that 05, 08 and the decision record quote."""
        content = self.model_dump(mode="json", exclude={"reason_for_change"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def make_plan(
    questions: Questions, examples: Examples, seed: int, inputs: dict[str, str], chat: bool = False, forms: Forms = ()
) -> Plan:
    """Split the items and write the plan down.

    Questions are split by source file, so that no document serves both tuning and testing; examples by code, so that
    each code is in train and test, and from four examples on in tune as well. Where the items carry a split of their
    own, that one stands; raises ValueError when only some do. Forms (`id`, `split`) always carry one. The same items and
    seed give the same plan; arms without items are left out, and without a `chat` model those that need one.
    """
    table, share, count = dict(_TABLE), _TABLE["split"], Counter(e.label for e in examples)
    left_out = {label: n for label, n in sorted(count.items()) if n < table["thresholds"]["least_examples_per_code"]}
    usable = [e for e in examples if e.label not in left_out]
    items = {"knowledge": questions, "behaviour": usable, "adapter": usable, "form": forms}
    absent = {arm for kind, some in items.items() if not some for arm in table[f"{kind}_arms"]}
    absent |= set() if chat else set(table["needs_chat"])
    for kind in items:
        table[f"{kind}_arms"] = [arm for arm in table[f"{kind}_arms"] if arm not in absent]
        table[f"{kind}_comparisons"] = [pair for pair in table[f"{kind}_comparisons"] if absent.isdisjoint(pair)]
    return Plan(
        seed=seed,
        questions=_split(questions, PARTS[1:], _draw_questions(questions, share["questions"], seed)),
        examples=_split(usable, PARTS, _draw_examples(usable, share["examples"], seed)),
        forms=_split(forms, PARTS, {}),
        labels_left_out=left_out,
        inputs=inputs,
        **{name: table[name] for name in Plan.model_fields.keys() & table.keys()},
    )


def _split(items: Sequence[Any], parts: Sequence[str], drawn: dict[str, str]) -> Split:
    """The ids of each part, in the order given: by the split that the items carry, else as drawn (id -> part)."""
    without = [i.id for i in items if not i.split]
    if without and len(without) < len(items):
        raise ValueError(f"{without[0]} and {len(without) - 1} more have no split: fill the column for all or none.")
    side = drawn if without else {i.id: i.split for i in items}
    return {part: tuple(i.id for i in items if side[i.id] == part) for part in parts}


def _draw_questions(questions: Questions, share: dict[str, float], seed: int) -> dict[str, str]:
    """Id -> part; whole source files go to one part, until tune holds its share.

    A question without a source (most unanswerable ones) goes by itself, so that both parts can hold some.
    """
    size, tuned = Counter(q.source or q.id for q in questions), Counter[str]()
    order = sorted(size)
    random.Random(seed).shuffle(order)
    for source in order:
        if tuned.total() + size[source] / 2 <= share["tune"] * len(questions):
            tuned[source] = size[source]
    return {q.id: "tune" if (q.source or q.id) in tuned else "test" for q in questions}


def _draw_examples(examples: Examples, share: dict[str, float], seed: int) -> dict[str, str]:
    """Id -> part, each code cut in the same proportions, at least one text to train and test."""
    side: dict[str, str] = {}
    for label in sorted({e.label for e in examples}):
        ids = sorted(e.id for e in examples if e.label == label)
        random.Random(f"{seed}/{label}").shuffle(ids)
        test = max(1, math.floor(share["test"] * len(ids) + 0.5))
        tune = min(math.floor(share["tune"] * len(ids) + 0.5), len(ids) - test - 1)
        side.update(zip(ids, ["test"] * test + ["tune"] * tune + ["train"] * len(ids), strict=False))
    return side


class Provable(Frozen):
    """What a paired test on `items` items can prove, assuming `losses`: `points` or more; `more` items refine it enough.

    `points` None: nothing; `more` None: no number of items the table thinks of is enough.
    """

    items: int
    losses: int
    points: int | None
    more: int | None
    sentence: str


def provable(what: str, items: int, losses: int, thresholds: dict[str, float], comparisons: int = 1) -> Provable:
    """The smallest gain that can be proved, and how many more items prove one worth having (`worth_points`).

    `what` names the items that count, for instance "answerable questions"; the better arm loses `losses` of them, and
    the same share of more. `comparisons`: how many are planned, for the first step of Holm's correction. Below
    `least_questions` items nothing is claimed.
    """
    words, least, worth = _TABLE["provable"], int(thresholds["least_questions"]), thresholds["worth_points"]

    def points(n: int) -> int | None:
        gain = smallest_provable_gain(n, math.ceil(losses * n / items), thresholds["alpha"] / max(comparisons, 1))
        return math.ceil(100 * gain / n) if gain else None

    now, more, said = None, least - items, words["too_few"]
    if items >= least:
        steps = range(0, words["most"] + 1, words["step"])
        at = bisect_left(steps, True, key=lambda extra: (points(items + extra) or math.inf) <= worth)
        now, more = points(items), steps[at] if at < len(steps) else None
        said = words["gain" if now else "nothing"] + words["never" if more is None else "more" if more else "enough"]
    known = {"items": items, "losses": losses, "points": now, "more": more}
    return Provable(sentence=said.format(what=what, worth=worth, least=least, most=words["most"], **known), **known)


def collect_next(questions: Questions, documents: Sequence[str]) -> list[dict[str, Any]]:
    """Which questions to write next and why, most urgent first; an empty list for an even set.

    Unanswerable ones below their share; answerable types whose share right could not be told within the widest allowed
    95 % interval (Wilson, at one half right); documents without a question.
    """
    rule, types = _TABLE["collect_next"], Counter(q.type for q in questions if q.answerable and q.type)
    silent = sum(not q.answerable for q in questions)
    width = {kind: 100 * (proportion(n // 2, n).high - proportion(n // 2, n).low) for kind, n in types.items()}
    gaps = [("unanswerable", "unanswerable", silent)] if silent < rule["unanswerable_share"] * len(questions) else []
    gaps += [("type", kind, n) for kind, n in reversed(types.most_common()) if width[kind] > rule["widest_points"]]
    gaps += [("document", name, 0) for name in sorted(set(documents) - {q.source for q in questions})]
    says = {name: {"have": n, "all": len(questions), "width": width.get(name, 0)} for _, name, n in gaps}
    return [{"about": name, "have": n, "why": rule[why].format(**says[name])} for why, name, n in gaps]


def unseen_labels(train: Examples, test: Examples) -> dict[str, int]:
    """Labels of test texts that no training text carries, with how many carry each: no arm can learn them."""
    known = {e.label for e in train}
    return dict(Counter(e.label for e in test if e.label not in known))


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
        raise ValueError(_TABLE["change"]["needs_reason"].format(changed=", ".join(changed)))
    return new.model_copy(update={"reason_for_change": reason or _TABLE["change"]["by_items"]})
