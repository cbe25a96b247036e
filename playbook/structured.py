"""Stand-in for the forms module, so that the study can be tested; to be replaced.

Knows the two fields of a form that a plan needs. It does not know how a form is filled in or scored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from playbook.checked import Frozen, build


class Form(Frozen, extra="ignore"):
    """One structured-output item."""

    id: str
    split: Literal["train", "tune", "test"]


def load_forms(path: Path) -> list[Form]:
    """The forms of a JSON Lines file; an empty list if it is absent."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    raw = [json.loads(line) for line in lines]
    return [build(Form, r | {"split": r["split"].replace("held_out", "test")}, path.name) for r in raw]
