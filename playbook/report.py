"""Artifacts to the client's decision record: HTML, Word, Markdown and PDF from one template, and the seal on them.

Renders what it is given through a Jinja2 template with escaping on; decides nothing and computes nothing. Client text
is data here: it can never become markup. The page can be read without a script and needs no other file; the one script
in it moves the break-even, and the page's own policy allows no other.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from playbook.checked import TABLES, Frozen, read_yaml
from playbook.engagement import ROUTE, Engagement, EngagementError, digest, write_atomic

_TABLE = read_yaml(TABLES / "report.yaml")
SEAL = "seal.json"
LIMIT: str = _TABLE["limit"]  # of what a seal shows
POINT, HIGHLIGHT = 12700, 7  # Word's units of length in a point; its number for yellow
WORD_STYLES = {"p": None, "li": "List Bullet"} | {f"h{level}": f"Heading {level}" for level in range(1, 5)}


class Seal(Frozen):
    """What a record said and what it rested on when it was written; kept beside it.

    `content`: its text, line by line. `rests_on`: SHA-256 of each artifact and input. `files`: SHA-256 of each written
    file, by its ending. It shows edits, not who made them: it is no signature.
    """

    content: tuple[str, ...]
    rests_on: dict[str, str]
    files: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """SHA-256 of the content and of what it rests on; stands inside the files too."""
        return digest(json.dumps([self.content, sorted(self.rests_on.items())]))


def render(parts: Mapping[str, Any]) -> str:
    """The decision record as HTML from the artifacts' models; raises jinja2's UndefinedError for a missing part."""
    how = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(TABLES), finalize=_visible, **how)
    environment.filters["words"] = _words
    environment.filters["anchor"] = lambda name: re.sub(r"\W", "-", name)
    environment.filters["p_value"] = lambda p: f"p {p:.3f}" if p >= 0.001 else "p below 0.001"
    environment.filters["percent"] = "{:.0%}".format
    environment.filters["money"] = "{:,.0f}".format
    for ending in ("css", "js"):
        code = (TABLES / f"report.{ending}").read_text(encoding="utf-8")
        hashed = b64encode(bytes.fromhex(digest(code))).decode()  # as a policy writes it
        environment.globals |= {ending: code, f"{ending}_hash": f"'sha256-{hashed}'"}
    return environment.get_template("report.html.j2").render(**parts)


def _visible(value: Any) -> str:
    """A value as it is printed: without characters that cannot be seen or that turn text around."""
    text = value if isinstance(value, str) else str(value)
    return type(text)(re.sub(_TABLE["unseen"], "\ufffd", text))


def _words(text: object) -> str:
    """Names of columns and options as a reader writes them."""
    plain = str(text).replace("_", " ")
    return re.sub(r"\b(rag|lora)\b", lambda m: {"rag": "RAG", "lora": "LoRA"}[m.group()], plain)


def _readable(html: str) -> Any:
    """The record's body without what only moves on a screen."""
    from bs4 import BeautifulSoup

    page = BeautifulSoup(html, "html.parser")
    for live in page.select(".live"):
        live.decompose()
    for folded in page("summary"):
        folded.name = "h4"
    return page.main or page


def as_markdown(html: str) -> str:
    """The record as Markdown, client text escaped; in place of a picture stand its words, its figures are in tables."""
    from markdownify import markdownify

    body = _readable(html)
    for picture in body("img"):
        picture.replace_with(f"({picture.get('alt', '')})")
    return markdownify(str(body), heading_style="ATX", strip=["a"], escape_misc=True) + "\n"


def as_word(html: str, title: str, digest: str) -> bytes:
    """The record as an editable Word file with real headings, lists, tables and pictures, and nothing that runs."""
    from docx import Document

    document = Document()
    document.styles["Normal"].font.size = 10 * POINT
    document.styles["No Spacing"].font.size = 8 * POINT  # in tables
    document.styles["Normal"].paragraph_format.space_before = 4 * POINT
    about = document.core_properties
    about.title, about.author, about.comments, about.identifier = title, "", "", digest
    for page in document.sections:
        page.left_margin = page.right_margin = 50 * POINT
    for block in _readable(html)([*WORD_STYLES, "img", "table"]):
        if block.name == "table":
            _word_table(document, [row(["th", "td"]) for row in block("tr")])
        elif block.name == "img":
            document.add_picture(BytesIO(b64decode(block["src"].partition(",")[2])), width=450 * POINT)
        else:
            _word_text(document.add_paragraph(style=WORD_STYLES[block.name]), block)
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def _word_table(document: Any, rows: Sequence[Sequence[Any]]) -> None:
    table = document.add_table(0, len(rows[0]), "Light Grid Accent 1")
    for row in rows:
        for cell, given in zip(table.add_row().cells, row, strict=True):
            cell.paragraphs[0].style = "No Spacing"
            _word_text(cell.paragraphs[0], given)


def _word_text(paragraph: Any, block: Any) -> None:
    """An element's text, in bold and highlighted where the page shows it so."""
    for text in block.find_all(string=True):
        words, around = re.sub(r"\s+", " ", text), {e.name for e in text.parents}
        run = paragraph.add_run(words if paragraph.text else words.lstrip())
        run.bold = not around.isdisjoint(("b", "th")) or None
        run.font.highlight_color = HIGHLIGHT if "mark" in around else None


def write_report(client: Engagement, parts: Mapping[str, Any], rests_on: Sequence[str]) -> list[Path]:
    """Write the record as HTML, Markdown and Word, each whole or not at all, and seal it; returns the paths.

    `rests_on`: the artifacts and inputs behind it, by the names that `Engagement.input_hash` takes.
    """
    drafted = as_markdown(render({**parts, "client": client.name, "seal": ""}))
    seal = Seal(content=drafted.splitlines(), rests_on={name: client.input_hash(name) for name in rests_on})
    html = render({**parts, "client": client.name, "seal": seal.digest})
    word = as_word(html, client.settings.title, seal.digest)
    files = {".html": html.encode(), ".md": drafted.encode(), ".docx": word}
    hashes = {ending: digest(content) for ending, content in files.items()}
    write_atomic(client.report.with_name(SEAL), seal.model_copy(update={"files": hashes}).model_dump_json(indent=1))
    return [write_atomic(client.report.with_suffix(ending), content) for ending, content in files.items()]


def write_pdf(client: Engagement) -> Path:
    """The written HTML as a PDF beside it (extra `pdf`); raises ValueError saying what to do where that is missing."""
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:  # the library, or the system libraries that it draws with
        raise ValueError(_TABLE["mistakes"]["no_pdf"].format(path=client.report)) from error
    return write_atomic(client.report.with_suffix(".pdf"), HTML(client.report).write_pdf())


def verify(client: Engagement, path: Path) -> list[str]:
    """What no longer fits between one file of a record, its seal and the engagement; an empty list when all does.

    Names each artifact and input that changed, with its notebook, and quotes the first lines of the text that differ.
    Raises EngagementError without a seal or for an artifact that is gone, and OSError for a file that cannot be read.
    """
    kept, words, ending = client.report.with_name(SEAL), _TABLE["verify"], path.suffix.lower()
    try:
        seal = Seal.model_validate_json(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngagementError(_TABLE["mistakes"]["no_seal"].format(path=kept)) from error
    file, told = path.read_bytes(), []
    if digest(file) != seal.files.get(ending):
        lines = _differences(seal.content, ending, file.decode("utf-8", "replace"))
        told += [words["file"].format(name=path.name, said=words["text" if lines else "look"]), *lines]
    elif ending == ".html" and seal.digest.encode() not in file:
        told += [words["seal"]]
    for name in (name for name, then in seal.rests_on.items() if client.input_hash(name) != then):
        fix = f"run notebooks/{ROUTE[name]}.ipynb" if name in ROUTE else f"playbook run {client.name}"
        told += [words["input"].format(name=name, fix=fix)]
    return told


def _differences(content: Sequence[str], ending: str, file: str) -> list[str]:
    """The first lines that were taken out (-) or put in (+); none where a file's text is the same or is not text."""
    texts = {".html": as_markdown, ".md": str}
    now = texts[ending](file).splitlines() if ending in texts else content
    changes = islice(unified_diff(content, now, n=0, lineterm=""), 2, None)  # after the two names
    return [f"  {_visible(line):.200}" for line in islice((c for c in changes if c[0] != "@"), _TABLE["quoted"])]
