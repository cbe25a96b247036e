"""Build the sample client's documents from data/sources.

Each source is plain text or Markdown; a small table names the file type it becomes. A second run
gives the same bytes, because all dates are fixed; another zlib version may pack .docx differently.
The tool does not know what the documents say, drops bold and italics, and deletes nothing.
Run it with: python tools/build_documents.py (needs python-docx, markdown-it-py, reportlab).
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

import docx
from markdown_it import MarkdownIt
from reportlab.lib import colors
from reportlab.lib.pagesizes import letter
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "data" / "sources"
DOCUMENTS = ROOT / "data" / "sample_client" / "documents"
COMPANY = "Fennmoor Care Equipment, Inc."
FIXED = datetime(2026, 7, 1)
FORMATS = {  # sources that are not named here are copied as they are
    "pdf": (
        "rental_terms larkrest_300_manual privacy_handbook service_levels larkrest_500_manual "
        "employee_handbook dunesoft_a8_service_manual cobble_transit_manual "
        "heronlift_160_service_bulletin_2026_03 heronlift_160_service_bulletin_2025_07 oxygen_and_fire_safety "
        "board_minutes_march_2026 budget_memo_2026 data_retention_schedule emergency_plan "
        "periodic_inspection_plan "
    ).split(),
    "docx": (
        "heronlift_160_manual dunesoft_a8_p2_guide cobble_wheelchairs_fitting infection_control_procedure "
        "leave_and_time_off warranty_terms credit_and_collections deposits_handling insurance_and_programs "
        "frame_contracts_care_homes sling_selection_guide stillwater_shower_chair_manual hiring_checklist "
        "expense_policy_2026 expense_policy_2025 recall_procedure used_equipment_sales "
        "business_associate_agreement_summary "
    ).split(),
    "html": (
        "delivery_and_shipping billing_faq portal_help_for_customers payment_methods consumables_subscription "
        "travel_rentals customer_survey_2025 power_outage_guide holiday_calendar_2026 password_and_devices "
    ).split(),
}
KINDS = {stem: kind for kind, stems in FORMATS.items() for stem in stems}
MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """One piece of a page: a heading, a paragraph, a list item or a table."""

    kind: str  # heading, text, bullet, number or table
    text: str = ""
    level: int = 0  # heading: 1 or 2; number: the number printed before the item
    rows: tuple[tuple[str, ...], ...] = ()


def blocks(text: str) -> list[Block]:
    """Split Markdown into blocks; lists inside lists are not supported."""
    found, kind, level, table = [], "text", 0, None
    for token in MARKDOWN.parse(text):
        if token.type == "heading_open":
            kind, level = "heading", int(token.tag[1])
        elif token.type in ("heading_close", "bullet_list_close", "ordered_list_close"):
            kind, level = "text", 0
        elif token.type == "bullet_list_open":
            kind = "bullet"
        elif token.type == "list_item_open" and token.info:
            kind, level = "number", int(token.info)
        elif token.type == "table_open":
            table = []
        elif token.type == "tr_open":
            table.append([])
        elif token.type == "table_close":
            found.append(Block("table", rows=tuple(tuple(row) for row in table)))
            table = None
        elif token.type == "inline":
            words = "".join(c.content or " " * (c.type == "softbreak") for c in token.children)
            if table is None:
                found.append(Block(kind, words, level))
            else:
                table[-1].append(words)
    return found


def restart_numbering(document: docx.document.Document, style: str) -> int:
    """Make a list that counts from 1 again; return its number id."""
    numbering = document.part.numbering_part.element
    own = document.styles[style].element.pPr.numPr.numId.val
    fresh = numbering.add_num(numbering.num_having_numId(own).abstractNumId.val)
    fresh.add_lvlOverride(ilvl=0).add_startOverride(1)
    return fresh.numId


def to_docx(text: str) -> bytes:
    """Write Markdown as a Word file with real headings, lists and tables."""
    document = docx.Document()
    parsed, core = blocks(text), document.core_properties
    core.title, core.author, core.last_modified_by = parsed[0].text, COMPANY, COMPANY
    core.comments, core.created, core.modified = "", FIXED, FIXED
    number_id = 0
    for block in parsed:
        if block.kind == "table":
            grid = document.add_table(len(block.rows), len(block.rows[0]), style="Table Grid")
            for r, row in enumerate(block.rows):
                for c, words in enumerate(row):
                    grid.cell(r, c).paragraphs[0].add_run(words).bold = r == 0
            document.add_paragraph()
            continue
        styles = {"heading": f"Heading {block.level}", "bullet": "List Bullet"}
        styles |= {"number": "List Number", "text": "Normal"}
        paragraph = document.add_paragraph(block.text, style=styles[block.kind])
        if block.kind == "number":
            if block.level == 1:
                number_id = restart_numbering(document, "List Number")
            paragraph._p.get_or_add_pPr().get_or_add_numPr().get_or_add_numId().val = number_id
    raw = io.BytesIO()
    document.save(raw)
    return fixed_zip(raw.getvalue())


def fixed_zip(raw: bytes) -> bytes:
    """Rewrite a zip in name order, every entry with the same date."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new:
        # Word wants the list of content types first.
        for name in sorted(old.namelist(), key=lambda n: (n != "[Content_Types].xml", n)):
            entry = zipfile.ZipInfo(name, FIXED.timetuple()[:6])
            entry.create_system, entry.compress_type = 0, zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(name))
    return out.getvalue()


def footer(canvas: Canvas, page: SimpleDocTemplate) -> None:
    """Print the company and the page number under a PDF page."""
    canvas.setFont("Helvetica", 8)
    canvas.drawString(64, 36, f"{COMPANY}  -  page {page.page}")


def to_pdf(text: str) -> bytes:
    """Write Markdown as a PDF with flowing pages, headings and tables that may split."""
    base = getSampleStyleSheet()
    body = ParagraphStyle("body", base["BodyText"], fontSize=10, leading=13.5, spaceAfter=5)
    item = ParagraphStyle("item", body, leftIndent=18, bulletIndent=4, spaceAfter=2)
    cell = ParagraphStyle("cell", body, fontSize=9, leading=11, spaceBefore=0, spaceAfter=0)
    bold = ParagraphStyle("bold", cell, fontName="Helvetica-Bold")
    heads = {1: base["Title"]} | {n: ParagraphStyle(f"h{n}", base[f"Heading{n}"], keepWithNext=1) for n in (2, 3, 4)}
    story: list[Flowable] = []
    parsed = blocks(text)
    for block in parsed:
        if block.kind == "table":
            rows = [
                [Paragraph(escape(words), cell if r else bold) for words in row] for r, row in enumerate(block.rows)
            ]
            grid = Table(rows, repeatRows=1, hAlign="LEFT")
            grid.setStyle(
                [
                    ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
                    ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ]
            )
            story += [Spacer(1, 3), grid, Spacer(1, 8)]
        elif block.kind in ("bullet", "number"):
            mark = f"{block.level}." if block.kind == "number" else "\u2022"
            story.append(Paragraph(escape(block.text), item, bulletText=mark))
        else:
            style = heads[block.level] if block.kind == "heading" else body
            story.append(Paragraph(escape(block.text), style))
    out = io.BytesIO()
    page = SimpleDocTemplate(
        out,
        pagesize=letter,
        leftMargin=64,
        rightMargin=64,
        topMargin=60,
        bottomMargin=60,
        invariant=1,
        pageCompression=0,
        author=COMPANY,
        title=parsed[0].text,
    )
    page.build(story, onFirstPage=footer, onLaterPages=footer)
    return out.getvalue()


def to_html(text: str) -> bytes:
    """Write Markdown as a plain HTML page."""
    title = escape(blocks(text)[0].text)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title} - {COMPANY}</title>\n</head>\n<body>\n<main>\n"
        f"{MARKDOWN.render(text)}</main>\n</body>\n</html>\n"
    ).encode()


def build(sources: Path = SOURCES, target: Path = DOCUMENTS) -> list[Path]:
    """Write every source into the target folder; return the written paths in name order."""
    writers = {"docx": to_docx, "pdf": to_pdf, "html": to_html}
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for source in sorted(path for path in sources.iterdir() if path.is_file()):
        kind = KINDS.get(source.stem, source.suffix.lstrip("."))
        path = target / f"{source.stem}.{kind}"
        if kind in writers:
            path.write_bytes(writers[kind](source.read_text(encoding="utf-8")))
        else:
            path.write_bytes(source.read_bytes())
        written.append(path)
    return written


if __name__ == "__main__":
    for made in build():
        print(f"{made.name:36} {made.stat().st_size:8,d} bytes")
