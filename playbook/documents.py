"""Client files to LangChain Documents, one per section or page, with every file accounted for.

Reads Markdown, HTML, PDF, DOCX, CSV and plain text through the library made for each. It does not know chunks,
embeddings or questions. Conservation law: files in = indexed + empty + duplicate + rejected, each with a reason.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from langchain_core.documents import Document

if TYPE_CHECKING:
    from bs4 import NavigableString, Tag

Status = Literal["indexed", "empty", "duplicate", "rejected"]
Block = tuple[str, str]  # (heading path or page label, text of one paragraph, list item or table row)
MAX_BYTES = 50_000_000
INLINE = frozenset("a abbr b cite code del em font i ins kbd label mark q s small span strong sub sup time u".split())


@dataclass(frozen=True)
class FileReport:
    """What became of one file: its status, why, how many sections and words it gave."""

    source: str
    status: Status
    reason: str
    sections: int = 0
    words: int = 0


@dataclass(frozen=True)
class Corpus:
    """All sections of a folder and the fate of every file in it."""

    sections: tuple[Document, ...]
    files: tuple[FileReport, ...]

    def counts(self) -> dict[str, int]:
        """Files in, and how many ended indexed, empty, duplicate or rejected; the four add up to `files`."""
        by_status = {s: sum(f.status == s for f in self.files) for s in ("indexed", "empty", "duplicate", "rejected")}
        return {"files": len(self.files), **by_status}


def load_folder(folder: Path) -> Corpus:
    """Read every file under `folder` (sorted, recursive, hidden files left out).

    A file that cannot be read costs only itself. Raises ValueError when the folder is missing or holds no file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the folder that holds the client's documents.")
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    if not paths:
        raise ValueError(f"{folder} holds no files: put at least one document into it.")
    sections: list[Document] = []
    files: list[FileReport] = []
    seen: dict[str, str] = {}
    for path in paths:
        source = path.relative_to(folder).as_posix()
        documents, report = load_file(path, source, seen)
        sections += documents
        files.append(report)
    return Corpus(tuple(sections), tuple(files))


def load_file(path: Path, source: str, seen: dict[str, str]) -> tuple[list[Document], FileReport]:
    """Read one file; `seen` maps content hashes to the first file that had them and is added to."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(READERS))
        return [], FileReport(
            source, "rejected", f"{path.suffix or 'no ending'}: not a format we read ({known}); convert it"
        )
    try:
        if path.stat().st_size > MAX_BYTES:
            return [], FileReport(source, "rejected", f"larger than {MAX_BYTES // 1_000_000} MB; split it")
        data = path.read_bytes()
        if not data.strip():
            return [], FileReport(source, "empty", "the file has no content")
        digest = hashlib.sha256(data).hexdigest()
        if digest in seen:
            return [], FileReport(source, "duplicate", f"same content as {seen[digest]}")
        documents = list(_sections(reader(data), source, path.suffix.lower().lstrip("."), digest))
    except Exception as error:  # one bad file must not stop the folder; its reason is shown to the client
        return [], FileReport(source, "rejected", _reason(error))
    if not documents:
        reason = "no text layer: needs OCR" if path.suffix.lower() == ".pdf" else "no text found"
        return [], FileReport(source, "rejected" if path.suffix.lower() == ".pdf" else "empty", reason)
    seen[digest] = source
    words = sum(len(d.page_content.split()) for d in documents)
    return documents, FileReport(source, "indexed", "read", len(documents), words)


def _reason(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    if "password" in text.lower():
        return "password-protected: save a copy without the password"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"damaged or not what its ending says ({type(error).__name__}: {text[:80]})"


def _sections(blocks: Iterable[Block], source: str, kind: str, digest: str) -> Iterator[Document]:
    """Join neighbouring blocks with the same place into one Document; one block is one line of it."""
    place, lines, order = None, [], 0
    for where, text in [*blocks, ("\0end", "end")]:
        if where != place and lines:
            metadata = {"source": source, "kind": kind, "place": place, "order": order, "sha256": digest}
            yield Document(page_content="\n".join(lines), metadata=metadata)
            lines, order = [], order + 1
        place = where
        if text.strip():
            lines.append(" ".join(text.split()))


def decode(data: bytes) -> str:
    """Text of a plain file: UTF-8 (with or without mark) first, else the encoding charset-normalizer finds likeliest."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(data).best()
        if best is None:
            raise ValueError("its text encoding could not be recognised; save it as UTF-8") from None
        return str(best)


def _read_html(data: bytes) -> Iterator[Block]:
    """Each run of text inside one block element is a block, whatever that element is, so that no text is lost."""
    from bs4 import BeautifulSoup, NavigableString

    soup = BeautifulSoup(decode(data), "html.parser")
    for tag in soup(["script", "style", "nav", "template", "title"]):
        tag.decompose()
    for line_break in soup("br"):
        line_break.replace_with(" ")
    strings = [s for s in soup.descendants if type(s) is NavigableString]  # comments and the like are subclasses
    path: list[str] = []
    for _, run in groupby(strings, key=lambda s: id(_owner(s))):
        texts = list(run)
        owner = _owner(texts[0])
        text = _html_row(owner) if owner.name == "tr" else " ".join("".join(texts).split())
        if text and re.fullmatch("h[1-6]", owner.name):
            path = [*path[: int(owner.name[1]) - 1], text]
        elif text:
            yield " > ".join(path), text


def _owner(string: NavigableString) -> Tag:
    """The table row a text stands in, else the nearest element around it that is not part of a running line."""
    row = string.find_parent("tr")
    return row if row and not row.find("table") else next(p for p in string.parents if p.name not in INLINE)


def _html_row(row: Tag) -> str:
    """A table row as a line; empty for the row that holds only the column heads."""
    table = row.find_parent("table")
    first = table.find("tr") if table else row
    is_head = first.find("th") is not None and not any(c.get_text(strip=True) for c in first.find_all("td"))
    if is_head and row is first and table and table.find_all("tr")[1:]:
        return ""
    heads, cells = ([" ".join(c.get_text().split()) for c in r.find_all(["td", "th"])] for r in (first, row))
    return table_row(heads if is_head and row is not first else [], cells)


def table_row(heads: list[str], cells: list[str]) -> str:
    """One table row as a line that can be read alone: `head: cell | head: cell`; empty cells are left out."""
    if len(heads) != len(cells):
        return " | ".join(c for c in cells if c)
    return " | ".join(f"{h}: {c}" if h else c for h, c in zip(heads, cells, strict=True) if c)


def _read_markdown(data: bytes) -> Iterator[Block]:
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(decode(data))
    return _read_html(html.encode("utf-8"))


def _read_docx(data: bytes) -> Iterator[Block]:
    import docx

    path: list[str] = []
    for item in docx.Document(io.BytesIO(data)).iter_inner_content():
        if isinstance(item, docx.table.Table):
            rows = [[cell.text.strip() for cell in row.cells] for row in item.rows]
            heads, body = (rows[0], rows[1:]) if len(rows) > 1 else ([], rows)
            for row in body:
                yield " > ".join(path), table_row(heads, row)
        elif (item.style.name or "").startswith(("Heading", "Title")):
            level = int(item.style.name[-1]) if item.style.name[-1].isdigit() else 1
            path = [*path[: level - 1], item.text.strip()]
        else:
            yield " > ".join(path), item.text


def _read_pdf(data: bytes) -> Iterator[Block]:
    import pypdfium2

    pdf = pypdfium2.PdfDocument(data)
    try:
        for number, page in enumerate(pdf, start=1):
            for paragraph in unwrap(page.get_textpage().get_text_range().splitlines()):
                yield f"page {number}", paragraph
    finally:
        pdf.close()


def unwrap(lines: list[str]) -> Iterator[str]:
    """Paragraphs from a PDF page's printed lines: a line is continued when it is long and does not end a sentence.

    A short line without a full stop, followed by a capital, is a heading or a table row and stays a line of its own.
    """
    width = max((len(line) for line in lines), default=0)
    paragraph = ""
    for line in (raw.strip() for raw in lines):
        paragraph = f"{paragraph} {line}".strip()
        if len(line) < 0.75 * width or line.endswith((".", ":", "!", "?", ";")):
            yield paragraph
            paragraph = ""
    if paragraph:
        yield paragraph


def _read_csv(data: bytes) -> Iterator[Block]:
    text = decode(data).lstrip("\r\n")
    first = text.split("\n", 1)[0]
    rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t|", key=first.count)))
    heads = rows[0]
    for row in rows[1:]:
        if any(cell.strip() for cell in row):
            yield f"row {row[0]}", table_row(heads, row)


def _read_text(data: bytes) -> Iterator[Block]:
    for number, paragraph in enumerate(decode(data).replace("\r\n", "\n").split("\n\n"), start=1):
        for line in paragraph.split("\n"):
            yield f"paragraph {number}", line


READERS: dict[str, Callable[[bytes], Iterator[Block]]] = {
    ".md": _read_markdown,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
    ".docx": _read_docx,
    ".csv": _read_csv,
    ".txt": _read_text,
}
