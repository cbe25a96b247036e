"""One client's items in their frozen splits, and the count of looks at the test.

Joins items, plan and engagement: freezes the plan, opens it again, and hands out each split by name. Scores nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playbook.engagement import Engagement, EngagementError, MissingArtifact, digest, write_atomic
from playbook.items import Code, Example, Question, load_codebook, load_examples, load_questions
from playbook.models import load_profile
from playbook.plan import Plan, check_change, make_plan
from playbook.results import PlanResult
from playbook.structured import load_forms

FORMS = "order_forms.jsonl"  # structured output, in a client's inputs; a client without any has no file
FILES = ("questions.csv", "examples.csv", "codebook.csv", FORMS)  # what the plan rests on


@dataclass(frozen=True)
class Study:
    """The frozen plan with the items it names: `questions["tune"]`, `examples["train"]` and so on."""

    plan: Plan
    digest: str
    questions: dict[str, list[Question]]
    examples: dict[str, list[Example]]
    forms: dict[str, list[Example]]
    codes: list[Code]


def _items(client: Engagement) -> dict[str, Sequence[Any]]:
    questions, examples = load_questions(client.questions), load_examples(client.examples)
    return {"questions": questions, "examples": examples, "forms": load_forms(client.inputs / FORMS)}


def freeze(client: Engagement, reason: str = "") -> Study:
    """Make or confirm the plan, store it, and return the items in their splits; nothing is scored before this.

    Arms that need a chat model are planned when the client's profile names one. Raises ValueError when the plan would
    change without changed items and without a reason.
    """
    items, chat = _items(client), bool(load_profile(client.settings.profile).chat_model)
    inputs = {name: client.input_hash(name) for name in FILES}
    try:
        old = client.load("03_plan", PlanResult).plan
    except MissingArtifact:
        old = None
    plan = check_change(old, make_plan(**items, seed=client.settings.seed, inputs=inputs, chat=chat), reason)
    sizes = ", ".join(f"{kind} {_sizes(getattr(plan, kind))}" for kind, some in items.items() if some)
    headline = f"Plan {plan.digest[:12]} frozen: {sizes or 'no items'}."
    result = PlanResult(headline=headline, plan=plan, digest=plan.digest)
    client.save("03_plan", result, [client.inputs / name for name in FILES])
    return open_study(client)


def open_study(client: Engagement) -> Study:
    """The study as frozen in notebook 03; raises EngagementError when the items have changed since."""
    plan, splits = client.load("03_plan", PlanResult).plan, {}
    if changed := [name for name in FILES if client.input_hash(name) != plan.inputs.get(name)]:
        raise EngagementError(f"{', '.join(changed)} changed after the plan was frozen: run notebook 03 again.")
    items = _items(client)
    for kind, found in items.items():
        by_id = {item.id: item for item in found}
        splits[kind] = {split: [by_id[i] for i in ids] for split, ids in getattr(plan, kind).items()}
    codes = load_codebook(client.codebook, items["examples"]) if items["examples"] else []
    return Study(plan=plan, digest=plan.digest, codes=codes, **splits)


def _sizes(splits: dict[str, tuple[str, ...]]) -> str:
    return " + ".join(f"{len(ids)} {split}" for split, ids in splits.items())


def count_look(client: Engagement, study: Study, notebook: str, arms: Sequence[str]) -> int:
    """Record that the test split is opened for `arms` and return how many different looks at it there have been.

    The same notebook with the same plan and arms is the same look: repeating it tells nothing new. Looks under an
    earlier plan count on as long as the test items are the same.
    """
    path, plan = client.work / "test_looks.json", study.plan
    looks = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    tested = [split.get("test", ()) for split in (plan.questions, plan.examples, plan.forms)]
    items = digest(json.dumps(tested))
    look = {"notebook": notebook, "plan": study.digest, "items": items, "arms": sorted(arms)}
    if arms and look not in looks:
        write_atomic(path, json.dumps(looks := [*looks, look], indent=1))
    return sum(earlier["items"] == items for earlier in looks)
