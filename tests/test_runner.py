"""The walk: what ran is not run again until something it rests on changes, and a failing cell is told in one sentence."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from fakes import QUESTIONS, make_client
from pydantic import BaseModel

from playbook import runner
from playbook.engagement import ROUTE, Engagement, open_engagement
from playbook.runner import WALK, NotebookFailed, execute, is_fresh, walk

# What each artifact of the pretended notebooks rests on; any other rests on the settings alone.
INPUTS: dict[str, list[str]] = {
    "03_plan": ["questions.csv"],
    "03_prompt_baseline": ["03_plan"],
    "04_rag": ["03_plan", "documents"],
    "05_measurements": ["03_plan", "04_rag"],
}


class Pretended(BaseModel):
    headline: str
    may_train: bool


def book(code: str, words: str = "Words.") -> nbformat.NotebookNode:
    parameters = nbformat.v4.new_code_cell('CLIENT = "sample"', metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell(words), parameters, nbformat.v4.new_code_cell(code)]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engagement:
    """An engagement in a project of its own, whose notebooks are one cell long."""
    monkeypatch.setenv("PLAYBOOK_HOME", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    for notebook in WALK:
        nbformat.write(book("1 + 1"), tmp_path / "notebooks" / f"{notebook}.ipynb")
    return make_client(tmp_path, monkeypatch)


@pytest.fixture
def ran(client: Engagement, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pretends to execute notebooks: each writes its artifacts, with what it rests on as headline; lists what ran."""
    done: list[str] = []

    def pretend(given: Engagement, notebook: str) -> None:
        done.append(notebook)
        for artifact in (a for a, b in ROUTE.items() if b == notebook):
            rests_on = INPUTS.get(artifact, [])
            paths = [i if i in ROUTE else given.inputs / i for i in rests_on]
            state = hashlib.sha256("".join(given.input_hash(i) for i in rests_on).encode()).hexdigest()
            given.save(artifact, Pretended(headline=f"{artifact} {state[:8]}", may_train=True), paths)

    monkeypatch.setattr(runner, "execute", pretend)
    return done


def actions(client: Engagement, **options: bool) -> dict[str, str]:
    return {step.notebook: step.action for step in walk(client, **options)}


def changed(client: Engagement) -> list[str]:
    """Notebooks that a walk ran again; the others are checked to be unchanged."""
    found = actions(client)
    assert set(found.values()) <= {"ran", "unchanged"}
    return [notebook for notebook, action in found.items() if action == "ran"]


# -------------------------------------------------------------------------------------------------------- freshness


def test_a_first_walk_runs_the_whole_route_in_order_and_a_second_nothing(client: Engagement, ran: list[str]) -> None:
    assert set(actions(client).values()) == {"ran"}
    assert ran == [*WALK]
    assert set(actions(client).values()) == {"unchanged"}
    assert ran == [*WALK]


def test_the_route_is_walked_from_00_to_09(client: Engagement) -> None:
    assert [notebook[:2] for notebook in WALK] == [f"{n:02}" for n in range(10)]


def test_steps_carry_the_headline_of_the_last_artifact(client: Engagement, ran: list[str]) -> None:
    steps = {step.notebook: step.headline for step in walk(client)}
    assert steps["03_prompt_baseline"].startswith("03_prompt_baseline ")


def test_again_runs_everything(client: Engagement, ran: list[str]) -> None:
    actions(client)
    assert set(actions(client, again=True).values()) == {"ran"}


def test_changed_questions_run_what_rests_on_them_and_what_rests_on_that(client: Engagement, ran: list[str]) -> None:
    actions(client)
    client.questions.write_text(QUESTIONS + "q9,New?,B,b,rent.md,yes\n", encoding="utf-8")
    assert changed(client) == ["03_prompt_baseline", "04_rag_prototype", "05_measure"]
    assert changed(client) == []


def test_a_changed_document_leaves_alone_what_does_not_read_documents(client: Engagement, ran: list[str]) -> None:
    actions(client)
    (client.documents / "new.md").write_text("# New\n\nA new page.\n", encoding="utf-8")
    assert changed(client) == ["04_rag_prototype", "05_measure"]


def test_an_equal_result_further_up_stops_the_chain(
    client: Engagement, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    actions(client)
    monkeypatch.setattr(runner, "execute", lambda *_: None)  # 03 runs again and its plan stays the same
    client.questions.write_text(QUESTIONS + "\n", encoding="utf-8")
    assert changed(client) == ["03_prompt_baseline"]


def test_changed_settings_run_everything(client: Engagement, ran: list[str]) -> None:
    actions(client)
    path = client.inputs / "settings.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("seed: 0", "seed: 1"), encoding="utf-8")
    assert set(actions(open_engagement("acme")).values()) == {"ran"}


@pytest.mark.parametrize("damage", [None, "{", '{"result": {}}'])
def test_a_missing_or_damaged_artifact_runs_its_notebook(
    client: Engagement, ran: list[str], damage: str | None
) -> None:
    actions(client)
    path = client.artifacts / "02_economics.json"
    path.unlink()
    if damage is not None:
        path.write_text(damage, encoding="utf-8")
    assert not is_fresh(client, "02_economics")
    assert changed(client) == ["02_economics"]


def test_a_damaged_artifact_makes_what_rests_on_it_stale(client: Engagement, ran: list[str]) -> None:
    actions(client)
    (client.artifacts / "04_rag.json").write_text("{", encoding="utf-8")
    assert is_fresh(client, "03_prompt_baseline")
    assert not is_fresh(client, "05_measure")


def test_changed_code_in_a_notebook_runs_it_and_changed_words_do_not(
    client: Engagement, ran: list[str], tmp_path: Path
) -> None:
    actions(client)
    path = tmp_path / "notebooks" / "06_gate.ipynb"
    nbformat.write(book("1 + 1", words="Other words."), path)
    assert changed(client) == []
    nbformat.write(book("1 + 2"), path)
    assert changed(client) == ["06_gate"]


def test_a_changed_package_runs_everything(
    client: Engagement, ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package" / "tables").mkdir(parents=True)
    table = tmp_path / "package" / "tables" / "plan.yaml"
    table.write_text("alpha: 0.05\n", encoding="utf-8")
    monkeypatch.setattr(runner, "__file__", str(tmp_path / "package" / "runner.py"))
    actions(client)
    assert changed(client) == []
    table.write_text("alpha: 0.10\n", encoding="utf-8")
    assert changed(client) == [*WALK]


def test_a_closed_gate_skips_the_adapter_and_says_why(client: Engagement, ran: list[str]) -> None:
    actions(client)
    path = client.artifacts / "07_training_data.json"
    artifact = json.loads(path.read_text(encoding="utf-8"))
    artifact["result"]["may_train"] = False
    path.write_text(json.dumps(artifact), encoding="utf-8")
    (step,) = [step for step in walk(client) if step.notebook == "08_lora_run"]
    assert (step.action, step.headline) == ("skipped", "not run: the gates of 06 and 07 did not let it through")


def test_after_a_failure_the_walk_goes_on_where_it_stopped(
    client: Engagement, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend = runner.execute

    def fail_at_04(given: Engagement, notebook: str) -> None:
        if notebook == "04_rag_prototype":
            raise NotebookFailed("stopped")
        pretend(given, notebook)

    monkeypatch.setattr(runner, "execute", fail_at_04)
    with pytest.raises(NotebookFailed):
        actions(client)
    monkeypatch.setattr(runner, "execute", pretend)
    assert changed(client) == [notebook for notebook in WALK if notebook >= "04"]


# -------------------------------------------------------------------------------------------------------- execution


def test_a_notebook_is_executed_for_the_client_and_its_copy_kept(
    client: Engagement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "notebooks" / "00_start_here.ipynb"
    nbformat.write(book("print('for', CLIENT)"), source)
    before = source.read_bytes()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    kept = execute(client, "00_start_here")
    assert nbformat.read(kept, as_version=4).cells[-1].outputs[0].text == "for acme\n"
    assert kept == client.work / "notebooks" / "00_start_here.ipynb"
    assert source.read_bytes() == before
    assert re.match(r"\r00_start_here:   0%\|.*\| 0/2 ", capsys.readouterr().err)


def test_a_failing_cell_is_told_in_its_own_words_and_the_copy_shows_it(
    client: Engagement, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nbformat.write(
        book("raise ValueError('seed is -1; give 0 or more')"), tmp_path / "notebooks" / "00_start_here.ipynb"
    )
    with pytest.raises(
        NotebookFailed, match=r"^notebooks/00_start_here\.ipynb stopped: ValueError: seed is -1; give 0 or more$"
    ):
        execute(client, "00_start_here")
    kept = nbformat.read(client.work / "notebooks" / "00_start_here.ipynb", as_version=4)
    assert kept.cells[-1].outputs[0].ename == "ValueError"
    assert not is_fresh(client, "00_start_here")
    assert capsys.readouterr().err == "", "a bar is for a terminal only"
