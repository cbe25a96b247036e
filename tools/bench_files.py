"""The product measured on anybody's files: retrieval on a BEIR folder, answers on a folder with questions.

Uses the same index, search and refusal as an engagement, with the settings shipped with the project. Knows no
engagement. Retrieval metrics come from ir-measures (TREC's own evaluation code).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document

from playbook.answering import MAX_SENTENCES, Answerer
from playbook.arms import best_weight
from playbook.chunking import chunk_sections, embedding_text, sentence_spans
from playbook.documents import load_folder
from playbook.embedding import LocalEmbeddings, load_embeddings
from playbook.evaluation import contains
from playbook.models import load_profile
from playbook.refusal import shipped_refusal
from playbook.retrieval import HybridRetriever
from playbook.store import FaissStore

WEIGHTS = tuple(n / 10 for n in range(11))
DEPTH = 100  # passages fetched for ten documents, because several may come from one document
METRICS = {"nDCG@10": "ndcg@10", "RR@10": "mrr@10", "Success@5": "hit@5", "R@10": "recall@10"}
Run = dict[str, dict[str, float]]


def retrieval(folder: Path, profile: str = "embedded", seed: int = 1) -> dict[str, Any]:
    """nDCG@10, MRR@10, hit@5 and recall@10 of keyword, meaning and hybrid search on a BEIR folder, and seconds.

    The hybrid weight is chosen by nDCG@10 on a seeded half of the queries; all figures are for the other half. Long
    documents are cut; a document scores as its best passage. Raises ValueError naming the file and line at fault.
    """
    corpus = {row["_id"]: row for row in _jsonl(folder / "corpus.jsonl", ("_id", "text"))}
    qrels = _qrels(folder / "qrels.tsv" if (folder / "qrels.tsv").exists() else folder / "qrels" / "test.tsv")
    queries = {r["_id"]: r["text"] for r in _jsonl(folder / "queries.jsonl", ("_id", "text")) if r["_id"] in qrels}
    if len(queries) < 2:
        raise ValueError(
            f"{folder}: {len(queries)} of the queries have a judgement in qrels.tsv; at least 2 are needed."
        )
    settings = load_profile(profile)
    embeddings = load_embeddings(settings)
    started = time.perf_counter()
    sections = [
        Document(
            page_content=row["text"],
            metadata={"source": "", "heading": row.get("title", ""), "doc": identity, "marks": []},
        )
        for identity, row in corpus.items()
    ]
    retriever = _indexed(sections, embeddings, settings.chunk_tokens)
    seconds = time.perf_counter() - started
    order = sorted(queries)
    random.Random(seed).shuffle(order)
    choose, judge = order[: len(order) // 2], order[len(order) // 2 :]
    retriever.prepare(queries[q] for q in order)

    def run(ids: Iterable[str], weight: float) -> Run:
        search = retriever.varied(weight=weight).search
        return {q: _by_document(search(queries[q], DEPTH)) for q in ids}

    tried = {w: _measure(qrels, run(choose, w))["ndcg@10"] for w in WEIGHTS}
    weight = best_weight(tried)
    measured = {name: _measure(qrels, run(judge, w)) for name, w in (("bm25", 0.0), ("dense", 1.0), ("hybrid", weight))}
    retriever.asked.clear()  # what is timed embeds its question
    timed = [_milliseconds(lambda q=q: retriever.varied(weight=weight).search(queries[q], 10)) for q in judge[:200]]
    return {
        **measured,
        "weight": weight,
        "queries": {"chosen_on": len(choose), "reported_on": len(judge)},
        "seconds": {"index": round(seconds, 2), "query_p50_ms": round(float(np.median(timed)), 2)},
    }


def answers(folder: Path, questions: Path, profile: str = "embedded") -> dict[str, Any]:
    """How often the shown answer holds the expected strings, cites the right file and refuses rightly, on any folder.

    Beside it what a plain pipeline would show: search by meaning alone, the three nearest sentences, never refusing.
    Raises ValueError naming the file and line at fault, or the folder in which nothing could be read.
    """
    asked = _jsonl(questions, ("question", "answerable"))
    settings = load_profile(profile)
    started = time.perf_counter()
    corpus = load_folder(folder)
    if not corpus.sections:
        raise ValueError(
            f"none of the {len(corpus.files)} file(s) in {folder} could be read: {corpus.files[0].reason}."
        )
    retriever = _indexed(corpus.sections, load_embeddings(settings), settings.chunk_tokens)
    seconds = time.perf_counter() - started
    answerer = Answerer(retriever, shipped_refusal())
    rows = []
    for row in asked:
        answer = answerer.ask(str(row["question"]))
        keys = [[g] if isinstance(g, str) else g for g in row.get("must_contain") or []]
        rows.append(
            {
                "answerable": bool(row["answerable"]),
                "refused": answer.refused,
                "contains": bool(row["answerable"]) and not answer.refused and contains(answer.text, keys),
                "source": any(_same_file(c.source, row.get("source") or "") for c in answer.citations),
                "baseline": bool(row["answerable"]) and contains(_nearest_sentences(answerer, answer.question), keys),
                "milliseconds": answer.milliseconds,
            }
        )
    there = [r for r in rows if r["answerable"]]
    absent = [r for r in rows if not r["answerable"]]
    return {
        "answerable": len(there),
        "contains": _share(there, "contains"),
        "contains_when_answered": _share([r for r in there if not r["refused"]], "contains"),
        "right_source": _share(there, "source"),
        "refused_wrongly": _share(there, "refused"),
        "unanswerable": len(absent),
        "refused_rightly": _share(absent, "refused"),
        "baseline_contains": _share(there, "baseline"),
        "files": {status: n for status, n in corpus.counts().items() if status != "files"},
        "seconds": {
            "index": round(seconds, 2),
            "answer_p50_ms": round(float(np.median([r["milliseconds"] for r in rows])), 1),
        },
    }


def _indexed(sections: Sequence[Document], embeddings: LocalEmbeddings, limit: int) -> HybridRetriever:
    store = FaissStore(embeddings, embedding_text)
    store.sync(chunk_sections(sections, embeddings.count_tokens, limit))
    return HybridRetriever(store=store)


def _nearest_sentences(answerer: Answerer, question: str) -> str:
    """The plain baseline: of the five passages nearest in meaning the three nearest sentences, never refusing."""
    plain = answerer.retriever.varied(weight=1.0, k=5).search(question)
    found = list(
        dict.fromkeys(text[a:b] for h in plain for text in [h.passage.page_content] for a, b in sentence_spans(text))
    )
    nearness = answerer.encode(found) @ answerer.retriever.vector(question)
    return " ".join(found[n] for n in np.argsort(-nearness, kind="stable")[:MAX_SENTENCES])


def _by_document(hits: Sequence[Any]) -> dict[str, float]:
    best: dict[str, float] = {}
    for hit in hits:  # best first, so the first passage of a document is its best
        best.setdefault(hit.passage.metadata["doc"], hit.score)
    return dict(list(best.items())[:10])


def _measure(qrels: dict[str, dict[str, int]], run: Run) -> dict[str, float]:
    import ir_measures

    wanted = [ir_measures.parse_measure(name) for name in METRICS]
    found = ir_measures.calc_aggregate(wanted, {q: qrels[q] for q in run}, run)
    return {METRICS[str(measure)]: round(value, 4) for measure, value in found.items()}


def _jsonl(path: Path, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ValueError(f"{path} is not there: a JSON Lines file with {', '.join(fields)} is needed.")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path.name} line {number} is not JSON: {error}.") from error
            missing = [f for f in fields if f not in row] if isinstance(row, dict) else fields
            if missing:
                raise ValueError(f"{path.name} line {number} lacks {', '.join(missing)}.")
            rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no rows.")
    return rows


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    if not path.is_file():
        raise ValueError(
            f"{path} is not there: a table with query-id, corpus-id and score, separated by tabs, is needed."
        )
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        cells = line.split("\t")
        if len(cells) == 3 and cells[2].strip().lstrip("-").isdigit():
            qrels.setdefault(cells[0], {})[cells[1]] = int(cells[2])
        elif number > 1 and line.strip():
            raise ValueError(
                f"{path.name} line {number} is not 'query-id, corpus-id, score' separated by tabs: {line[:60]}"
            )
    return {q: found for q, found in qrels.items() if any(score > 0 for score in found.values())}


def _same_file(cited: str, wanted: str) -> bool:
    """Whether two paths name one file, though one may start at a folder further up."""
    return bool(wanted) and (cited == wanted or wanted.endswith("/" + cited) or cited.endswith("/" + wanted))


def _share(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    return round(sum(r[key] for r in rows) / len(rows), 4) if rows else None


def _milliseconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
