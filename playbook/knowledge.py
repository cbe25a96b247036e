"""A client's folder to an answerer: load, cut, index, retrieve, answer, in the one order everybody uses.

Joins documents, chunking, embedding, store, retrieval and answering for one engagement. Holds no method of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playbook.answering import Answerer, RefusalModel, shipped_refusal
from playbook.chunking import chunk_sections, embedding_text
from playbook.documents import Corpus, load_folder
from playbook.embedding import load_embeddings
from playbook.engagement import Engagement, MissingArtifact
from playbook.models import chat_model, load_profile
from playbook.retrieval import HybridRetriever
from playbook.store import FaissStore


@dataclass(frozen=True)
class Indexed:
    """A folder's corpus, its index, and what the last sync had to do."""

    corpus: Corpus
    store: FaissStore
    changes: dict[str, int]


def index_folder(client: Engagement, folder: Path | None = None, keep_in: Path | None = None) -> Indexed:
    """Bring the client's index up to date with its documents; unchanged content costs no embedding.

    `folder` and `keep_in` replace the client's own documents and index folders (the drills of notebook 04 use copies).
    Raises ValueError when no file of the folder can be read.
    """
    profile = load_profile(client.settings.profile)
    embeddings = load_embeddings(profile)
    where = keep_in or client.index
    corpus = load_folder(folder or client.documents)
    if not corpus.sections:
        first = corpus.files[0]
        raise ValueError(
            f"none of the {len(corpus.files)} file(s) in {folder or client.documents} could be read; {first.source}: {first.reason}."
        )
    store = FaissStore.open(where, embeddings, embedding_text)
    changes = store.sync(chunk_sections(corpus.sections, embeddings.count_tokens, profile.chunk_tokens))
    if changes["added"] or changes["removed"]:
        store.save(where)
    return Indexed(corpus, store, changes)


def open_answerer(client: Engagement) -> Answerer:
    """The client's answerer with the search weight and refusal that notebook 04 settled, else the shipped ones."""
    from playbook.results import RagResult

    store = index_folder(client).store
    weight, refusal = 0.5, shipped_refusal()
    try:
        settled = client.load("04_rag", RagResult)
        weight, refusal = settled.weight, settled.refusal
    except MissingArtifact:
        pass  # before notebook 04 has run, the calibration shipped with the project answers
    return make_answerer(client, store, weight, refusal)


def make_answerer(
    client: Engagement, store: FaissStore, weight: float, refusal: RefusalModel | None = None
) -> Answerer:
    """An answerer over a store; with a chat model when the client's profile names one."""
    return Answerer(HybridRetriever(store=store, weight=weight), refusal or shipped_refusal(), client_chat(client))


def client_chat(client: Engagement) -> Any:
    """The chat model that the client's profile names, or None."""
    name = load_profile(client.settings.profile).chat_model
    return chat_model(name) if name else None
