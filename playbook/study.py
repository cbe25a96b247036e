"""One client's items in their frozen splits, and the count of looks at the test.

Joins items, plan and engagement: freezes the plan, opens it again, and hands out each split by name. Scores nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from playbook.engagement import Engagement, EngagementError, MissingArtifact, fingerprint, write_atomic
from playbook.items import Code, Example, Question, load_codebook, load_examples, load_questions
from playbook.plan import Plan, check_change, make_plan
from playbook.results import PlanResult


@dataclass(frozen=True)
class Study:
    """The frozen plan with the items it names: `questions["tune"]`, `examples["train"]` and so on."""

    plan: Plan
    digest: str
    questions: dict[str, list[Question]]
    examples: dict[str, list[Example]]
    codes: list[Code]


def _inputs(client: Engagement) -> dict[str, str]:
    return {p.name: fingerprint(p) for p in (client.questions, client.examples, client.codebook)}


def freeze(client: Engagement, reason: str = "") -> Study:
    """Make or confirm the plan, store it, and return the items in their splits; nothing is scored before this.

    Raises ValueError when the plan would change without changed items and without a reason.
    """
    questions, examples = load_questions(client.questions), load_examples(client.examples)
    try:
        old = client.load("03_plan", PlanResult).plan
    except MissingArtifact:
        old = None
    plan = check_change(old, make_plan(questions, examples, client.settings.seed, _inputs(client)), reason)
    headline = f"Plan {plan.digest[:12]} frozen: questions {_sizes(plan.questions)}, examples {_sizes(plan.examples)}."
    result = PlanResult(headline=headline, plan=plan, digest=plan.digest)
    client.save("03_plan", result, [client.questions, client.examples, client.codebook])
    return _study(client, plan, questions, examples)


def open_study(client: Engagement) -> Study:
    """The study as frozen in notebook 03; raises EngagementError when the items have changed since."""
    plan = client.load("03_plan", PlanResult).plan
    now = _inputs(client)
    changed = [name for name in now if now[name] != plan.inputs.get(name)]
    if changed:
        fix = "run notebooks/03_prompt_baseline.ipynb again"
        raise EngagementError(f"{', '.join(changed)} changed after the plan was frozen: {fix}.")
    return _study(client, plan, load_questions(client.questions), load_examples(client.examples))


def _study(client: Engagement, plan: Plan, questions: Sequence[Question], examples: Sequence[Example]) -> Study:
    by_question, by_example = {q.id: q for q in questions}, {e.id: e for e in examples}
    return Study(
        plan,
        plan.digest,
        {split: [by_question[i] for i in ids] for split, ids in plan.questions.items()},
        {split: [by_example[i] for i in ids] for split, ids in plan.examples.items()},
        load_codebook(client.codebook, list(examples)) if examples else [],
    )


def _sizes(splits: dict[str, tuple[str, ...]]) -> str:
    return " + ".join(f"{len(ids)} {split}" for split, ids in splits.items())


def count_look(client: Engagement, study: Study, notebook: str, arms: Sequence[str]) -> int:
    """Record that the test split is opened for `arms` and return how many different looks at it there have been.

    The same notebook with the same plan and arms is the same look: repeating it tells nothing new. Looks under an
    earlier plan count on as long as the test items are the same.
    """
    path = client.work / "test_looks.json"
    looks = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    key = _short_hash([study.digest, notebook, sorted(arms)])
    items = _short_hash([study.plan.questions["test"], study.plan.examples["test"]])
    if arms and key not in [look["key"] for look in looks]:
        looks.append({"key": key, "notebook": notebook, "plan": study.digest, "items": items, "arms": sorted(arms)})
        write_atomic(path, json.dumps(looks, indent=1))
    return sum(look.get("items") == items for look in looks)


def _short_hash(value: list[object]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
