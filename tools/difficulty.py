"""Measure how hard the sample client's data is, and list what lies in data/ with sizes and hashes.

`python tools/difficulty.py` prints both, `--write` puts them between the markers in data/README.md, `--files` leaves the
measurement out (seconds, no model). It measures the data with the shipped embedder and nothing tuned: no roles, and
superseded papers count like any other. It does not know notebooks, plans or answers, and it changes no data.

When a passage counts as text of the cited section: it is from the right file, and either it stands under the cited
heading (slide title), or passage and section share at least 30 in 100 of the runs of five words of the shorter one.
Tables are cited more closely: in a CSV file all cells of the cited row must stand in the passage; a sheet of a workbook
can be hundreds of rows long, so its passage must hold a key string as well. A question that cites two sections needs a
passage of each.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from playbook.evaluation import Proportion
    from playbook.items import Question
    from playbook.retrieval import HybridRetriever

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
SOURCES = DATA / "sources"
SHARED = 0.3  # share of runs of five words from which a passage counts as text of the section
DEPTH = 5
SPLITS = ("tune", "test")
BM25, DENSE, HYBRID = "BM25 alone, hit@5 on the right section", "embeddings alone, hit@5", "both, weight 0.5, hit@5"
FIRST = "first three sentences of the best passage, key strings right"
NAMES, NEAREST, PROBE = "code by label name", "code by five nearest examples", "code by linear probe"
BARS = {BM25: (0.55, 0.90), NAMES: (0.0, 0.60), PROBE: (0.70, 0.92)}  # measure -> range on tune
HASHED_FOLDERS = ("sources", "sample_client/documents")
NOT_LISTED = ("README.md", "sample_run")  # this file, and what `make refresh` writes and test_sample_run.py compares
Scores = dict[tuple[str, str], "Proportion"]


def source_of(document: str) -> Path:
    """Return the one source file with the stem of a document; raises ValueError unless there is exactly one."""
    found = [path for path in SOURCES.iterdir() if path.stem == Path(document).stem]
    if len(found) != 1:
        raise ValueError(f"{document}: {len(found)} sources with this stem; keep exactly one")
    return found[0]


def sections(path: Path) -> dict[str, str]:
    """Return heading, sheet, slide title or mail subject -> text below it; in a CSV file, part number -> row."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?<=\| )=[^|\n]+ -> ", "", text)  # a cell of a workbook shows its value, not its formula
    if path.suffix == ".csv":  # a row is cited by one of its cells, or by its first two
        rows = [list(row.values()) for row in csv.DictReader(io.StringIO(text, newline=""))]
        return {key: " | ".join(row) for row in rows for key in (*reversed(row), f"{row[0]} {row[1]}")}
    # Markdown headings, "1. CAPITALS" in the handbook, "--- date" in the notes, the subject of a mail.
    pattern = r"^(?:#+ (.+)|(\d+\. [A-Z][A-Z ]+)|(--- .+)|Subject: (.+))$"
    pieces = list(re.finditer(pattern, text, re.MULTILINE))
    if not pieces:
        return {"": text}
    ends = [piece.start() for piece in pieces[1:]] + [len(text)]
    return {
        next(filter(None, piece.groups())): text[piece.end() : end] for piece, end in zip(pieces, ends, strict=True)
    }


def cited_sections(source: str, section: str) -> dict[str, str]:
    """Return cited name -> its source text; notes without headings are cited whole. Raises ValueError for an unknown name."""
    path = source_of(source)
    known = sections(path)
    if path.suffix == ".txt" and section not in known:
        return {section: path.read_text(encoding="utf-8")}
    missing = [name for name in section.split(";") if name not in known]
    if missing:
        raise ValueError(f"no section '{missing[0]}' in {source}")
    return {name: known[name] for name in section.split(";")}


def plain(text: str) -> str:
    """Lower case, Markdown bold dropped, white space squeezed."""
    return " ".join(text.replace("**", "").lower().split())


def runs(text: str, length: int = 5) -> list[tuple[str, ...]]:
    """Return all runs of `length` words; of a shorter text the one run of all its words."""
    words = re.findall(r"\w+", plain(text))
    return [tuple(words[n : n + length]) for n in range(max(1, len(words) - length + 1))] if words else []


def text_of_section(passage: Document, name: str, text: str, keys: Sequence[Sequence[str]]) -> bool:
    """Whether a passage of the right file holds text of the section `name`, by the rule at the top of this file."""
    from playbook.evaluation import contains

    if passage.metadata["source"].endswith(".csv"):
        return all(plain(cell) in plain(passage.page_content) for cell in text.split(" | "))
    if passage.metadata["source"].endswith(".xlsx") and not any(contains(passage.page_content, [k]) for k in keys):
        return False
    heading = passage.metadata.get("heading") or passage.metadata.get("place", "")
    if plain(heading.split(" > ")[-1]) == plain(name):
        return True
    own, theirs = runs(passage.page_content), runs(text)
    shared = len(set(own) & set(theirs))
    return shared > 0 and shared >= SHARED * min(len(set(own)), len(set(theirs)))


def hit(retriever: HybridRetriever, question: Question) -> bool:
    """Whether the five best passages hold text of every section the question cites."""
    found = [h.passage for h in retriever.search(question.question, DEPTH)]
    right = [passage for passage in found if passage.metadata["source"] == question.source]
    cited = cited_sections(question.source, question.section)
    return all(
        any(text_of_section(p, name, text, question.must_contain) for p in right) for name, text in cited.items()
    )


def by_split(path: Path) -> dict[str, str]:
    """Return id -> split of a CSV file; raises ValueError when it has no such column."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if "split" not in rows[0]:
        raise ValueError(f"{path.name} has no column 'split'; add it (train, tune or test)")
    return {row["id"]: row["split"] for row in rows}


def knowledge_scores(client: Path, encoder: object, chunk_tokens: int) -> Scores:
    """Return the share of answerable questions found or answered, (measure, split) -> share with Wilson interval."""
    from playbook.arms import first_sentences
    from playbook.chunking import chunk_sections, embedding_text
    from playbook.documents import load_folder
    from playbook.evaluation import contains, proportion
    from playbook.items import load_questions
    from playbook.retrieval import HybridRetriever
    from playbook.store import FaissStore

    split = by_split(client / "questions.csv")
    asked = [q for q in load_questions(client / "questions.csv") if q.answerable]
    store = FaissStore(encoder, embedding_text)
    store.sync(chunk_sections(load_folder(client / "documents").sections, encoder.count_tokens, chunk_tokens))
    questions = [q.question for q in asked]  # embedded once and together, not one by one for each measure
    vectors = dict(zip(questions, encoder.encode(questions), strict=True))
    store.embedding = SimpleNamespace(embed_query=vectors.__getitem__)
    by_words, by_meaning, both = (HybridRetriever(store=store, weight=weight) for weight in (0.0, 1.0, 0.5))
    baseline = SimpleNamespace(retriever=both)  # all that the baseline asks of an answerer
    judges: dict[str, Callable[[Question], bool]] = {
        BM25: lambda q: hit(by_words, q),
        DENSE: lambda q: hit(by_meaning, q),
        HYBRID: lambda q: hit(both, q),
        FIRST: lambda q: contains(first_sentences(baseline, q.question).text, q.must_contain),
    }
    right = {(measure, q.id): judge(q) for measure, judge in judges.items() for q in asked}
    return {
        (measure, part): proportion(
            sum(right[measure, q.id] for q in asked if split[q.id] == part), sum(split[q.id] == part for q in asked)
        )
        for measure in judges
        for part in SPLITS
    }


def code_scores(client: Path, encode: Callable[[list[str]], np.ndarray]) -> Scores:
    """Return the share of tickets given their code by arms that see `train` only, (measure, split) -> share."""
    from playbook.classifiers import ARMS, Task
    from playbook.evaluation import proportion
    from playbook.items import load_codebook, load_examples

    split, tickets = by_split(client / "examples.csv"), load_examples(client / "examples.csv")
    codes = load_codebook(client / "codebook.csv", tickets)
    parts = {part: [t for t in tickets if split[t.id] == part] for part in ("train", *SPLITS)}
    everything = [t.text for t in tickets] + [c.label for c in codes]
    vectors = dict(zip(everything, encode(everything), strict=True))  # each text is embedded once

    def looked_up(texts: list[str]) -> np.ndarray:
        return np.stack([vectors[text] for text in texts])

    asked = [t for part in SPLITS for t in parts[part]]
    scores: Scores = {}
    for measure, arm in {NAMES: "label_name", NEAREST: "nearest_examples", PROBE: "linear_probe"}.items():
        given = ARMS[arm](Task(parts["train"], [t.text for t in asked], codes, looked_up))
        right = {t.id: code == t.label for t, code in zip(asked, given, strict=True)}
        for part in SPLITS:
            scores[measure, part] = proportion(sum(right[t.id] for t in parts[part]), len(parts[part]))
    return scores


def verdict(measure: str, share: float) -> str:
    """Return what the bar on tune asks and whether the share keeps it; empty for a measure without a bar."""
    if measure not in BARS:
        return ""
    low, high = BARS[measure]
    asked = f"{low:.2f} to {high:.2f}" if low else f"below {high:.2f}"
    return f"{asked}: {'kept' if low <= share <= high and (low or share < high) else 'NOT KEPT'}"


def difficulty_table(scores: Scores, data: Path) -> str:
    """Return the scores as a Markdown table, with the hashes of the data they were measured on."""
    lines = ["| measure | tune | test | bar on tune |", "|---|---|---|---|"]
    for measure in dict.fromkeys(measure for measure, _ in scores):
        cells = []
        for part in SPLITS:
            p = scores[measure, part]
            cells.append(f"{p.share:.2f} ({p.hits} of {p.n}; {p.low:.2f} to {p.high:.2f})")
        lines.append(f"| {measure} | {cells[0]} | {cells[1]} | {verdict(measure, scores[measure, 'tune'].share)} |")
    return "\n".join([*lines, "", f"Measured on {measured_on(data)}."])


def measured_on(data: Path) -> str:
    """Return the beginnings of the hashes of the files that the difficulty table depends on."""
    client = data / "sample_client"
    paths = [client / name for name in ("questions.csv", "examples.csv", "codebook.csv", "documents")]
    return ", ".join(f"`{path.name}` {fingerprint(path)[:12]}" for path in paths)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's sorted relative names and contents, as hexadecimal digits."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for inner in listed(path):
        digest.update(f"{inner.relative_to(path).as_posix()}\0{inner.stat().st_size}\0".encode() + inner.read_bytes())
    return digest.hexdigest()


def listed(folder: Path) -> list[Path]:
    """Return the files below a folder in the order of their names; hidden ones are left out."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def amount(path: Path) -> str:
    """Return how much a file or folder holds: rows of a table, lines of JSONL, words of text, files of a folder."""
    if path.is_dir():
        inner = listed(path)
        texts = [p.read_text(encoding="utf-8") for p in inner if path.name == "sources"]
        words = f", {sum(len(text.split()) for text in texts):,} words" if texts else ""
        return f"{len(inner)} files{words}"
    text = path.read_text(encoding="cp1252" if path.name == "raw_export_b.csv" else "utf-8")
    if path.suffix == ".csv":
        return f"{sum(1 for _ in csv.reader(io.StringIO(text, newline=''))) - 1:,} rows"
    return f"{len(text.splitlines()):,} pairs or lines" if path.suffix == ".jsonl" else f"{len(text.split()):,} words"


def inventory(data: Path) -> dict[str, tuple[int, str, str]]:
    """Return path below data/ -> (bytes, rows or words, SHA-256); the folders of documents count as one entry each."""
    folders = [data / name for name in HASHED_FOLDERS]
    files = [p for p in listed(data) if not any(folder in p.parents for folder in folders)]
    entries = sorted([*files, *folders], key=lambda p: p.relative_to(data).as_posix())
    found = {}
    for path in entries:
        name = path.relative_to(data).as_posix() + ("/" if path.is_dir() else "")
        if name.split("/")[0] not in NOT_LISTED:
            size = sum(p.stat().st_size for p in listed(path)) if path.is_dir() else path.stat().st_size
            found[name] = (size, amount(path), fingerprint(path))
    return found


def file_table(entries: Mapping[str, tuple[int, str, str]]) -> str:
    """Return the inventory as a Markdown table."""
    lines = ["| path | bytes | holds | SHA-256 |", "|---|---|---|---|"]
    return "\n".join(
        lines + [f"| `{name}` | {size:,} | {holds} | `{sha}` |" for name, (size, holds, sha) in entries.items()]
    )


def stored(readme: str, name: str) -> str:
    """Return what stands between the markers `name`; raises ValueError when they are not there."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end of {name} -->", readme, re.DOTALL)
    if not found:
        raise ValueError(f"README.md lacks the lines '<!-- {name} -->' and '<!-- end of {name} -->'; put them back")
    return found[1].strip()


def rows_of(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table's body, backticks dropped."""
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def replaced(readme: str, name: str, block: str) -> str:
    """Return the README with `block` between the markers `name`; raises ValueError when they are not there."""
    stored(readme, name)
    before, rest = readme.split(f"<!-- {name} -->\n", 1)
    after = rest.split(f"<!-- end of {name} -->", 1)[1]
    return f"{before}<!-- {name} -->\n{block}\n<!-- end of {name} -->{after}"


def measure(data: Path) -> Scores:
    """Return all scores of the sample client, with the embedded profile."""
    from playbook.embedding import load_embeddings
    from playbook.models import load_profile

    client, profile = data / "sample_client", load_profile("embedded")
    encoder = load_embeddings(profile)
    return knowledge_scores(client, encoder, profile.chunk_tokens) | code_scores(client, encoder.encode)


def main(arguments: Sequence[str]) -> int:
    """Print the tables, write them when asked, and return 1 when a bar is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into data/README.md")
    parser.add_argument("--files", action="store_true", help="list the files only; measure nothing")
    chosen = parser.parse_args(arguments)
    blocks = {"files": file_table(inventory(DATA))}
    if not chosen.files:
        blocks = {"difficulty": difficulty_table(measure(DATA), DATA)} | blocks
    print("\n\n".join(blocks.values()))
    if chosen.write:
        path = DATA / "README.md"
        text = path.read_text(encoding="utf-8")
        for name, block in blocks.items():
            text = replaced(text, name, block)
        path.write_text(text, encoding="utf-8")
    return int("NOT KEPT" in blocks.get("difficulty", ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
