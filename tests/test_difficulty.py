"""The difficulty table and the file list in data/README.md are current, and the bars are kept."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from langchain_core.documents import Document
from sklearn.metrics import cohen_kappa_score

from tools import difficulty

CLIENT = difficulty.DATA / "sample_client"
README = (difficulty.DATA / "README.md").read_text(encoding="utf-8")
AGAIN = "run: python tools/difficulty.py --write"


def test_the_committed_figures_keep_the_bars_on_tune() -> None:
    table = {row[0]: row for row in difficulty.rows_of(difficulty.stored(README, "difficulty"))}
    for measure, (low, high) in difficulty.BARS.items():
        assert measure in table, f"data/README.md: no line '{measure}' in the difficulty table; {AGAIN}"
        share = float(table[measure][1].split()[0])
        assert low <= share <= high, f"data/README.md, {measure}: {share} on tune, {low} to {high} wanted"
        assert table[measure][3].endswith(": kept"), f"data/README.md, {measure}: the table does not say 'kept'"


def test_the_difficulty_was_measured_on_the_data_that_is_here() -> None:
    block = difficulty.stored(README, "difficulty")
    for part in difficulty.measured_on(difficulty.DATA).split(", "):
        assert part in block, f"data/README.md: the table was measured on another {part.split()[0]}; {AGAIN}"


def test_the_file_list_names_what_is_there() -> None:
    listed = {row[0]: row[1:] for row in difficulty.rows_of(difficulty.stored(README, "files"))}
    found = difficulty.inventory(difficulty.DATA)
    assert set(listed) == set(found), (
        f"data/README.md: {sorted(set(listed) ^ set(found))} not in list or folder; {AGAIN}"
    )
    changed = [name for name, (*_, sha) in found.items() if listed[name][2] != sha]
    assert not changed, f"data/README.md: the hash of {', '.join(changed)} is another one; {AGAIN}"
    assert difficulty.file_table(found) == difficulty.stored(README, "files"), f"data/README.md: sizes differ; {AGAIN}"


def test_every_listed_path_is_described() -> None:
    described = README.split("<!-- files -->")[0]
    for name in difficulty.inventory(difficulty.DATA):
        assert f"`{name}`" in described, f"data/README.md: {name} is listed but not described"


def test_the_stated_agreement_is_the_one_of_the_second_labels() -> None:
    first, second = (
        {row["id"]: row["label"] for row in csv.DictReader((CLIENT / name).open(encoding="utf-8", newline=""))}
        for name in ("examples.csv", "second_labels.csv")
    )
    same = sum(first[name] == label for name, label in second.items())
    kappa = cohen_kappa_score([first[name] for name in second], list(second.values()))
    stated = f"{same} of {len(second)} tickets, Cohen's kappa {kappa:.2f}"
    assert stated in " ".join(README.split()), f"data/README.md: the agreement of second_labels.csv is {stated}"


def test_a_changed_file_changes_its_hash_and_its_folder_s(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two", encoding="utf-8")
    before = difficulty.fingerprint(tmp_path), difficulty.fingerprint(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("one too", encoding="utf-8")
    after = difficulty.fingerprint(tmp_path), difficulty.fingerprint(tmp_path / "a.txt")
    assert before[0] != after[0] and before[1] != after[1]
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert difficulty.fingerprint(tmp_path) != after[0]


@pytest.mark.parametrize(("share", "said"), [(0.54, "NOT KEPT"), (0.55, "kept"), (0.9, "kept"), (0.91, "NOT KEPT")])
def test_a_bar_can_be_missed(share: float, said: str) -> None:
    assert difficulty.verdict(difficulty.BM25, share) == f"0.55 to 0.90: {said}"
    assert difficulty.verdict(difficulty.NAMES, 0.6) == "below 0.60: NOT KEPT"


def passage(source: str, text: str, **metadata: str) -> Document:
    return Document(page_content=text, metadata={"source": source, **metadata})


ROW = "P2-FL | Filter | 4.50"
BELOW = "Rent ends at the close of the business day after the request reaches us."


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (passage("a.md", "anything", heading="Rental > 7 Ending"), True),
        (passage("a.md", "anything", place="Rental > 7 Ending"), True),
        (passage("a.md", "anything else at all, quite long", heading="Rental > 8 Price"), False),
        (passage("a.pdf", "A lead-in. Rent ends at the close of the business day.", place="page 3"), True),
        (passage("a.pdf", "Nothing of the kind is said on this page at all.", place="page 3"), False),
        (passage("a.csv", "part: P2-FL | name: Filter | usd: 4.50"), True),
        (passage("a.csv", "part: P2-TU | name: Tube | usd: 4.50"), False),
        (passage("a.xlsx", "the filter costs 4.50", heading="7 Ending"), True),
        (passage("a.xlsx", "another row of the sheet", heading="7 Ending"), False),
    ],
)
def test_a_passage_counts_as_the_cited_section(found: Document, right: bool) -> None:
    text = ROW if found.metadata["source"] == "a.csv" else BELOW
    assert difficulty.text_of_section(found, "7 Ending", text, [["4.50"]]) is right


def test_markers_and_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="README.md lacks the lines '<!-- files -->'"):
        difficulty.replaced("no markers", "files", "x")
    assert difficulty.replaced("a\n<!-- files -->\n<!-- end of files -->\nb", "files", "x").split("\n")[2] == "x"
    (tmp_path / "questions.csv").write_text("id,question\nq1,why\n", encoding="utf-8")
    with pytest.raises(ValueError, match="questions.csv has no column 'split'"):
        difficulty.by_split(tmp_path / "questions.csv")
    with pytest.raises(ValueError, match="no section 'Nowhere' in returns_policy_v3.md"):
        difficulty.cited_sections("returns_policy_v3.md", "Nowhere")
