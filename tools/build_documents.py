"""Build the sample client's documents from data/sources.

Each source is plain text or Markdown; a small table names the file type it becomes. A second run
gives the same bytes, because all dates are fixed; another zlib version may pack .docx, .xlsx and .pptx differently.
The tool does not know what the documents say, does not calculate a formula, drops bold and italics, and deletes nothing.
Run it with: python tools/build_documents.py (needs python-docx, python-pptx, xlsxwriter, markdown-it-py, pillow, reportlab).

How a source says what Markdown cannot:
- Workbook: each `## name` is a sheet. The first paragraph becomes a merged title, the next ones a row each, then an
  empty row and the table. A cell `=C5*D5 -> 418.50` is a formula and the value that is stored with it.
- Slides: each `## title` is a slide; paragraphs that begin with `Notes:` are the speaker's notes.
- Mail: header lines, an empty line, the body; `Format: html` adds the body as HTML; `## Attachment: name` begins a file.
- Scan: a line `---` begins the next page.
"""

from __future__ import annotations

import io
import random
import re
import textwrap
import zipfile
from dataclasses import dataclass
from datetime import date, datetime
from email import policy
from email.message import EmailMessage
from pathlib import Path
from xml.sax.saxutils import escape

import docx
import pptx
import xlsxwriter
from markdown_it import MarkdownIt
from PIL import Image, ImageDraw, ImageFont
from pptx.util import Inches, Pt
from reportlab.lib import colors
from reportlab.lib.pagesizes import letter
from reportlab.lib.pdfencrypt import StandardEncryption
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
    "xlsx": ("rental_fleet_register device_maintenance_cost parts_reorder_levels care_home_service_contracts ").split(),
    "pptx": "driver_safety_refresher_2026 results_talk_for_staff_2026 portal_onboarding_care_homes ".split(),
    "eml": (
        "mail_battery_price_notice mail_winter_plan_kestrel mail_thread_dunmarrow_beds "
        "mail_portal_news_november mail_practice_survey mail_caster_claim "
    ).split(),
    "scan": ["fire_inspection_letter"],
    "locked": ["pay_bands_2026"],
    "cut": ["wheel_lock_bench_notes"],
}
EXTENSIONS = {"scan": "pdf", "locked": "pdf", "cut": "docx"}  # kinds that no reader can read as they are
PASSWORD = "four random words"  # opens the locked PDF; the client in the story has lost it
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


def pdf_grid(block: Block, cell: ParagraphStyle, head: ParagraphStyle) -> Table:
    """Lay out a table whose first row is repeated on each page."""
    rows = [[Paragraph(escape(words), cell if r else head) for words in row] for r, row in enumerate(block.rows)]
    grid = Table(rows, repeatRows=1, hAlign="LEFT")
    grid.setStyle(
        [
            ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
            ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
    )
    return grid


def to_pdf(text: str, lock: StandardEncryption | None = None) -> bytes:
    """Write Markdown as a PDF with flowing pages, headings and tables that may split; `lock` asks for a password."""
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
            grid = pdf_grid(block, cell, bold)
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
        encrypt=lock,
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


def typed(words: str) -> tuple[str | float | date, str]:
    """Return what a cell holds (text, number or date) and the number format that shows it as written."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", words):
        return date.fromisoformat(words), "yyyy-mm-dd"
    if re.fullmatch(r"-?\d+(\.\d+)?%", words):
        return float(words[:-1]) / 100, "0.0%"
    if re.fullmatch(r"-?\d+(\.\d+)?", words):
        return float(words), "0." + "0" * len(words.partition(".")[2]) if "." in words else "0"
    return words, "General"


def write_table(book: xlsxwriter.Workbook, sheet: xlsxwriter.worksheet.Worksheet, top: int, block: Block) -> None:
    """Write a table whose header stands in row `top`, counted from 0; formulas keep their stored value."""
    formats = {
        shown: book.add_format({"num_format": shown}) for shown in ("yyyy-mm-dd", "0.0%", "0", "0.00", "General")
    }
    head = book.add_format({"bold": True, "bg_color": "#DDE6EE", "bottom": 1, "text_wrap": True})
    for c, words in enumerate(block.rows[0]):
        sheet.write_string(top, c, words, head)
        sheet.set_column(c, c, min(34, max(len(row[c].rpartition("-> ")[2]) for row in block.rows) + 2))
    for r, row in enumerate(block.rows[1:], start=top + 1):
        for c, words in enumerate(row):
            formula, arrow, stored = words.rpartition(" -> ")
            value, shown = typed(stored)
            form = formats.get(shown) or book.add_format({"num_format": shown})
            if arrow:
                sheet.write_formula(r, c, formula, form, value)
            elif isinstance(value, date):
                sheet.write_datetime(r, c, value, form)
            elif words:
                sheet.write(r, c, value, form)


def to_xlsx(text: str) -> bytes:
    """Write Markdown as a workbook, one sheet for each heading of level 2."""
    raw, parsed = io.BytesIO(), blocks(text)
    book = xlsxwriter.Workbook(raw, {"in_memory": True, "strings_to_formulas": False})
    book.set_properties({"title": parsed[0].text, "author": COMPANY, "created": FIXED})
    title = book.add_format({"bold": True, "font_size": 14})
    sheet, row = None, 0
    for block in parsed[1:]:
        if block.kind == "heading":
            sheet, row = book.add_worksheet(block.text), 0
        elif block.kind == "table":
            row += row > 0  # an empty row above, except at the top of a sheet
            write_table(book, sheet, row, block)
            row += len(block.rows)
        else:
            if row == 0:
                sheet.merge_range(0, 0, 0, 7, block.text, title)
            else:
                sheet.write_string(row, 0, block.text)
            row += 1
    book.close()
    return fixed_zip(raw.getvalue())


def add_slide(deck: pptx.presentation.Presentation, title: str, content: list[Block]) -> None:
    """Add one slide: the lines at the top, a table below them, the notes behind."""
    notes = [block.text.removeprefix("Notes: ") for block in content if block.text.startswith("Notes: ")]
    lines = [
        f"{block.level}. {block.text}" if block.kind == "number" else block.text
        for block in content
        if block.kind != "table" and not block.text.startswith("Notes: ")
    ]
    tables = [block.rows for block in content if block.kind == "table"]
    slide = deck.slides.add_slide(deck.slide_layouts[(1 if lines else 5) if len(deck.slides) else 0])
    slide.shapes.title.text = title
    if lines:
        body = slide.placeholders[1]
        body.text_frame.text = "\n".join(lines)
        if len(deck.slides) > 1:
            high = 0.6 * len(lines) if tables else 5.2
            body.left, body.top, body.width, body.height = Inches(0.5), Inches(1.5), Inches(9), Inches(high)
        for paragraph in body.text_frame.paragraphs:
            paragraph.font.size = Pt(20)
    for rows in tables:
        top = 1.6 + 0.6 * len(lines)
        shape = slide.shapes.add_table(len(rows), len(rows[0]), Inches(0.5), Inches(top), Inches(9), Inches(0.3))
        for r, row in enumerate(rows):
            for c, words in enumerate(row):
                shape.table.cell(r, c).text = words
                shape.table.cell(r, c).text_frame.paragraphs[0].font.size = Pt(14)
    if notes:
        slide.notes_slide.notes_text_frame.text = "\n".join(notes)


def to_pptx(text: str) -> bytes:
    """Write Markdown as slides with speaker notes; the first heading and what follows is the title slide."""
    deck, raw, parsed = pptx.Presentation(), io.BytesIO(), blocks(text)
    core = deck.core_properties
    core.title, core.author, core.last_modified_by = parsed[0].text, COMPANY, COMPANY
    core.created, core.modified = FIXED, FIXED
    starts = [n for n, block in enumerate(parsed) if block.kind == "heading"]
    for start, end in zip(starts, [*starts[1:], len(parsed)], strict=True):
        add_slide(deck, parsed[start].text, parsed[start + 1 : end])
    deck.save(raw)
    return fixed_zip(raw.getvalue())


def to_eml(text: str) -> bytes:
    """Write a mail with the headers, the body and the attachments of the source; line ends are CRLF."""
    head, _, rest = text.partition("\n\n")
    body, *files = re.split(r"^## Attachment: (.+)\n+", rest, flags=re.MULTILINE)
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    as_html = headers.pop("Format", "") == "html"
    mail = EmailMessage(policy=policy.SMTP)
    for name, words in headers.items():
        mail[name] = words
    mail.set_content(body.strip() + "\n", cte="quoted-printable")
    if as_html:
        mail.add_alternative(f"<html><body>\n{MARKDOWN.render(body)}</body></html>\n", "html", cte="quoted-printable")
    for name, content in zip(files[::2], files[1::2], strict=True):
        if name.endswith(".pdf"):
            mail.add_attachment(to_pdf(content), maintype="application", subtype="pdf", filename=name)
        else:
            subtype = "csv" if name.endswith(".csv") else "plain"
            mail.add_attachment(content.strip() + "\n", subtype, filename=name, cte="quoted-printable")
    for n, part in enumerate(part for part in mail.walk() if part.is_multipart()):
        part.set_boundary(f"=_fennmoor_part_{n}")  # the library's own boundary is random
    return mail.as_bytes()


def to_scan(text: str) -> bytes:
    """Print the text on page images, a little crooked and dusty, and bind them as a PDF without a text layer."""
    font, pages = ImageFont.load_default(23), []
    for number, words in enumerate(text.split("\n---\n")):
        page = Image.new("L", (1275, 1650), 247)  # letter at 150 dots an inch
        lines = [wrapped for line in words.splitlines() for wrapped in textwrap.wrap(line.lstrip("# "), 88) or [""]]
        ImageDraw.Draw(page).multiline_text((130, 120), "\n".join(lines), fill=45, font=font, spacing=9)
        page = page.rotate(0.6 - 1.1 * number, resample=Image.Resampling.BICUBIC, fillcolor=247)
        dust = random.Random(number)
        for _ in range(160):
            page.putpixel((dust.randrange(1275), dust.randrange(1650)), dust.randrange(80, 200))
        pages.append(page)
    out, when = io.BytesIO(), FIXED.timetuple()
    rest = {"save_all": True, "append_images": pages[1:], "resolution": 150, "quality": 45}
    pages[0].save(out, "PDF", creationDate=when, modDate=when, **rest)
    return out.getvalue()


def to_locked(text: str) -> bytes:
    """Write Markdown as a PDF that opens with a password only (128 bit RC4: the newer cipher is salted by chance)."""
    return to_pdf(text, StandardEncryption(PASSWORD, ownerPassword=PASSWORD, strength=128))


def to_cut(text: str) -> bytes:
    """Write Markdown as a Word file of which the second half is missing, as after a broken transfer."""
    whole = to_docx(text)
    return whole[: len(whole) // 2]


def build(sources: Path = SOURCES, target: Path = DOCUMENTS) -> list[Path]:
    """Write every source into the target folder; return the written paths in name order."""
    writers = {"docx": to_docx, "pdf": to_pdf, "html": to_html, "xlsx": to_xlsx, "pptx": to_pptx, "eml": to_eml}
    writers |= {"scan": to_scan, "locked": to_locked, "cut": to_cut}
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for source in sorted(path for path in sources.iterdir() if path.is_file()):
        kind = KINDS.get(source.stem, source.suffix.lstrip("."))
        path = target / f"{source.stem}.{EXTENSIONS.get(kind, kind)}"
        if kind in writers:
            path.write_bytes(writers[kind](source.read_text(encoding="utf-8")))
        else:
            path.write_bytes(source.read_bytes())
        written.append(path)
    return written


if __name__ == "__main__":
    for made in build():
        print(f"{made.name:36} {made.stat().st_size:8,d} bytes")
