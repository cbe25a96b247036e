"""Small engagements for tests: a client's folder made from strings, in a scratch folder."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from playbook.engagement import Engagement, Settings, create_engagement

DOCUMENTS = {
    "hours.md": "# Opening hours\n\nThe shop opens at 8 in the morning.\n",
    "rent.md": "# Rent\n\nA bed costs $45 a week.\n",
}
QUESTIONS = """id,question,expected_answer,must_contain,source,answerable
q1,When does the shop open?,At 8,8 in the morning,hours.md,yes
q2,What does a bed cost?,$45 a week,$45|45 dollars,rent.md,yes
q3,Who painted the sign?,,,,no
"""
EXAMPLES = "id,text,label\n" + "".join(f"e{n},text number {n},{'RENT' if n % 2 else 'REPAIR'}\n" for n in range(12))
CODEBOOK = "code,label,definition\nRENT,Rent,about renting\nREPAIR,Repair,about repairing\n"


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Write texts under `folder`, which is returned."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def make_client(
    root: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str] | None = None, **settings: object
) -> Engagement:
    """An engagement `acme` under `root`; `files` replaces or adds input files by name."""
    monkeypatch.setenv("PLAYBOOK_ENGAGEMENTS", str(root / "engagements"))
    given = {"questions.csv": QUESTIONS, "examples.csv": EXAMPLES, "codebook.csv": CODEBOOK, **(files or {})}
    write_files(root / "given", {f"documents/{name}": text for name, text in DOCUMENTS.items()} | given)
    inputs = {path.name: path for path in sorted((root / "given").iterdir())}
    fixed = {"title": "Acme", "as_of": date(2026, 11, 1), **settings}
    return create_engagement("acme", Settings.model_validate(fixed), inputs)
