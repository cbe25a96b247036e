"""Static checks of every notebook: what a reader meets, before anything is run."""

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STRICT = [b for b in BOOKS if b.name[:2] not in ("07", "08")]
WALK = [b for b in BOOKS if b.name[:2] != "90"]
EXPECTED = ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "90"]


def cells(book: Path, kind: str = "") -> list[dict]:
    return [c for c in json.loads(book.read_text(encoding="utf-8"))["cells"] if kind in ("", c["cell_type"])]


def text(cell: dict) -> str:
    return "".join(cell["source"])


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def lines(cell: dict) -> int:
    return sum(bool(line.strip()) for line in text(cell).splitlines())


def test_the_route_is_complete() -> None:
    assert [b.name[:2] for b in BOOKS] == EXPECTED


@pytest.mark.parametrize("book", BOOKS, ids=lambda b: b.name[:2])
def test_format_kernel_and_size(book: Path) -> None:
    raw = json.loads(book.read_text(encoding="utf-8"))
    assert (raw["nbformat"], raw["nbformat_minor"] >= 5) == (4, True)
    assert raw["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in raw["metadata"]
    assert book.stat().st_size < 300_000


@pytest.mark.parametrize("book", BOOKS, ids=lambda b: b.name[:2])
def test_anatomy(book: Path) -> None:
    first, second, *_ = cells(book)
    assert re.match(r"# .+\?\n\n\S", text(first)), "the title is a question, followed by why"
    assert re.fullmatch(r"Runs on: .+ · .+ · (no network|.+) · (no key|.+)", text(second))
    prose = "\n".join(text(c) for c in cells(book, "markdown"))
    if book in WALK:
        for heading in ("## Your turn", "## What this means for the decision", "## Summary"):
            assert heading in prose
        assert cells(book)[-1]["cell_type"] == "markdown" and text(cells(book)[-1]).startswith("Next: ")
    assert sum("parameters" in tags(c) for c in cells(book, "code")) == 1


def test_set_up_cell_is_the_same_everywhere() -> None:
    assert len({text(c) for b in BOOKS for c in cells(b, "code") if "setup" in tags(c)}) == 1
    assert all("setup" in tags(cells(b, "code")[0]) for b in BOOKS)


@pytest.mark.parametrize("book", BOOKS, ids=lambda b: b.name[:2])
def test_cells_are_short_and_explained(book: Path) -> None:
    code = cells(book, "code")
    assert statistics.median(lines(c) for c in code) <= 4
    assert max(lines(c) for c in code) <= 25
    assert len(code) <= 30
    for cell in code:
        for body in re.findall(r"^def .+\n(?:(?:[ \t].*)?\n)*", text(cell) + "\n", re.M):
            assert sum(bool(line.strip()) for line in body.splitlines()) <= 8
    body = cells(book)[[("parameters" in tags(c)) for c in cells(book)].index(True) + 2 :]
    silent = [text(b) for a, b in zip(body, body[1:], strict=False) if a["cell_type"] == b["cell_type"] == "code"]
    assert not silent, f"two code cells without a word between them: {silent[0][:80]!r}"


@pytest.mark.parametrize("book", BOOKS, ids=lambda b: b.name[:2])
def test_outputs_are_stored_in_order_without_errors_or_paths(book: Path) -> None:
    code = cells(book, "code")
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
    stored = json.dumps([c["outputs"] for c in code])
    assert not re.search(r"/home/\w|/Users/\w|/root/|/tmp/|/work/|C:\\\\Users", stored)
    assert not re.search(r"sk-[A-Za-z0-9]{20}|hf_[A-Za-z0-9]{20}", stored)


@pytest.mark.parametrize("book", STRICT, ids=lambda b: b.name[:2])
def test_most_cells_are_compared(book: Path) -> None:
    code = cells(book, "code")
    ignored = [c for c in code if {"nbval-ignore-output", "nbval-skip"} & set(tags(c))]
    assert len(ignored) <= 0.2 * len(code)


@pytest.mark.parametrize("book", [b for b in BOOKS if b not in STRICT], ids=lambda b: b.name[:2])
def test_lax_notebooks_have_checked_cells(book: Path) -> None:
    assert sum("nbval-check-output" in tags(c) for c in cells(book, "code")) >= 4


def test_notebooks_are_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [b.stem for b in BOOKS if b.stem not in readme]
