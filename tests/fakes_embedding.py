"""A small deterministic embedder for tests: a bag of hashed words, so that cosines can be worked out by hand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from playbook.answering import FEATURES, Answerer
from playbook.chunking import embedding_text
from playbook.engagement import Engagement, Settings
from playbook.refusal import RefusalModel
from playbook.retrieval import HybridRetriever
from playbook.store import FaissStore


class HashEmbeddings(Embeddings):
    """Each word adds 1 at its own place; vectors are then made unit length. Texts without a word give the first axis."""

    def __init__(self, dimension: int = 4096, name: str = "hash") -> None:
        self.dimension = dimension
        self.fingerprint = f"{name}/float32/{dimension}"
        self.embedded: list[str] = []

    def encode(self, texts: list[str], progress: bool = False) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            self.embedded.append(text)
            for word in re.findall(r"\w+", text.lower()):
                row[int(hashlib.sha256(word.encode()).hexdigest(), 16) % self.dimension] += 1
            if not row.any():
                row[0] = 1
            row /= np.linalg.norm(row)
        return vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.encode([text])[0].tolist()

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def passage(identity: str, text: str, source: str = "a.md", place: str = "") -> Document:
    """A stored passage as chunking makes it."""
    return Document(
        id=identity,
        page_content=text,
        metadata={"source": source, "heading": place, "place": place, "start": 0, "end": len(text)},
    )


def refusal(intercept: float, threshold: float = 0.5) -> RefusalModel:
    """A refusal decision that looks at nothing: a high intercept always answers, a low one never does."""
    return RefusalModel(
        weights=(0.0,) * len(FEATURES),
        intercept=intercept,
        threshold=threshold,
        calibrated_on="a test",
    )


def make_store(*passages: Document) -> FaissStore:
    """A store over the fake embedder, searched by heading and text as in the package."""
    store = FaissStore(HashEmbeddings(), embedding_text)
    store.add_documents(list(passages))
    return store


def make_answerer(*passages: Document, intercept: float = 9.0, weight: float = 0.5, chat: object = None) -> Answerer:
    """An answerer over passages; by default it always answers."""
    return Answerer(HybridRetriever(store=make_store(*passages), weight=weight), refusal(intercept), chat)


def make_client(folder: Path, files: Mapping[str, str]) -> Engagement:
    """An engagement called acme in a new folder, with these documents (name -> text)."""
    (folder / "documents").mkdir(parents=True)
    for name, text in files.items():
        (folder / "documents" / name).write_text(text)
    return Engagement("acme", folder, folder, Settings(title="Acme", as_of=date(2026, 11, 1)))
