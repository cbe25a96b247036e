"""The benchmarks on anybody's files: figures that can be worked out by hand, and bad files named by line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fakes_embedding import HashEmbeddings

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import bench_files


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_files, "load_embeddings", lambda profile: HashEmbeddings())


def beir(folder: Path, queries: int = 8) -> Path:
    """Each query holds the one word that only its document has."""
    corpus = [{"_id": f"d{n}", "title": "", "text": f"The word is strange{n}. And some more."} for n in range(queries)]
    asked = [{"_id": f"q{n}", "text": f"strange{n}"} for n in range(queries)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(queries)))
    return folder


def test_retrieval_finds_each_document_by_its_own_word(tmp_path: Path) -> None:
    figures = bench_files.retrieval(beir(tmp_path))
    for leg in ("bm25", "dense", "hybrid"):
        assert figures[leg] == {"ndcg@10": 1.0, "mrr@10": 1.0, "hit@5": 1.0, "recall@10": 1.0}
    assert figures["queries"] == {"chosen_on": 4, "reported_on": 4}
    assert set(figures["seconds"]) == {"index", "query_p50_ms"}


def test_retrieval_measures_misses(tmp_path: Path) -> None:
    folder = beir(tmp_path)
    lines = (folder / "qrels.tsv").read_text().splitlines()
    wrong = [line.replace("\td", "\tx") for line in lines[1:]]
    (folder / "qrels.tsv").write_text("\n".join([lines[0], *wrong]))
    assert bench_files.retrieval(folder)["hybrid"]["ndcg@10"] == 0.0


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("corpus.jsonl", '{"_id": "d0", "text": "a"}\n{"_id": 1', "corpus.jsonl line 2 is not JSON"),
        ("queries.jsonl", '{"_id": "q0"}', "queries.jsonl line 1 lacks text"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\nq0 d0 1\n", "qrels.tsv line 2 is not"),
        ("corpus.jsonl", "", "has no rows"),
    ],
)
def test_bad_benchmark_files_are_named_with_their_line(tmp_path: Path, file: str, text: str, says: str) -> None:
    folder = beir(tmp_path)
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=says):
        bench_files.retrieval(folder)


def test_answers_counts_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fakes_embedding import refusal

    monkeypatch.setattr(bench_files, "shipped_refusal", lambda: refusal(9.0))
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "rental.md").write_text("# Deposit\n\nA deposit of $150 is due.\n")
    (documents / "empty.txt").write_text("")
    rows = [
        {"question": "How much is the deposit?", "must_contain": [["$150", "150 usd"]], "source": "x/rental.md", "answerable": True},
        {"question": "Deposit in euros?", "must_contain": [["200 euros"]], "source": "rental.md", "answerable": True},
        {"question": "Who runs the deposit office?", "must_contain": [], "source": None, "answerable": False},
    ]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    figures = bench_files.answers(documents, tmp_path / "q.jsonl")
    assert (figures["answerable"], figures["contains"], figures["right_source"]) == (2, 0.5, 1.0)
    assert (figures["unanswerable"], figures["refused_rightly"], figures["refused_wrongly"]) == (1, 0.0, 0.0)
    assert figures["baseline_contains"] == 0.5
    assert figures["files"] == {"indexed": 1, "empty": 1, "duplicate": 0, "rejected": 0}
    monkeypatch.setattr(bench_files, "shipped_refusal", lambda: refusal(-9.0))
    refused = bench_files.answers(documents, tmp_path / "q.jsonl")
    assert (refused["contains"], refused["refused_rightly"], refused["contains_when_answered"]) == (0.0, 1.0, None)
