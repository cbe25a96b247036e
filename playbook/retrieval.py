"""Keyword search, search by meaning, and both together, as a LangChain `BaseRetriever`.

Knows a FaissStore, bm25s and a stemmer. It does not know answers. Two ways to fuse: a convex combination of min-max
normalised scores (Bruch et al. 2022, arXiv 2210.11934) and reciprocal ranks (Cormack et al. 2009). The weight is
chosen on the client's own tuning questions, and 0 (keywords only) and 1 (meaning only) are allowed, because fusing can
hurt.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import bm25s
import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field
from snowballstemmer import stemmer

from playbook.checked import TABLES, read_yaml
from playbook.chunking import embedding_text
from playbook.store import FaissStore

POOL = 50  # candidates each leg hands to the fusion
RERANKED = 20  # candidates a cross-encoder reads: more would take seconds on a laptop
RRF = 60  # the constant of reciprocal rank fusion
SUPERSEDED = 0.3  # what a passage of a replaced document loses of its fused score, which runs from 0 to 1
STOPWORDS = frozenset(read_yaml(TABLES / "words.yaml")["stopwords"].split())
_stem = lru_cache(200_000)(stemmer("english").stemWord)


def words(text: str) -> list[str]:
    """Lower-case search words, stemmed (Snowball English), stop words left out.

    Part numbers, form numbers and amounts stay whole and are also split at their hyphens, points and commas.
    """
    found: list[str] = []
    for token in re.findall(r"[^\W_]+(?:[-./',][^\W_]+)*", text.lower()):
        parts = re.split(r"[-./',]", token)
        found += [token, *parts] if len(parts) > 1 else [token]
    return [_stem(w) for w in found if w not in STOPWORDS]


class Hit(NamedTuple):
    """One passage found: its rank score, and what each leg gave it (cosine; BM25 score)."""

    passage: Document
    score: float
    cosine: float
    keyword: float


class KeywordIndex:
    """BM25 over each passage's file name, heading path and text; Anserini's settings for short texts (k1 0.9, b 0.4)."""

    def __init__(self, passages: Sequence[Document]) -> None:
        self.passages = list(passages)
        names = [re.sub(r"[_/-]", " ", p.metadata.get("source", "").rsplit(".", 1)[0]) for p in self.passages]
        texts = map(embedding_text, self.passages)
        tokens = [words(f"{name}\n{text}") or ["\0"] for name, text in zip(names, texts, strict=True)]
        self.engine = bm25s.BM25(k1=0.9, b=0.4)
        self.engine.index(tokens, show_progress=False)
        self.document_frequency = Counter(word for document in tokens for word in set(document))

    def scores(self, question: str) -> np.ndarray:
        """BM25 score of every passage for `question`, shape (passages,), 0 and up."""
        known = [w for w in words(question) if w in self.document_frequency]
        return self.engine.get_scores(known) if known else np.zeros(len(self.passages), np.float32)

    def rarity(self, word: str) -> float:
        """Inverse document frequency of a stem from `words`, 0 and up; an unknown one counts as the rarest."""
        seen = self.document_frequency.get(word, 0)
        return float(np.log(1 + (len(self.passages) - seen + 0.5) / (seen + 0.5)))


class HybridRetriever(BaseRetriever):
    """Keyword and meaning search fused; `weight` is the share of meaning, 0 keywords only, 1 meaning only.

    `roles`: who asks, which decides what may be found. `fusion`: convex or rrf. `diversity`: 0 keeps the plain order,
    up to 1 pushes down passages like those already chosen (maximal marginal relevance). `rerank`: a cross-encoder's
    scores for (question, texts), or None. `keywords`: the keyword leg, made from the store.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)
    store: FaissStore
    weight: float = Field(0.5, ge=0, le=1)
    k: int = 5
    roles: tuple[str, ...] | None = None
    fusion: Literal["convex", "rrf"] = "convex"
    diversity: float = 0.0
    rerank: Callable[[str, list[str]], Sequence[float]] | None = None
    keywords: KeywordIndex | None = None
    asked: dict[str, np.ndarray] = Field(default_factory=dict, repr=False)  # questions embedded so far

    def model_post_init(self, context: object) -> None:
        """Build the keyword leg over the store's passages; raises ValueError for an empty store."""
        if not len(self.store):
            raise ValueError("the index is empty: run notebook 04 on a folder with readable documents first.")
        self.keywords = KeywordIndex(list(self.store.documents.values()))

    def varied(self, **settings: object) -> "HybridRetriever":
        """The same retriever with other settings (keyword index and embedded questions are shared)."""
        return self.model_copy(update=settings)

    def prepare(self, questions: Iterable[str]) -> None:
        """Embed questions in one go, which is much faster; each is embedded once for this retriever and its variants.

        An embedder without `embed_queries` is asked one by one.
        """
        embedding, new = self.store.embedding, sorted(set(questions) - self.asked.keys())
        if new:
            embed = getattr(embedding, "embed_queries", lambda texts: [embedding.embed_query(t) for t in texts])
            self.asked |= zip(new, np.asarray(embed(new), np.float32), strict=True)

    def vector(self, question: str) -> np.ndarray:
        """The question as a unit vector, shape (dimension,)."""
        self.prepare([question])
        return self.asked[question]

    def search(self, question: str, k: int | None = None, without: str | None = None) -> list[Hit]:
        """The best passages, best first; `without` leaves one source file out (to make an unanswerable twin)."""
        passages, allowed = self.keywords.passages, self.store.mask(self.roles)
        if without is not None:
            allowed = allowed & np.array([p.metadata.get("source") != without for p in passages])
        sparse = np.where(allowed, self.keywords.scores(question), 0.0)
        dense = np.where(allowed, self.store.vectors @ self.vector(question), -1.0)
        legs = [scores for scores, share in ((dense, self.weight), (sparse, 1 - self.weight)) if share > 0]
        pool = np.array(sorted({n for scores in legs for n in _top(scores) if allowed[n]}), np.int64)
        if not len(pool):
            return []
        scale = _scale if self.fusion == "convex" else _reciprocal_rank
        fused = self.weight * scale(dense[pool]) + (1 - self.weight) * scale(sparse[pool])
        fused -= SUPERSEDED * np.array([bool(passages[n].metadata.get("replaced_by")) for n in pool])
        order = np.argsort(-np.round(fused, 6), kind="stable")
        if self.rerank is not None:
            head = order[:RERANKED]
            read = self.rerank(question, [passages[pool[n]].page_content for n in head])
            fused[head] = fused.max() + _scale(np.asarray(read))
            order = np.argsort(-fused, kind="stable")
        order = self._diverse(order, fused, self.store.vectors[pool])[: self.k if k is None else k]
        return [Hit(passages[pool[n]], float(fused[n]), float(dense[pool[n]]), float(sparse[pool[n]])) for n in order]

    def _diverse(self, order: np.ndarray, fused: np.ndarray, vectors: np.ndarray) -> list[int]:
        """Maximal marginal relevance over the fused scores (Carbonell and Goldstein 1998)."""
        rest, chosen = list(order), []
        while self.diversity and rest and len(chosen) < 2 * self.k:
            like = (vectors[rest] @ vectors[chosen].T).max(axis=1) if chosen else np.zeros(len(rest))
            best = int(np.argmax((1 - self.diversity) * fused[rest] - self.diversity * like))
            chosen.append(rest.pop(best))
        return chosen + rest

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [hit.passage for hit in self.search(query)]


def _top(scores: np.ndarray) -> np.ndarray:
    """The rows of the POOL best scores, ties to the lower row."""
    least = np.partition(scores, -POOL)[-POOL] if len(scores) > POOL else -np.inf
    near = np.flatnonzero(scores >= least)
    return near[np.argsort(-scores[near], kind="stable")][:POOL]


def _scale(scores: np.ndarray) -> np.ndarray:
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def _reciprocal_rank(scores: np.ndarray) -> np.ndarray:
    """1 / (60 + rank), scaled so that the first rank gets 1."""
    return (RRF + 1) / (RRF + 1 + np.argsort(np.argsort(-scores, kind="stable")))
