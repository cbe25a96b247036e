"""A client's folder to an answerer: load, cut, index, retrieve, answer, in the one order everybody uses.

Joins documents, chunking, embedding, store, retrieval and answering for one engagement, and keeps its query log. Holds
no method of its own.
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from playbook.answering import Answer, Answerer
from playbook.chat import chat_model
from playbook.chunking import chunk_sections, embedding_text
from playbook.documents import Corpus, load_folder
from playbook.embedding import load_embeddings, load_reranker
from playbook.engagement import Engagement, MissingArtifact, digest
from playbook.models import load_profile
from playbook.refusal import RefusalModel, shipped_refusal
from playbook.retrieval import HybridRetriever
from playbook.store import FaissStore, Roles, one_writer

Folder = Path | None


class Indexed(NamedTuple):
    """A folder's corpus, its index, and what the last sync had to do."""

    corpus: Corpus
    store: FaissStore
    changes: dict[str, int]


def index_folder(client: Engagement, folder: Folder = None, keep_in: Folder = None, purge: bool = False) -> Indexed:
    """Bring the client's index up to date with its documents; unchanged content costs no embedding.

    `folder` and `keep_in` replace the client's own documents and index folders (the drills of notebook 04 use copies).
    Raises ValueError when no file of the folder can be read, or when more than half of the files in the index are gone
    from the folder and `purge` does not confirm that this is meant: a folder that was moved must not empty an index.
    Raises IndexBusy when another program is at it.
    """
    profile = load_profile(client.settings.profile)
    embeddings = load_embeddings(profile)
    folder, where = folder or client.documents, keep_in or client.index
    corpus = load_folder(folder, folder.with_name(client.audiences.name))  # beside it, in a copy as in the original
    with one_writer(where):  # a second notebook on the same engagement is told so
        store = FaissStore.open(where, embeddings, embedding_text)
        held = {d.metadata["source"] for d in store.documents.values()}
        gone = held - {f.source for f in corpus.files}
        if len(gone) > len(held) / 2 and not purge:
            lost = f"{len(gone)} of the {len(held)} indexed files are no longer in {folder}, for instance {min(gone)}"
            raise ValueError(f"{lost}. If they are to be forgotten, confirm it: playbook index {client.name} --purge")
        if not corpus.sections and not purge:
            first = f"{corpus.files[0].source}: {corpus.files[0].reason}"
            raise ValueError(f"none of the {len(corpus.files)} file(s) in {folder} could be read; {first}.")
        before = store.documents
        changes = store.sync(chunk_sections(corpus.sections, store.embedding.count_tokens, profile.chunk_tokens))
        if store.documents != before and (where / "answers").is_dir():  # kept answers quote what may be gone
            shutil.rmtree(where / "answers")
        store.save(where)
    return Indexed(corpus, store, changes)


def open_answerer(client: Engagement, roles: Roles = None) -> Answerer:
    """The client's answerer with the search weight and refusal that notebook 04 settled, else the shipped ones.

    `roles`: who asks; the settings' roles when left out.
    """
    from playbook.results import RagResult

    store = index_folder(client).store
    try:
        settled = client.load("04_rag", RagResult)
    except MissingArtifact:  # before notebook 04 has run, the calibration shipped with the project answers
        return make_answerer(client, store, 0.5, roles=roles)
    return make_answerer(client, store, settled.weight, settled.refusal, roles)


def make_answerer(
    client: Engagement, store: FaissStore, weight: float, refusal: RefusalModel | None = None, roles: Roles = None
) -> Answerer:
    """An answerer over a store; with the chat model and the reranker that the client's profile names."""
    name = load_profile(client.settings.profile).reranker
    shown, rerank = roles or client.settings.roles, load_reranker(name) if name else None
    retriever = HybridRetriever(store=store, weight=weight, roles=shown, rerank=rerank)
    return Answerer(retriever, refusal or shipped_refusal(), client_chat(client))


def client_chat(client: Engagement) -> Any:
    """The chat model that the client's profile names, or None."""
    name = load_profile(client.settings.profile).chat_model
    return chat_model(name) if name else None


def ask_logged(client: Engagement, answerer: Answerer, question: str) -> Answer:
    """Answer a question and add one line to the client's query log: hashes, ids and the decision, never a word of it."""
    answer = answerer.ask(question)
    line = {
        "question": digest(answer.question)[:16],
        "generation": answerer.retriever.store.generation,
        "model": load_profile(client.settings.profile).chat_model or "extractive",
        **answer.model_dump(include={"passage_ids", "refused", "confidence"}),
    }
    client.query_log.parent.mkdir(parents=True, exist_ok=True)
    with client.query_log.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    return answer
