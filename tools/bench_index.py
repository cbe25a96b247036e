"""The index against plain LangChain and the bare encoder: rates, query times, memory, all as ratios of one run.

`python tools/bench_index.py` takes 600 passages of the sample client, a generated corpus of 10,000 passages and one of
100,000. Only the first is embedded; the other two have made-up unit vectors (said in the output), because a search
costs the same with any. Every figure is the best of several rounds that take turns, so that other work on the machine
spoils a round, not a ratio. Prints; never gates. The bars in brackets are the project's own.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project itself, when it is not installed

import faiss
import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from playbook.chunking import chunk_sections, embedding_text
from playbook.documents import load_folder
from playbook.embedding import LocalEmbeddings
from playbook.models import load_profile
from playbook.retrieval import HybridRetriever
from playbook.store import FaissStore

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = [f"What is the {w} of a {b} {n}?" for n, w in enumerate(("monthly rent", "weight limit", "deposit")) for b in
             ("Larkrest", "Dunesoft", "Heronlift", "Cobble", "Kestrel", "bed", "mattress", "wheelchair", "lift", "chair")]  # fmt: skip


class Plain(Embeddings):
    """What a tutorial does: sentence-transformers in float32, its own batch size, lists of numbers."""

    def __init__(self, exact: LocalEmbeddings) -> None:
        self.model = exact.model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class MadeUp(Embeddings):
    """Unit vectors from nowhere, 384 wide, for corpora that would take minutes to embed."""

    fingerprint = "made-up/float32/384"

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def encode_documents(self, texts: list[str]) -> np.ndarray:
        made = self.rng.standard_normal((len(texts), 384), np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.encode_documents(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.encode_documents([text])[0].tolist()


def best(rounds: int, *work: Callable[[], object]) -> list[float]:
    """Shortest seconds of each piece of work over rounds in which all take turns."""
    seconds = []
    for _ in range(rounds):
        seconds.append([])
        for piece in work:
            started = time.perf_counter()
            piece()
            seconds[-1].append(time.perf_counter() - started)
    return np.min(seconds, axis=0).tolist()


def quantiles(questions: Sequence[str], *ask: Callable[[str], object], rounds: int = 3) -> list[tuple[float, float]]:
    """(p50, p95) in milliseconds of each way to ask; the ways take turns question by question, best of the rounds."""
    times = np.full((rounds, len(ask), len(questions)), np.inf)
    for r in range(rounds):
        for q, question in enumerate(questions):
            for a, way in enumerate(ask):
                started = time.perf_counter()
                way(question)
                times[r, a, q] = 1000 * (time.perf_counter() - started)
    best_round = times.min(axis=0)
    return [(float(np.quantile(t, 0.5)), float(np.quantile(t, 0.95))) for t in best_round]


def memory() -> float:
    """Megabytes of this process in memory; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.exists() else 0.0


def sample_chunks(count: int, exact: LocalEmbeddings) -> list[Document]:
    """The first passages of the sample client, spread over all its files."""
    sections = load_folder(ROOT / "data" / "sample_client" / "documents").sections
    chunks = chunk_sections(sections, exact.count_tokens, 180)
    return [chunks[n] for n in np.linspace(0, len(chunks) - 1, min(count, len(chunks))).astype(int)]


def generated(count: int, chunks: Sequence[Document]) -> list[Document]:
    """`count` different passages made of sentences of `chunks`; every third is for the board or the depot only."""
    rng = np.random.default_rng(0)
    sentences = [s for c in chunks for s in c.page_content.split(". ") if s]
    picks = rng.integers(0, len(sentences), (count, 4))
    audiences = [["everyone"], ["board"], ["everyone"], ["everyone", "depot"], ["depot"], ["everyone"]]
    return [
        Document(
            id=f"{n:06}",
            page_content=f"{n}. " + ". ".join(sentences[s] for s in row),
            metadata={"source": f"file_{n // 20}.md", "heading": f"Part {n % 20}", "audience": audiences[n % 6]},
        )
        for n, row in enumerate(picks)
    ]


def indexing(chunks: list[Document], quick: LocalEmbeddings, exact: LocalEmbeddings, rounds: int = 3) -> None:
    """Passages a second from chunks to a durable index, against the bare encoder and two plain pipelines."""
    texts = [embedding_text(c) for c in chunks]
    with tempfile.TemporaryDirectory() as scratch:

        def ours() -> None:
            store = FaissStore(quick, embedding_text)
            store.sync(chunks)
            store.save(Path(scratch) / f"{time.perf_counter_ns()}")

        def plain_faiss() -> None:
            vectors = np.array(Plain(exact).embed_documents(texts), np.float32)
            index = faiss.IndexFlatIP(vectors.shape[1])
            index.add(vectors)
            faiss.write_index(index, f"{scratch}/plain.faiss")

        seconds = best(
            rounds,
            lambda: quick.model.encode(texts, normalize_embeddings=True, show_progress_bar=False),
            ours,
            plain_faiss,
            lambda: InMemoryVectorStore(Plain(exact)).add_texts(texts),
        )
    rates = [len(texts) / s for s in seconds]
    names = (f"bare encoder, {quick.precision}", "playbook, auto", "plain fp32 + faiss", "LangChain in memory, fp32")
    print(f"\nindexing {len(texts)} passages of the sample client, to a durable index; passages a second")
    for name, rate in zip(names, rates, strict=True):
        print(f"  {name:28} {rate:7.1f}")
    print(f"  playbook / bare encoder      {rates[1] / rates[0]:7.2f}  (at least 0.85)")
    print(f"  playbook / plain fp32 + faiss{rates[1] / rates[2]:7.2f}  (at least 2 where the CPU has native bfloat16)")


def asking(chunks: list[Document], exact: LocalEmbeddings) -> None:
    """A question at 1,300 passages, embedded for real, against embedding it alone."""
    rng = np.random.default_rng(1)
    store, plain = FaissStore(exact, embedding_text), InMemoryVectorStore(exact)
    many = [chunks[n].model_copy(update={"id": f"{i}"}) for i, n in enumerate(rng.integers(0, len(chunks), 1300))]
    store.sync(many)
    plain.add_documents(many)
    hybrid = HybridRetriever(store=store)

    def search_anew(question: str) -> object:
        hybrid.asked.clear()  # a question asked before is not embedded again, which would flatter this line
        return hybrid.search(question)

    found = quantiles(QUESTIONS, exact.embed_query, store.similarity_search_with_score, search_anew)
    found += quantiles(
        QUESTIONS, plain.similarity_search_with_score
    )  # apart: its threads spin on into the next way's turn
    print("\none question at 1,300 passages; milliseconds p50, p95, and p50 against embedding alone (at most 1.5)")
    for name, (p50, p95) in zip(("embedding it alone", "meaning", "hybrid", "LangChain in memory"), found, strict=True):
        print(f"  {name:24} {p50:7.2f} {p95:7.2f}  {p50 / found[0][0]:6.2f}")


def searching(count: int, chunks: Sequence[Document], plain: bool) -> None:
    """Search alone in a generated corpus with made-up vectors: by role, saved and opened, against LangChain in memory."""
    documents, made_up = generated(count, chunks), MadeUp()
    before = memory()
    store = FaissStore(made_up, embedding_text)
    store.sync(documents)
    vectors = {q: made_up.encode_documents([q])[0] for q in QUESTIONS}
    store.search(vectors[QUESTIONS[0]])
    held, theirs = memory() - before, 0.0
    ways: dict[str, Callable[[str], object]] = {
        "everybody's": lambda q: store.search(vectors[q], 10),
        "for a role that sees 5 of 6": lambda q: store.search(vectors[q], 10, roles=["depot"]),
        "for no role, sees 4 of 6": lambda q: store.search(vectors[q], 10, roles=[]),
    }
    if plain:
        before, memory_store = memory(), InMemoryVectorStore(made_up)
        memory_store.store = {
            d.id: {"id": d.id, "vector": v.tolist(), "text": d.page_content, "metadata": d.metadata}
            for d, v in zip(documents, store.vectors, strict=True)
        }
        theirs = memory() - before
        ways["LangChain in memory"] = lambda q: memory_store.similarity_search_with_score_by_vector(
            vectors[q].tolist(), 10
        )
    for way in ways.values():
        way(QUESTIONS[0])  # the mask of a set of roles is worked out at its first question
    found = quantiles(QUESTIONS, *ways.values(), rounds=2 if plain else 3)
    print(
        f"\nsearch alone at {count:,} generated passages with made-up vectors; milliseconds p50, p95, against the first"
    )
    for name, (p50, p95) in zip(ways, found, strict=True):
        print(f"  {name:28} {p50:7.2f} {p95:7.2f}  {p50 / found[0][0]:6.2f}")
    with tempfile.TemporaryDirectory() as scratch:
        saved, opened = best(
            2,
            lambda: store.save(Path(scratch) / f"{time.perf_counter_ns()}"),
            lambda: FaissStore.open(max(Path(scratch).iterdir()), made_up, embedding_text),
        )
    print(f"  saved in {saved:.2f} s, opened in {opened:.2f} s; {held:,.0f} MB held", end="")
    print(f", {theirs:,.0f} MB of vectors and texts by LangChain in memory" if plain else "")


def main() -> None:
    """Run all of it."""
    bundled = load_profile("embedded").embedder
    exact = LocalEmbeddings(bundled)
    chunks = sample_chunks(600, exact)
    searching(10_000, chunks, plain=True)
    searching(100_000, chunks, plain=False)
    quick = LocalEmbeddings(bundled, "auto")
    print(f"\nprecision auto: {quick.precision} on {quick.device}")
    indexing(chunks, quick, exact)
    asking(chunks, exact)


if __name__ == "__main__":
    main()
