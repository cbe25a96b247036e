"""The study: frozen once, opened again unchanged, refused after a change, and every look at the test counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import EXAMPLES, QUESTIONS, make_client

from playbook.engagement import Engagement, EngagementError, MissingArtifact
from playbook.results import PlanResult
from playbook.study import count_look, freeze, open_study

FORMS = "".join(
    json.dumps({"id": f"f{n}", "split": split, "messages": [{"content": "Text"}, {"content": "{}"}]}) + "\n"
    for n, split in enumerate(["train", "test", "test"])
)
MORE = QUESTIONS + "q4,What else?,B,b,rent.md,yes\n"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engagement:
    return make_client(tmp_path, monkeypatch)


def reseeded(client: Engagement, seed: int) -> Engagement:
    return replace(client, settings=client.settings.model_copy(update={"seed": seed}))


def test_freezing_stores_the_plan_and_opening_gives_the_same_study(client: Engagement) -> None:
    frozen = freeze(client)
    stored = client.load("03_plan", PlanResult)
    assert (stored.plan, stored.digest) == (frozen.plan, frozen.digest)
    assert stored.digest[:12] in stored.headline
    assert open_study(client) == frozen


def test_a_study_hands_out_the_items_of_each_split(client: Engagement) -> None:
    study = freeze(client)
    assert sorted(q.id for split in study.questions.values() for q in split) == ["q1", "q2", "q3"]
    assert {split: len(items) for split, items in study.examples.items()} == {"train": 6, "tune": 2, "test": 4}
    assert sorted(e.text for e in study.examples["train"]) == sorted(e.text for e in study.examples["train"])
    assert [c.code for c in study.codes] == ["RENT", "REPAIR"]


def test_opening_before_freezing_names_the_notebook(client: Engagement) -> None:
    with pytest.raises(MissingArtifact, match="run notebooks/03_prompt_baseline.ipynb"):
        open_study(client)


def test_freezing_twice_changes_nothing(client: Engagement) -> None:
    first = freeze(client)
    assert freeze(client, "a reason nobody needed") == first
    assert open_study(client).plan.reason_for_change == ""


@pytest.mark.parametrize("name", ["questions.csv", "examples.csv", "codebook.csv", "order_forms.jsonl"])
def test_a_study_whose_items_changed_cannot_be_opened(client: Engagement, name: str) -> None:
    freeze(client)
    path = client.inputs / name
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(before + "\n", encoding="utf-8")
    with pytest.raises(EngagementError, match=f"^{name} changed after the plan was frozen"):
        open_study(client)


def test_changed_questions_give_a_new_plan_that_says_so(client: Engagement) -> None:
    old = freeze(client)
    client.questions.write_text(MORE, encoding="utf-8")
    new = freeze(client)
    assert new.digest != old.digest
    assert open_study(client).plan.reason_for_change == "the questions or examples file changed"


def test_another_seed_after_freezing_needs_a_reason(client: Engagement) -> None:
    old = freeze(client)
    with pytest.raises(ValueError, match="REASON_FOR_CHANGE"):
        freeze(reseeded(client, 5))
    assert open_study(client) == old
    assert freeze(reseeded(client, 5), "drawn again in the room").plan.seed == 5


def test_a_client_without_examples_or_questions_has_empty_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(tmp_path, monkeypatch)
    client.examples.unlink()
    client.questions.unlink()
    study = freeze(client)
    assert (study.examples, study.codes) == ({"train": [], "tune": [], "test": []}, [])
    assert study.questions == {"tune": [], "test": []}
    assert study.plan.knowledge_arms == study.plan.behaviour_arms == ()


def test_forms_are_handed_out_by_their_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = freeze(make_client(tmp_path, monkeypatch, {"order_forms.jsonl": FORMS}))
    forms = {split: [f.id for f in forms] for split, forms in study.forms.items()}
    assert forms == {"train": ["f0"], "tune": [], "test": ["f1", "f2"]}
    assert study.plan.form_arms == ("pattern_rules",)


def test_a_profile_with_a_chat_model_plans_its_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = freeze(make_client(tmp_path, monkeypatch, profile="laptop"))
    assert "in_prompt" in study.plan.knowledge_arms
    assert "constrained" in study.plan.behaviour_arms
    plain = freeze(make_client(tmp_path / "other", monkeypatch))
    assert "in_prompt" not in plain.plan.knowledge_arms


def test_the_headline_counts_every_kind_of_item_that_is_there(client: Engagement) -> None:
    freeze(client)
    headline = client.load("03_plan", PlanResult).headline
    assert headline.endswith("examples 6 train + 2 tune + 4 test.")
    assert "forms" not in headline


def test_the_same_look_counts_once_and_another_look_counts(client: Engagement) -> None:
    study = freeze(client)
    assert count_look(client, study, "05_measure", ["a", "b"]) == 1
    assert count_look(client, study, "05_measure", ["b", "a"]) == 1
    assert count_look(client, study, "05_measure", ["a", "b", "c"]) == 2
    assert count_look(client, study, "08_lora_run", ["a", "b"]) == 3
    assert len(json.loads((client.work / "test_looks.json").read_text(encoding="utf-8"))) == 3


def test_a_new_plan_on_the_same_test_items_does_not_forget_earlier_looks(client: Engagement) -> None:
    study = freeze(client)
    count_look(client, study, "05_measure", ["a"])
    easier = study.plan.model_copy(update={"thresholds": {"alpha": 0.2}})
    assert count_look(client, replace(study, plan=easier, digest=easier.digest), "05_measure", ["a"]) == 2


def test_looks_start_again_with_new_test_items(client: Engagement) -> None:
    count_look(client, freeze(client), "05_measure", ["a"])
    client.examples.write_text(EXAMPLES.replace("\ne", "\nnew"), encoding="utf-8")
    assert count_look(client, freeze(client), "05_measure", ["a"]) == 1
    (client.inputs / "order_forms.jsonl").write_text(FORMS, encoding="utf-8")
    assert count_look(client, freeze(client), "05_measure", ["a"]) == 1
