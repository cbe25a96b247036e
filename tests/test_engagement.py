"""One client's folder: opened, created whole or not at all, and written so that no file is ever half there."""

from __future__ import annotations

import json
import os
import shutil
from datetime import date
from pathlib import Path

import pytest
from fakes import make_client, write_files
from pydantic import BaseModel

from playbook import engagement
from playbook.engagement import (
    SAMPLE,
    Engagement,
    EngagementError,
    MissingArtifact,
    Settings,
    create_engagement,
    fingerprint,
    known_engagements,
    open_engagement,
    rounded,
    write_atomic,
)

SETTINGS = Settings(title="Acme", as_of=date(2026, 11, 1))


class Result(BaseModel):
    headline: str
    share: float = 0.0


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engagement:
    return make_client(tmp_path, monkeypatch)


def stored(client: Engagement, name: str) -> dict:
    return json.loads((client.artifacts / f"{name}.json").read_text(encoding="utf-8"))


def everything_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


# ---------------------------------------------------------------------------------------------------------- opening


def test_an_engagement_opens_by_name_with_its_settings(client: Engagement) -> None:
    opened = open_engagement("acme")
    assert opened == client
    assert opened.inputs == opened.work
    assert (opened.settings.title, opened.settings.as_of, opened.settings.currency) == (
        "Acme",
        date(2026, 11, 1),
        "USD",
    )
    assert not opened.is_sample


def test_the_sample_reads_from_the_project_and_writes_elsewhere(client: Engagement) -> None:
    sample = open_engagement(SAMPLE)
    assert sample.is_sample
    assert (sample.inputs.parent.name, sample.inputs.name) == ("data", "sample_client")
    assert sample.work == client.work.parent / "sample"
    assert not sample.work.exists()


@pytest.mark.parametrize("name", ["nobody", "../acme", "", "Acme", "acme/../acme", "a" * 41])
def test_an_unknown_or_impossible_name_lists_the_known_ones(client: Engagement, name: str) -> None:
    with pytest.raises(EngagementError, match=r"no engagement '.*Known: sample, acme\. Create one: playbook new "):
        open_engagement(name)


def test_known_engagements_are_the_sample_then_the_others_by_name(client: Engagement) -> None:
    shutil.copytree(client.work, client.work.parent / "aaa")
    (client.work.parent / "no_settings").mkdir()
    assert known_engagements() == ["sample", "aaa", "acme"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("title: A\nas_of: soon\n", "as_of"),
        ("title: A\n", "as_of"),
        ("title: A\nas_of: 2026-11-01\ncolour: red\n", "colour"),
        ("title: A\nas_of: 2026-11-01\ncurrency: dollars\n", "currency"),
        ("title: ''\nas_of: 2026-11-01\n", "title"),
        ("title: A\nas_of: 2026-11-01\nseed: -1\n", "seed"),
        ("title: [A\n", "line"),
    ],
)
def test_a_mistake_in_the_settings_names_file_and_field(client: Engagement, text: str, where: str) -> None:
    (client.inputs / "settings.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"settings\.yaml.*{where}"):
        open_engagement("acme")


def test_an_input_counts_only_with_content(client: Engagement) -> None:
    assert client.has(client.questions)
    assert client.has(client.documents)
    assert not client.has(client.economics)
    client.questions.write_text("", encoding="utf-8")
    shutil.rmtree(client.documents)
    (client.documents / "empty_folder").mkdir(parents=True)
    assert not client.has(client.questions)
    assert not client.has(client.documents)


# --------------------------------------------------------------------------------------------------------- creating


@pytest.mark.parametrize("name", ["sample", "Acme", "a b", "", "../x", "-a", "a" * 41])
def test_a_name_that_cannot_be_a_folder_name_is_refused(client: Engagement, name: str) -> None:
    before = everything_in(client.work.parent)
    with pytest.raises(EngagementError, match="cannot be an engagement's name"):
        create_engagement(name, SETTINGS, {})
    assert everything_in(client.work.parent) == before


def test_a_taken_name_is_refused_and_the_old_folder_stays(client: Engagement) -> None:
    before = fingerprint(client.work)
    with pytest.raises(EngagementError, match=r"acme exists already: choose another name"):
        create_engagement("acme", SETTINGS, {})
    assert fingerprint(client.work) == before


def test_when_one_input_cannot_be_copied_nothing_is_left_behind(client: Engagement, tmp_path: Path) -> None:
    files = {"questions.csv": client.questions, "examples.csv": tmp_path / "not_there.csv"}
    with pytest.raises(FileNotFoundError, match="not_there"):
        create_engagement("other", SETTINGS, files)
    assert sorted(p.name for p in client.work.parent.iterdir()) == ["acme"]


def test_documents_that_contain_the_engagements_folder_are_refused(client: Engagement) -> None:
    around = client.work.parent.parent
    with pytest.raises(EngagementError, match=r"holds the engagements folder.*only the client's documents"):
        create_engagement("other", SETTINGS, {"documents": around})
    assert sorted(p.name for p in client.work.parent.iterdir()) == ["acme"]


def test_a_document_that_cannot_be_copied_is_named_and_nothing_is_left_behind(
    client: Engagement, tmp_path: Path
) -> None:
    (tmp_path / "given" / "documents" / "gone.md").symlink_to(tmp_path / "nowhere.md")
    with pytest.raises(EngagementError, match=r"gone\.md could not be copied \(.*No such file.*\): repair it"):
        create_engagement("other", SETTINGS, {"documents": tmp_path / "given" / "documents"})
    assert sorted(p.name for p in client.work.parent.iterdir()) == ["acme"]


def test_a_created_engagement_holds_copies(tmp_path: Path, client: Engagement) -> None:
    shutil.rmtree(tmp_path / "given")
    assert (client.documents / "hours.md").read_text(encoding="utf-8").startswith("# Opening hours")
    assert everything_in(client.documents) == ["hours.md", "rent.md"]


# -------------------------------------------------------------------------------------------------------- artifacts


def test_a_result_comes_back_as_it_was_saved_with_floats_rounded_to_four_places(client: Engagement) -> None:
    path = client.save("01_diagnosis", Result(headline="A \u2013 B", share=1 / 3))
    assert path == client.artifacts / "01_diagnosis.json"
    assert client.load("01_diagnosis", Result) == Result(headline="A \u2013 B", share=0.3333)


def test_an_artifact_keeps_what_is_compared_apart_from_what_differs_between_runs(client: Engagement) -> None:
    client.save("01_diagnosis", Result(headline="A"), [client.questions])
    artifact = stored(client, "01_diagnosis")
    assert artifact["result"] == {"headline": "A", "share": 0.0}
    assert (artifact["client"], artifact["as_of"], artifact["schema_version"]) == ("acme", "2026-11-01", 1)
    assert artifact["inputs"]["questions.csv"] == fingerprint(client.questions)
    assert {"written_at", "python", "system", "versions"} <= set(artifact["run"])


def test_inputs_are_recorded_by_hash_and_earlier_artifacts_by_their_result(client: Engagement) -> None:
    client.save("01_diagnosis", Result(headline="A"))
    before = client.input_hash("01_diagnosis")
    client.save("06_gate", Result(headline="B"), ["01_diagnosis", client.economics])
    assert stored(client, "06_gate")["inputs"]["01_diagnosis"] == before
    assert stored(client, "06_gate")["inputs"]["economics.yaml"] == "absent"
    client.save("01_diagnosis", Result(headline="A"))  # another time of writing, the same result
    assert client.input_hash("01_diagnosis") == before
    client.save("01_diagnosis", Result(headline="changed"))
    assert client.input_hash("01_diagnosis") != before


def test_the_settings_are_an_input_of_every_artifact(client: Engagement) -> None:
    client.save("01_diagnosis", Result(headline="A"))
    assert stored(client, "01_diagnosis")["inputs"] == {"settings.yaml": fingerprint(client.inputs / "settings.yaml")}


def test_an_artifact_that_is_not_of_the_route_is_refused(client: Engagement) -> None:
    with pytest.raises(EngagementError, match="'99_more' is not an artifact of the route; use one of 00_room"):
        client.save("99_more", Result(headline="A"))


def test_a_missing_artifact_names_the_notebook_to_run(client: Engagement) -> None:
    with pytest.raises(MissingArtifact, match=r"run notebooks/04_rag_prototype\.ipynb for client 'acme' first"):
        client.load("04_rag", Result)


def test_only_the_sample_client_falls_back_to_the_committed_sample_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"data/sample_client/settings.yaml": "title: S\nas_of: 2026-11-01\n"})
    monkeypatch.setenv("PLAYBOOK_HOME", str(tmp_path))
    client = make_client(tmp_path, monkeypatch)
    client.save("01_diagnosis", Result(headline="committed"))
    (tmp_path / "data" / "sample_run").mkdir()
    shutil.move(client.artifacts / "01_diagnosis.json", tmp_path / "data" / "sample_run")
    sample = open_engagement(SAMPLE)
    assert sample.load("01_diagnosis", Result).headline == "committed"
    sample.save("01_diagnosis", Result(headline="own"))
    assert sample.load("01_diagnosis", Result).headline == "own"
    with pytest.raises(MissingArtifact):
        client.load("01_diagnosis", Result)


@pytest.mark.parametrize("damage", ["{", "{}", '{"headline": 1}'])
def test_a_damaged_artifact_names_the_notebook_to_run_again(client: Engagement, damage: str) -> None:
    client.save("01_diagnosis", Result(headline="A"))
    (client.artifacts / "01_diagnosis.json").write_text(damage, encoding="utf-8")
    with pytest.raises(
        EngagementError, match=r"01_diagnosis\.json does not fit.*Run notebooks/01_diagnose\.ipynb again"
    ):
        client.load("01_diagnosis", Result)


def test_the_hash_of_a_damaged_artifact_is_refused_like_its_result(client: Engagement) -> None:
    client.save("01_diagnosis", Result(headline="A"))
    (client.artifacts / "01_diagnosis.json").write_text("{", encoding="utf-8")
    with pytest.raises(EngagementError, match=r"Run notebooks/01_diagnose\.ipynb again"):
        client.input_hash("01_diagnosis")


def test_rounding_reaches_into_lists_and_dicts_and_leaves_the_rest() -> None:
    assert rounded({"a": [0.123456, 2, "x", None], "b": {"c": True}}) == {"a": [0.1235, 2, "x", None], "b": {"c": True}}


# ---------------------------------------------------------------------------------------------- writing, fingerprints


def test_a_crash_while_writing_leaves_the_old_file_and_no_scratch_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_atomic(tmp_path / "folder" / "file.txt", "old")

    def crash(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(engagement.os, "replace", crash)
    with pytest.raises(OSError, match="disk is full"):
        write_atomic(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(path.parent) == ["file.txt"]


def test_text_is_written_as_utf8_and_bytes_as_they_are(tmp_path: Path) -> None:
    assert write_atomic(tmp_path / "a", "\u00e9").read_bytes() == b"\xc3\xa9"
    assert write_atomic(tmp_path / "b", b"\xff\r\n").read_bytes() == b"\xff\r\n"


def test_a_folders_fingerprint_sees_content_and_names_and_nothing_else(tmp_path: Path) -> None:
    one = write_files(tmp_path / "one", {"a.md": "A", "sub/b.md": "B"})
    two = write_files(tmp_path / "two", {"sub/b.md": "B", "a.md": "A"})
    assert fingerprint(one) == fingerprint(two)
    (two / "a.md").write_text("a", encoding="utf-8")
    assert fingerprint(one) != fingerprint(two)
    (two / "a.md").write_text("A", encoding="utf-8")
    (two / "sub" / "b.md").rename(two / "b.md")
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(tmp_path / "three") == "absent"
