"""A client's folder to an answerer: unchanged content costs no embedding, and notebook 04's settings are used."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes_embedding import HashEmbeddings, make_client, refusal
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from playbook import knowledge
from playbook.engagement import Engagement
from playbook.refusal import shipped_refusal
from playbook.results import RagResult
from playbook.store import FaissStore, IndexMismatch


@pytest.fixture
def client(tmp_path: Path) -> Engagement:
    deposit = "# Deposit\n\nA deposit of $150 is due.\n\n# Cleaning\n\nBring it back clean.\n"
    vans = "Vans leave at nine."
    return make_client(tmp_path / "acme", {"rental.md": deposit, "vans.txt": vans, "copy.txt": vans})


def test_first_indexing_embeds_everything_and_the_second_nothing(client: Engagement, embedder: HashEmbeddings) -> None:
    first = knowledge.index_folder(client)
    assert first.changes == {"added": 3, "kept": 0, "removed": 0}
    assert first.corpus.counts()["duplicate"] == 1
    embedder.embedded.clear()
    second = knowledge.index_folder(client)
    assert second.changes == {"added": 0, "kept": 3, "removed": 0} and embedder.embedded == []
    assert list(second.store.documents) == list(first.store.documents)


def test_a_changed_file_costs_only_what_changed(client: Engagement, embedder: HashEmbeddings) -> None:
    knowledge.index_folder(client)
    embedder.embedded.clear()
    (client.documents / "rental.md").write_text(
        "# Deposit\n\nA deposit of $200 is due.\n\n# Cleaning\n\nBring it back clean.\n"
    )
    assert knowledge.index_folder(client).changes == {"added": 1, "kept": 2, "removed": 1}
    assert embedder.embedded == ["Deposit\nA deposit of $200 is due."]
    assert {d.page_content for d in FaissStore.open(client.index, embedder).documents.values()} == {
        "A deposit of $200 is due.", "Bring it back clean.", "Vans leave at nine."
    }  # fmt: skip


def test_a_copy_of_the_folder_is_indexed_elsewhere(
    client: Engagement, embedder: HashEmbeddings, tmp_path: Path
) -> None:
    knowledge.index_folder(client)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.md").write_text("Only this.")
    drill = knowledge.index_folder(client, tmp_path / "other", tmp_path / "drill")
    assert [d.page_content for d in drill.store.documents.values()] == ["Only this."]
    assert len(FaissStore.open(client.index, embedder)) == 3, "the client's own index is not touched"


def test_an_index_of_another_embedder_is_refused(
    client: Engagement, embedder: HashEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowledge.index_folder(client)
    monkeypatch.setattr(knowledge, "load_embeddings", lambda profile: HashEmbeddings(name="other"))
    with pytest.raises(IndexMismatch, match="made by hash/.*uses other/"):
        knowledge.index_folder(client)


def test_before_notebook_04_the_shipped_calibration_answers(client: Engagement, embedder: HashEmbeddings) -> None:
    answerer = knowledge.open_answerer(client)
    assert answerer.refusal == shipped_refusal()
    assert (answerer.retriever.weight, answerer.chat) == (0.5, None)


def test_what_notebook_04_settled_is_used(client: Engagement, embedder: HashEmbeddings) -> None:
    settled = RagResult(
        headline="Settled.", plan_digest="d", files={}, rejected={}, passages=3, weight=0.25, hit_rates={},
        refusal=refusal(9.0), certificate="", tune_scores=(), drill={},
    )  # fmt: skip
    client.save("04_rag", settled)
    answerer = knowledge.open_answerer(client)
    assert (answerer.retriever.weight, answerer.refusal) == (0.25, refusal(9.0))
    assert answerer.ask("How much is the deposit?").citations[0].quote == "A deposit of $150 is due."


def test_a_profile_with_a_chat_model_gets_one(
    client: Engagement, embedder: HashEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        knowledge, "chat_model", lambda name: asked.append(name) or FakeListChatModel(responses=["It is $150 [1]."])
    )
    other = Engagement("acme", client.inputs, client.work, client.settings.model_copy(update={"profile": "laptop"}))
    answerer = knowledge.make_answerer(other, knowledge.index_folder(other).store, 0.5, refusal(9.0))
    assert len(asked) == 1 and answerer.ask("How much is the deposit?").text == "It is $150 [1]."


def test_missing_documents_are_named(client: Engagement, embedder: HashEmbeddings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        knowledge.index_folder(client, tmp_path / "nowhere")
