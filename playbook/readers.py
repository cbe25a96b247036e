"""One file's bytes to blocks of text, each format through the library made for it; runs as a process of its own.

A block is (heading path, number, text): text is one paragraph, list item or table row; number is its page, row, slide
or paragraph. In a PDF a form feed inside the text marks the page break that a sentence crosses. `python -m
playbook.readers` reads one JSON path per line from its input and answers with one line, so that a hostile file can
hurt nothing but this process. Knows no folder, no audience and no chunk; what it leaves out it says in `notes`.
"""

import csv
import email.policy
import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from itertools import chain, groupby, islice, pairwise, zip_longest
from pathlib import Path
from typing import Any

from playbook.checked import TABLES, read_yaml
from playbook.printed import paragraphs, printed_lines

Block = tuple[str, int, str]
Item = tuple[int, int, str]  # what a reader of one format gives: (level, number, text); level 0 is text, 1 and more a
# heading, -1 a heading that is a mere label ("Sheet1") and not worth keeping where nothing stands below it

OCR = 10 if find_spec("docling") else 1  # the extra that reads scans takes more of everything
SECONDS, MEMORY = 60 * OCR, 2 * OCR * 2**30
MAX_BYTES, MAX_UNZIPPED, MAX_TEXT = 50_000_000, 300_000_000, 5_000_000
FORMATS = read_yaml(TABLES / "formats.yaml")


class Unreadable(ValueError):
    """A file we cannot read; the message is the reason its owner is shown."""


def read(data: bytes, ending: str, notes: list[str]) -> Iterator[Block]:
    """Blocks of one file by its ending (".pdf"), at most MAX_TEXT characters; what was left out is added to `notes`.

    Raises Unreadable with a reason for people, or whatever the format's library raises on damage.
    """
    room = MAX_TEXT
    for heading, number, text in outline(_items(data, ending, notes)):
        heading, text = _line(heading), "\f".join(map(_line, text.split("\f") if ending == ".pdf" else [text]))
        yield heading, number, text[:room]
        room -= len(heading) + len(text)
        if room <= 0:
            notes.append(f"only the first {MAX_TEXT // 10**6} million characters were read: split the file")
            return


def _items(data: bytes, ending: str, notes: list[str]) -> Iterator[Item]:
    """What the format's reader gives, once the content is what its ending says."""
    if ending not in READERS:
        unknown = f"{ending or 'no ending'}: not a format we read ({', '.join(READERS)})"
        raise Unreadable(FORMATS["convert"].get(ending, unknown))
    for rule in FORMATS["refused"]:
        if re.fullmatch(rule["ending"], ending) and re.match(rule["begins"].encode("latin-1"), data):
            raise Unreadable(rule["says"].format(ending=ending))
    if ending[:4] in (".doc", ".xls", ".ppt"):
        _check_parts(zipfile.ZipFile(io.BytesIO(data)), 200 * len(data), notes)
    return READERS[ending](data, notes)


def _check_parts(archive: zipfile.ZipFile, most: int, notes: list[str]) -> None:
    """Refuse an Office file that unpacks to more than `most` bytes, and note what of it is not read."""
    size = sum(entry.file_size for entry in archive.infolist())
    if size > min(MAX_UNZIPPED, max(20_000_000, most)):
        raise Unreadable(f"unpacks to {size // 10**6:,} MB, more than a document holds: split it")
    for rule in FORMATS["not_read"]:
        parts = [name for name in archive.namelist() if re.fullmatch(rule["part"], name)]
        found = [(name, match) for name in parts for match in re.findall(rule["holds"].encode(), archive.read(name))]
        for name, first in found[:1]:
            notes.append(rule["says"].format(count=len(found), part=Path(name).stem, first=first.decode("latin-1")))


def reason(error: Exception) -> str:
    """Why a file was rejected, in words its owner understands."""
    text, name = _line(str(error)), type(error).__name__
    says = next(rule["says"] for rule in FORMATS["faults"] if re.search(rule["error"], f"{name}: {text}"))
    return says.format(name=name, text=text, memory=MEMORY // 2**30)


def _line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())


def outline(items: Iterable[Item]) -> Iterator[Block]:
    """Text under its heading path "A > B"; a heading with nothing below it is given as text, so that it is not lost."""
    path: list[tuple[int, str]] = []
    said = (item for item in items if item[2].strip())
    for (level, number, text), (below, *_) in pairwise(chain(said, [(1, 0, "")])):
        while level and path and path[-1][0] >= abs(level):
            path.pop()
        if level and (not below or abs(below) > abs(level)):
            path.append((abs(level), text))
        elif level >= 0:
            yield " > ".join(title for _, title in path), number, text


def table_row(heads: list[str], cells: list[str], ragged: bool = False) -> str:
    """One table row as a line that can be read alone: `head: cell | head: cell`; empty cells are left out.

    A row of another length than its heads has slipped and is given without them, but not in a `ragged` table.
    """
    named = heads if ragged or len(heads) == len(cells) else []
    return " | ".join(f"{h}: {c}" if h else c for h, c in zip_longest(named, cells, fillvalue="") if c)


def table_items(rows: Iterable[list[str]], words: int = 0) -> Iterator[Item]:
    """Rows, numbered from 1, as lines under the heads: the first row that is mostly filled and has `words` words.

    Rows above it are plain lines. With `words` the table is ragged: a sheet's row ends with its last cell.
    """
    lines = ((n, [_line(cell) for cell in cells]) for n, cells in enumerate(rows, start=1) if any(cells))
    ahead = list(islice(lines, 30))
    width = max((sum(map(bool, cells)) for _, cells in ahead), default=0)
    heads: list[str] = []
    for number, cells in chain(ahead, lines):
        named = sum(bool(re.search(r"[^\W\d]|^(19|20)\d\d$", cell)) for cell in cells)
        if not heads and len(ahead) > 1 and named >= words and sum(map(bool, cells)) > 0.6 * width:
            heads = cells
        else:
            yield 0, number, table_row(heads, cells, ragged=words > 0)


def decode(data: bytes, notes: list[str], declared: str = "") -> str:
    """Text of a plain file: by its mark, as UTF-8, as declared, or by the likeliest encoding, which is then noted."""
    from charset_normalizer import from_bytes

    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", declared):
        with suppress(UnicodeDecodeError, LookupError):
            if "\0" not in (text := data.decode(encoding)):
                return text
    best = None if b"\0" in data else from_bytes(data[:1_000_000]).best()
    if best is None:
        raise Unreadable("no text, or in an unknown encoding: save it as UTF-8 text or give it its right ending")
    notes.append(f"its encoding was guessed: {best.encoding}")
    return data.decode(best.encoding, "replace")


def _read_txt(data: bytes, notes: list[str]) -> Iterator[Item]:
    """Paragraphs by blank lines; a first line in capitals, or with a rule below it, is a heading."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(decode(data, notes).splitlines()))
    for number, paragraph in enumerate(filter(str.strip, paragraphs), start=1):
        first, *lines = [line.strip() for line in paragraph.strip().split("\n")]
        name = re.sub(r"^(\d+\.)*\d*[.)]? ", "", first)
        if lines and re.fullmatch(r"={3,}|-{3,}", lines[0]):
            yield 1 if lines.pop(0)[0] == "=" else 2, number, first
        elif name.isupper() and len(re.findall(r"[^\W\d]", name)) > 3 and not re.search(r"\d|\.$", name):
            yield max(1, len(re.findall(r"\d+", first))), number, first
        else:
            lines.insert(0, first)
        yield from ((0, number, line) for line in lines if re.search(r"\w", line))


def _read_md(data: bytes, notes: list[str]) -> Iterator[Item]:
    from markdown_it import MarkdownIt

    text = re.sub(r"\A---\n(.*?)\n---\n", r"\1\n\n", "\n".join(decode(data, notes).splitlines()), flags=re.S)
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable("table")
    return _read_html(parser.render(text).encode(), notes)


def _read_html(data: bytes, notes: list[str]) -> Iterator[Item]:
    """Each run of text inside one block element is an item, whatever that element is, so that no text is lost."""
    import bs4

    declared = bs4.dammit.EncodingDetector.find_declared_encoding(data[:2048], is_html=True) or ""
    soup = bs4.BeautifulSoup(re.sub("(?i)<br", " <br", decode(data, notes, declared)), "html.parser")
    for tag in soup(["script", "style", "nav", "template", "title"]):
        tag.decompose()
    for table in soup("table"):
        rows = [row for row in table("tr") if row.find_parent("table") is table and not row.find("table")]
        texts = [[_line(cell.get_text()) for cell in row(["td", "th"])] for row in rows]
        named = len(rows) > 1 and rows[0].find("th") and not any(cell.get_text(strip=True) for cell in rows[0]("td"))
        heads = texts[0] if named else []
        for row, cells in zip(rows, texts, strict=True):
            row.string = "" if cells is heads else table_row(heads, cells)
    owned = [(next(tag for tag in s.parents if tag.name not in FORMATS["inline"]), s) for s in soup.strings]
    for number, (_, run) in enumerate(groupby(owned, key=lambda pair: id(pair[0])), start=1):
        (block, *_), texts = zip(*run, strict=True)
        yield int(block.name[1]) if re.fullmatch("h[1-6]", block.name) else 0, number, "".join(texts)


def _read_csv(data: bytes, notes: list[str]) -> Iterator[Item]:
    text = decode(data, notes)
    first = text.lstrip().split("\n", 1)[0]
    csv.field_size_limit(MAX_BYTES)
    return table_items(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=first.count)))


def _read_xlsx(data: bytes, _: list[str]) -> Iterator[Item]:
    import openpyxl

    for sheet in openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True).worksheets:
        sheet.reset_dimensions()  # what a sheet says of its own size is often wrong, and cells would be dropped
        yield -1, 0, sheet.title if sheet.sheet_state == "visible" else f"{sheet.title} (hidden sheet)"
        yield from table_items(([_cell(cell) for cell in row] for row in sheet.iter_rows()), words=2)


def _cell(cell: Any) -> str:
    """A cell as a person sees it: dates as ISO; percent, decimals and currency as formatted, noise digits dropped."""
    value = cell.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(getattr(value, "isoformat", value.__str__)()).removesuffix("T00:00:00")
    style = re.sub(r"\[\$([^\]-]*)[^\]]*\]", r"\1", cell.number_format or "").replace('"', "").split(";")[0]
    head, digits, tail = re.match(r"([^0#]*)([0#,.]*)(.*)", style, re.S).groups()
    places, percent = digits.partition(".")[2].count("0"), "%" in tail
    form = f"{',' if ',' in digits else ''}.{f'{places}f' if places or percent else '15g'}"
    before, after = ("".join(re.findall(" ?[$€£¥%]", part)) for part in (head, tail))
    return f"{before}{round(value * 100**percent, 8):{form}}{after}"


def _read_docx(data: bytes, _: list[str]) -> Iterator[Item]:
    """Body under its headings; then headers, footers, footnotes, endnotes and comments, each text once."""
    import docx

    document = docx.Document(io.BytesIO(data))
    named = {s.style_id: f"{s.name}\n{getattr(s, 'base_style', None) and s.base_style.name}" for s in document.styles}
    found = {style: re.search(r"^(?:Title$|Heading (\d))", names, re.M) for style, names in named.items()}
    yield from _xml_items(document.element, {style: 1 + int(name[1] or 0) for style, name in found.items() if name})
    given = set()
    for part in sorted(document.part.package.iter_parts(), key=lambda part: part.partname):
        if kind := re.search(r"/(header|footer|footnote|endnote|comment)s?\d*\.xml$", part.partname):
            yield -1, 0, f"{kind[1].capitalize()}s"
            items = [item for item in _xml_items(docx.oxml.parse_xml(part.blob), {}) if item[2] not in given]
            given |= {text for *_, text in items}
            yield from items


def _read_pptx(data: bytes, _: list[str]) -> Iterator[Item]:
    import pptx

    for number, slide in enumerate(pptx.Presentation(io.BytesIO(data)).slides, start=1):
        title = slide.shapes.title
        said = _line(title.text_frame.text) if title is not None else ""
        yield 1 if said else -1, number, said or f"slide {number}"
        yield from ((0, number, text) for *_, text in _xml_items(slide.element, {}) if text != said)
        if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None and frame.text.strip():
            yield 0, number, f"Notes: {frame.text}"


def _xml_items(root: Any, levels: dict[str, int]) -> Iterator[Item]:
    """Text of Office XML by the table row or paragraph it stands in, boxes too, without deletions and second copies.

    Heads are a table's first row. A cell merged downwards counts in each of its rows, one merged across once.
    """
    for hidden in list(root.iter("{*}del", "{*}moveFrom", "{*}Fallback")):
        hidden.getparent().remove(hidden)
    pieces = root.iter("{*}t", "{*}tab", "{*}br", "{*}cr")
    runs = (piece for piece in pieces if piece.getparent().tag.endswith(("}r", "}p", "}fld")))
    rows: dict[Any, list[list[str]]] = {}  # of each table: its heads, and the row above
    for number, (owner, run) in enumerate(groupby(runs, lambda piece: _in(piece, "tr", "p")), start=1):
        texts = list(run)
        if not owner.tag.endswith("}tr"):
            yield levels.get(getattr(owner, "style", None), 0), number, _shown(texts)
            continue
        table, cells = _in(owner, "tbl"), list[str]()
        heads, above = rows.get(table, [[], []])
        for cell in (c for c in owner.iter("{*}tc") if _in(c, "tr") is owner):
            merged = cell.vMerge in ("continue", True) and len(cells) < len(above)
            inside = groupby((t for t in texts if _in(t, "tc") is cell), lambda piece: _in(piece, "p"))
            own = " ".join(_shown(run) for _, run in inside)
            cells += [above[len(cells)] if merged else own, *[""] * (getattr(cell, "grid_span", 1) - 1)]
        if table in rows or len(list(table.iter("{*}tr"))) == 1:
            yield 0, number, table_row(heads, cells)
        rows[table] = [heads if table in rows else cells, cells]


def _in(node: Any, *names: str) -> Any:
    """The nearest element around `node` of the first name that is found at all."""
    return next(element for name in names for element in node.iterancestors(f"{{*}}{name}"))


def _shown(nodes: Iterable[Any]) -> str:
    return _line("".join(node.text or " " for node in nodes))


def _read_pdf(data: bytes, notes: list[str]) -> Iterator[Item]:
    """Headings and paragraphs in reading order; a line that recurs at the edge of the pages is given once."""
    import pypdfium2

    with closing(pypdfium2.PdfDocument(data)) as pdf:
        pages = [printed_lines(page, number) for number, page in enumerate(pdf, start=1)]
        bare = [str(n) for n, lines in enumerate(pages, 1) if not lines and next(pdf[n - 1].get_objects(), None)]
    if not any(pages):
        return _scan_items(data, notes)
    if bare:
        notes.append(f"page {', '.join(bare[:5])}{' and more' if bare[5:] else ''} has no text layer")
    return paragraphs(pages)


def _scan_items(data: bytes, notes: list[str]) -> Iterator[Item]:
    """A scan read by the optional docling, page by page."""
    if OCR == 1:
        raise Unreadable("no text layer: needs OCR (the extra [ocr] reads scans)")
    from docling.datamodel.base_models import DocumentStream
    from docling.document_converter import DocumentConverter

    scan = DocumentConverter().convert(DocumentStream(name="scan.pdf", stream=io.BytesIO(data))).document
    for page in scan.pages:
        items = _read_md(scan.export_to_markdown(page_no=page).encode(), notes)
        yield from ((level, page, text) for level, _, text in items)


def _read_mail(data: bytes, notes: list[str]) -> Iterator[Item]:
    """The messages of a mailbox, which begins with the word From, or the one message of an .eml."""
    for part in re.split(rb"(?:\A|\r?\n\r?\n)From [^\n]*\n", data)[1:] if data[:5] == b"From " else [data]:
        yield from _mail(email.message_from_bytes(part, policy=email.policy.default), notes)


def _mail(message: Any, notes: list[str]) -> Iterator[Item]:
    """Header line, body and attachments of one message, under its subject; so too a mail in a mail, one level down."""
    yield 1, 0, str(message["Subject"] or "no subject")
    yield 0, 0, " | ".join(f"{name}: {message[name]}" for name in ("From", "To", "Date", "Subject") if message[name])
    body = message.get_body(("plain", "html"))
    for part in [part for part in (body, *message.iter_attachments()) if part is not None] or [message]:
        kind = part.get_content_subtype()
        name = (part is not body and part.get_filename()) or f"part.{kind.replace('plain', 'txt')}"
        try:
            if kind == "rfc822":
                yield from ((level and level + 1, 0, text) for level, _, text in _mail(part.get_content(), notes))
                continue
            if part is not body:
                yield 2, 0, name
            data = part.get_payload(decode=True) or b""
            if part.get_content_maintype() == "text":
                data = decode(data, notes, part.get_content_charset() or "").encode()
            items = _items(data, Path(name).suffix.lower(), notes)
            yield from ((level and abs(level) + 2, 0, text) for level, _, text in items)
        except Exception as error:  # one bad attachment costs only itself
            yield 0, 0, f"{name} was not read: {reason(error)}"


READERS = {ending: globals()[f"_read_{kind}"] for ending, kind in FORMATS["read"].items()}


def answer(path: Path) -> dict[str, Any]:
    """{"sha256", "blocks", "notes"} of one file, or {"error": reason}, with "fatal" when this process is used up."""
    notes: list[str] = []
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"larger than {MAX_BYTES // 10**6} MB: split it")
        data = path.read_bytes()
        blocks = list(read(data, path.suffix.lower(), notes)) if data.strip() else []
        notes = list(dict.fromkeys(notes)) if data.strip() else ["the file has no content"]
        return {"sha256": hashlib.sha256(data).hexdigest(), "blocks": blocks, "notes": notes}
    except Exception as error:  # one bad file must not stop the folder; its reason is shown to the client
        return {"error": reason(error), "fatal": isinstance(error, MemoryError)}


def serve() -> None:
    """Answer requests (one JSON path per line) until the input ends, within the memory limit where there is one."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit, macOS does not keep it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        print(json.dumps(answer(Path(json.loads(line)))), file=out, flush=True)


if __name__ == "__main__":
    serve()
