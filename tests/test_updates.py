"""Documents come, change, are renamed and go: the index follows, costs only what is new, and forgets what is gone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings, make_client, refusal

from playbook import knowledge
from playbook.arms import answer_arm
from playbook.engagement import Engagement
from playbook.items import Question
from playbook.store import FaissStore

FILES = {
    "rental.md": "# Deposit\n\nA deposit of $150 is due.\n\n# Cleaning\n\nBring it back clean.\n",
    "vans.txt": "Vans leave at nine.\n\nDrivers carry gloves.",
    "prices.csv": "part,price\nLR-310,12.50\nLR-320,14.00\n",
    "pay.md": "# Pay\n\nThe manager earns a lot.\n",
}


@pytest.fixture
def client(tmp_path: Path) -> Engagement:
    made = make_client(tmp_path / "acme", FILES)
    made.audiences.write_text("files:\n  pay.md: {audience: [hr]}\n")
    return made


def content(store: FaissStore) -> dict[str, tuple[str, str, list[float]]]:
    rows = zip(store.documents.values(), store.vectors, strict=True)
    return {d.id: (d.page_content, json.dumps(d.metadata, sort_keys=True), np.round(v, 6).tolist()) for d, v in rows}


def test_an_index_kept_up_to_date_equals_one_built_afresh(
    client: Engagement, embedder: HashEmbeddings, tmp_path: Path
) -> None:
    knowledge.index_folder(client)
    changes = [
        lambda: (client.documents / "rental.md").write_text(FILES["rental.md"].replace("$150", "$200")),
        lambda: (client.documents / "new.md").write_text("# Stairs\n\nTwo people carry the bed upstairs.\n"),
        lambda: (client.documents / "vans.txt").rename(client.documents / "delivery_vans.txt"),
        lambda: (client.documents / "prices.csv").unlink(),
        lambda: (client.documents / "prices.csv").write_text(FILES["prices.csv"]),
    ]
    for number, change in enumerate(changes):
        change()
        kept = knowledge.index_folder(client).store
        fresh = knowledge.index_folder(client, client.documents, tmp_path / f"fresh{number}").store
        assert content(kept) == content(fresh), f"change {number}"
        assert content(FaissStore.open(client.index, embedder)) == content(fresh)


def test_a_renamed_file_with_headings_costs_no_embedding(client: Engagement, embedder: HashEmbeddings) -> None:
    knowledge.index_folder(client)
    embedder.embedded.clear()
    (client.documents / "rental.md").rename(client.documents / "rental_terms.md")
    store = knowledge.index_folder(client).store
    assert embedder.embedded == []
    assert "rental_terms.md" in {d.metadata["source"] for d in store.documents.values()}
    assert "rental.md" not in {d.metadata["source"] for d in store.documents.values()}


def test_a_folder_that_lost_most_files_does_not_empty_the_index_without_confirmation(
    client: Engagement, embedder: HashEmbeddings
) -> None:
    knowledge.index_folder(client)
    for name in ("rental.md", "vans.txt", "prices.csv"):
        (client.documents / name).unlink()
    with pytest.raises(ValueError, match="3 of the 4 indexed files are no longer in .*playbook index acme --purge"):
        knowledge.index_folder(client)
    assert len(FaissStore.open(client.index, embedder)) > 1, "nothing was lost"
    assert len(knowledge.index_folder(client, purge=True).store) == 1


def test_what_is_erased_leaves_no_trace_in_the_index_folder(client: Engagement, embedder: HashEmbeddings) -> None:
    (client.documents / "person.md").write_text("# Contact\n\nAsk for Petra Quillhaven.\n")
    knowledge.index_folder(client)
    held = [p for p in client.index.rglob("*") if p.is_file() and b"Quillhaven" in p.read_bytes()]
    assert held, "the check below could not fail otherwise"
    (client.documents / "person.md").unlink()
    knowledge.index_folder(client)
    assert not [p for p in client.index.rglob("*") if p.is_file() and b"Quillhaven" in p.read_bytes()]


def test_kept_answers_last_until_a_document_or_who_may_see_it_changes(
    client: Engagement, embedder: HashEmbeddings
) -> None:
    def kept() -> list[str]:
        store = knowledge.index_folder(client).store
        answerer = knowledge.make_answerer(client, store, 0.5, refusal(9.0), ("hr",))
        before = [path.name for path in client.index.glob("answers/*")]
        answer_arm("hybrid", answerer, [asked], cache=client.index / "answers")
        return before

    asked = Question(
        id="q", question="Who is the contact?", expected_answer="", must_contain=(), source="", answerable=False
    )
    (client.documents / "person.md").write_text("# Contact\n\nAsk for Petra Quillhaven.\n")
    assert kept() == []
    assert len(kept()) == 1, "nothing changed: what was answered is kept"
    held = [p for p in client.index.rglob("*") if p.is_file() and b"Quillhaven" in p.read_bytes()]
    assert len(held) == 2, "the index and a kept answer: the checks below could not fail otherwise"
    client.audiences.write_text("files:\n  pay.md: {audience: [board]}\n")
    assert kept() == [], "another audience"
    (client.documents / "person.md").unlink()
    knowledge.index_folder(client)
    assert not (client.index / "answers").exists()
    assert not [p for p in client.index.rglob("*") if p.is_file() and b"Quillhaven" in p.read_bytes()]


def test_only_who_has_the_role_gets_the_restricted_paper(client: Engagement, embedder: HashEmbeddings) -> None:
    store = knowledge.index_folder(client).store
    question = "What does the manager earn? Pay?"
    for roles, seen in ((None, False), (("everyone",), False), (("hr",), True)):
        answer = knowledge.make_answerer(client, store, 0.5, refusal(9.0), roles).ask(question)
        assert ("pay.md" in {c.source for c in answer.citations}) is seen, roles


def test_the_query_log_holds_no_word_of_question_or_answer(client: Engagement, embedder: HashEmbeddings) -> None:
    store = knowledge.index_folder(client).store
    answerer = knowledge.make_answerer(client, store, 0.5, refusal(9.0))
    answer, _ = (knowledge.ask_logged(client, answerer, "How much is the deposit?") for _ in range(2))
    lines = client.query_log.read_text().splitlines()
    assert len(lines) == 2 and "deposit" not in client.query_log.read_text().lower()
    entry = json.loads(lines[0])
    assert entry["generation"] == store.generation != "" and entry["passage_ids"] == list(answer.passage_ids)
    assert entry["refused"] is False and len(entry["question"]) == 16
