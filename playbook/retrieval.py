"""Keyword search, search by meaning, and both together, as a LangChain `BaseRetriever`.

Knows a FaissStore and bm25s. It does not know answers. Fusion is a convex combination of min-max normalised scores
(Bruch et al. 2022, arXiv 2210.11934); the weight is chosen on the client's own tuning questions, and 0 (keywords only)
and 1 (meaning only) are allowed, because fusing can hurt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import bm25s
import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, PrivateAttr

from playbook.chunking import embedding_text
from playbook.store import FaissStore

POOL = 50  # candidates each leg hands to the fusion
STOPWORDS = frozenset(
    "a an and are as at be but by can could did do does for from had has have he her his how i if in into is it its "
    "me my no not of on or our she should so than that the their them then there these they this to us was we were "
    "what when where which while who whom why will with would you your".split()
)


def words(text: str) -> list[str]:
    """Lower-case search words; part numbers, form numbers and amounts stay whole and are also split at their hyphens.

    Stop words are left out; a plural s is cut so that "rentals" finds "rental".
    """
    found: list[str] = []
    for token in re.findall(r"[^\W_]+(?:[-./'][^\W_]+)*", text.lower()):
        parts = re.split(r"[-./']", token)
        found += [token, *parts] if len(parts) > 1 else [token]
    return [
        w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in found if w not in STOPWORDS
    ]


@dataclass(frozen=True)
class Hit:
    """One passage found: its rank score, and what each leg gave it (cosine; BM25 score)."""

    passage: Document
    score: float
    cosine: float
    keyword: float


class KeywordIndex:
    """BM25 over the passages of a store."""

    def __init__(self, passages: Sequence[Document]) -> None:
        self.passages = list(passages)
        tokens = [words(embedding_text(p)) or ["\0"] for p in self.passages]
        self.engine = bm25s.BM25()
        self.engine.index(tokens, show_progress=False)
        counts: dict[str, int] = {}
        for document in tokens:
            for word in set(document):
                counts[word] = counts.get(word, 0) + 1
        self.document_frequency = counts

    def scores(self, question: str) -> np.ndarray:
        """BM25 score of every passage for `question`, shape (passages,), 0 and up."""
        known = [w for w in words(question) if w in self.document_frequency]
        if not known:
            return np.zeros(len(self.passages), np.float32)
        return self.engine.get_scores(known)

    def rarity(self, word: str) -> float:
        """Inverse document frequency of a search word, 0 and up; an unknown word counts as the rarest."""
        seen = self.document_frequency.get(word, 0)
        return float(np.log(1 + (len(self.passages) - seen + 0.5) / (seen + 0.5)))


class HybridRetriever(BaseRetriever):
    """Keyword and meaning search fused; `weight` is the share of meaning, 0 keywords only, 1 meaning only."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    store: FaissStore
    weight: float = 0.5
    k: int = 5
    _keywords: KeywordIndex = PrivateAttr()

    def model_post_init(self, context: object) -> None:
        """Build the keyword leg over the store's passages; raises ValueError for an empty store or a bad weight."""
        if not len(self.store):
            raise ValueError("the index is empty: run notebook 04 on a folder with readable documents first.")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight is {self.weight}; give a number from 0 (keywords) to 1 (meaning).")
        self._keywords = KeywordIndex(list(self.store.documents.values()))

    @property
    def keywords(self) -> KeywordIndex:
        """The keyword leg."""
        return self._keywords

    def with_weight(self, weight: float) -> HybridRetriever:
        """The same retriever with another weight (the keyword index is shared, not rebuilt)."""
        other = self.model_copy(update={"weight": weight})
        other._keywords = self._keywords
        return other

    def search(self, question: str, k: int | None = None, without: str | None = None) -> list[Hit]:
        """The best passages, best first; `without` leaves one source file out (to make an unanswerable twin)."""
        k = self.k if k is None else k
        passages = self._keywords.passages
        vector = np.asarray(self.store.embedding.embed_query(question), np.float32)
        dense = self.store.vectors @ vector
        sparse = np.asarray(self._keywords.scores(question), np.float32)
        allowed = np.array([p.metadata.get("source") != without for p in passages])
        pool = _top(dense, allowed, POOL) if self.weight > 0 else []
        pool = sorted({*pool, *(_top(sparse, allowed, POOL) if self.weight < 1 else [])})
        if not pool:
            return []
        fused = self.weight * _scale(dense[pool]) + (1 - self.weight) * _scale(sparse[pool])
        order = sorted(range(len(pool)), key=lambda n: (-round(float(fused[n]), 6), pool[n]))[:k]
        return [Hit(passages[pool[n]], float(fused[n]), float(dense[pool[n]]), float(sparse[pool[n]])) for n in order]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [hit.passage for hit in self.search(query)]


def _top(scores: np.ndarray, allowed: np.ndarray, count: int) -> list[int]:
    order = np.argsort(-np.where(allowed, scores, -np.inf), kind="stable")[:count]
    return [int(n) for n in order if allowed[n]]


def _scale(scores: np.ndarray) -> np.ndarray:
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)
