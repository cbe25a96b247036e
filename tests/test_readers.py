"""Every format: its text is read with heading and number, nothing is lost, and what cannot be read has its reason."""

from __future__ import annotations

import datetime
import io
import random
import re
import sys
import types
import zipfile
from collections.abc import Callable
from email.message import EmailMessage

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import qn
from pptx.util import Inches
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen import canvas

from playbook import readers
from playbook.readers import Block, answer, decode, outline, read, reason, table_items, table_row

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # how an old Office file begins
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def blocks(name: str, data: bytes | str) -> list[Block]:
    return read_with_notes(name, data)[0]


def read_with_notes(name: str, data: bytes | str) -> tuple[list[Block], list[str]]:
    notes: list[str] = []
    found = list(read(data.encode() if isinstance(data, str) else data, "." + name.rsplit(".", 1)[-1], notes))
    return found, notes


def texts(name: str, data: bytes | str) -> list[str]:
    return [text for *_, text in blocks(name, data)]


def saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


Printed = tuple[float, str, str, int]  # height on the page, text, font, size


def pdf(*pages: list[str | Printed], encrypt: StandardEncryption | None = None) -> bytes:
    """Plain strings stand below each other in 11 point; a tuple says where and how."""
    buffer = io.BytesIO()
    drawing = canvas.Canvas(buffer, pagesize=A4, encrypt=encrypt)
    for page in pages:
        for row, printed in enumerate(page):
            height, text, font, size = (
                (760 - 14 * row, printed, "Helvetica", 11) if isinstance(printed, str) else printed
            )
            drawing.setFont(font, size)
            drawing.drawString(72, height, text)
        drawing.showPage()
    drawing.save()
    return buffer.getvalue()


def rezipped(data: bytes, change: Callable[[str, bytes], bytes | None], **more: bytes) -> bytes:
    """A zip whose entries went through `change` (None drops one), with more entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in more.items():
            new.writestr(name, content)
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------------------------- the basics


def test_outline_gives_heading_paths_and_loses_no_heading() -> None:
    items = [(1, 1, "A"), (2, 1, "B"), (0, 2, "b"), (3, 3, "C"), (0, 3, "c"), (2, 4, "D"), (2, 5, "E"), (0, 6, "e")]
    assert list(outline([(0, 0, "first"), *items, (1, 7, "End")])) == [
        ("", 0, "first"),
        ("A > B", 2, "b"),
        ("A > B > C", 3, "c"),
        ("A", 4, "D"),
        ("A > E", 6, "e"),
        ("", 7, "End"),
    ]
    assert list(outline([(2, 1, "x"), (0, 1, "y"), (0, 1, " "), (1, 2, " ")])) == [("x", 1, "y")]


def test_outline_keeps_every_text_of_any_order_of_headings() -> None:
    chance = random.Random(5)
    for _ in range(300):
        items = [(chance.choice([0, 0, 1, 2, 3, 4]), n, f"t{n}") for n in range(chance.randrange(12))]
        found = list(outline(items))
        held = {word for heading, _, text in found for word in [*heading.split(" > "), text]} - {""}
        assert held == {text for *_, text in items}
        assert [t for *_, t in found if (0, int(t[1:]), t) in items] == [t for level, _, t in items if not level]


def test_table_row_without_matching_heads_keeps_every_cell() -> None:
    assert table_row(["A", "B"], ["1", "2", "3"]) == "1 | 2 | 3"
    assert table_row(["A", ""], ["1", "2"]) == "A: 1 | 2"


def test_heads_are_the_first_mostly_filled_row_and_rows_above_are_lines() -> None:
    rows = [["Price list"], [], ["", "2025", "2026"], ["Filter", "12", "14"], ["Hose", "3"]]
    assert [(n, text) for _, n, text in table_items(rows, words=2)] == [
        (1, "Price list"),
        (4, "Filter | 2025: 12 | 2026: 14"),
        (5, "Hose | 2025: 3"),
    ]
    assert list(table_items([["only", "row"]])) == [(0, 1, "only | row")]
    assert [t for *_, t in table_items([["1", "2"], ["3", "4"]], words=2)] == ["1 | 2", "3 | 4"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_text_is_decoded_without_its_mark(encoding: str) -> None:
    notes: list[str] = []
    assert decode("Grüße, naïve café – 14 days.".encode(encoding), notes) == "Grüße, naïve café – 14 days."
    assert notes == []


def test_text_in_another_encoding_is_decoded_and_the_guess_is_noted() -> None:
    text = (
        "Die Geschäftsführung prüft die Gebühr für größere Aufträge. Rückgabe nur gegen Quittung, später nicht mehr.\n"
    )
    found, notes = read_with_notes("a.txt", (text * 5).encode("latin-1"))
    assert "Geschäftsführung prüft die Gebühr für größere Aufträge." in found[0][2]
    assert notes[0].startswith("its encoding was guessed: ")


def test_a_declared_encoding_comes_before_a_guess() -> None:
    html = '<html><head><meta charset="iso-8859-15"></head><body><p>Gebühr 5 €</p></body></html>'.encode("iso-8859-15")
    assert read_with_notes("a.html", html) == ([("", 1, "Gebühr 5 €")], [])
    assert decode(b"caf\xe9", [], "no-such-encoding") != ""


def test_binary_under_a_text_ending_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(readers.Unreadable, match="no text, or in an unknown encoding"):
        blocks("a.txt", b"text \0\1\2 binary")
    monkeypatch.setattr("charset_normalizer.from_bytes", lambda data: types.SimpleNamespace(best=lambda: None))
    with pytest.raises(readers.Unreadable, match="save it as UTF-8"):
        blocks("a.txt", b"caf\xe9")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.md", pdf(["x"]), "holds a PDF, not what .md says: give it its right ending"),
        ("a.csv", saved(docx.Document()), "holds a zip or Office file, not what .csv says"),
        ("a.pdf", saved(docx.Document()), "holds a zip or Office file, not what .pdf says"),
        ("a.txt", OLE + b"x", "holds an old Office file, not what .txt says"),
        ("a.docx", OLE + b"WordDocument", "an old Office file named .docx: open it and save it as .docx"),
        ("a.xlsx", OLE + "EncryptedPackage".encode("utf-16-le"), "password-protected: save a copy"),
        ("a.pptx", pdf(["x"]), "holds a PDF, not what .pptx says: give it its right ending"),
        ("a.pptx", b"just text", "damaged or not what its ending says (BadZipFile"),
        ("a.docx", b"PK\x03\x04 not a zip", "damaged or not what its ending says (BadZipFile"),
        ("a.docx", saved(openpyxl.Workbook()), "damaged or not what its ending says"),
        ("a.xlsx", saved(docx.Document()), "damaged or not what its ending says"),
        ("a.pdf", pdf(["x"])[:40], "damaged or not what its ending says"),
        (
            "a.pdf",
            pdf(["x"], encrypt=StandardEncryption("open", canPrint=0)),
            "password-protected: save a copy without",
        ),
        ("a.doc", b"x", "an old Word file: open it and save it as .docx"),
        ("a.msg", b"x", "an Outlook message: open it and save it as .eml"),
        ("a.xyz", b"x", ".xyz: not a format we read (.md, "),
        ("a.eml", b"no header at all\n\njust text", "no mail: it has no sender, date or subject"),
        ("a.mbox", b"just text", "no mail: it has no sender, date or subject"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, data: bytes, said: str) -> None:
    with pytest.raises(Exception) as caught:  # every library raises its own
        blocks(name, data)
    assert reason(caught.value).startswith(said)


def test_reasons_for_rights_and_memory(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(PermissionError("denied")) == "no permission to read it"
    (tmp_path / "a.txt").write_text("x")

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(readers, "read", out_of_memory)
    assert answer(tmp_path / "a.txt") == {"error": "needs more than 2 GB of memory: split it", "fatal": True}


def test_zip_bombs_are_refused_before_they_are_unpacked() -> None:
    bomb = rezipped(saved(docx.Document()), lambda _, content: content, bomb=b"\0" * 60_000_000)
    assert len(bomb) < 200_000
    with pytest.raises(readers.Unreadable, match="unpacks to 60 MB, more than a document holds"):
        blocks("a.docx", bomb)


def test_text_is_cut_at_the_limit_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_TEXT", 2_000_000)
    found, notes = read_with_notes("a.txt", "word " * 100 + "\n\n" + "\n\n".join(["x" * 999_000] * 3))
    assert [len(text) for *_, text in found] == [499, 999_000, 999_000, 1501]
    assert notes == ["only the first 2 million characters were read: split the file"]


# -------------------------------------------------------------------------------------------------- text, Markdown, HTML


def test_plain_text_paragraphs_are_numbered() -> None:
    assert blocks("a.txt", "One\r\ntwo.\r\n\r\n\n  Three.\r\n") == [("", 1, "One"), ("", 1, "two."), ("", 2, "Three.")]


def test_plain_text_headings() -> None:
    text = "HANDBOOK\nShort.\n\n1. BEFORE YOU LEAVE\nLoad it.\n\n1.2 THE VAN\nLock it.\n\n"
    text += "Care\n====\nWipe.\n\nMore\n---\nDry.\n\n-----\nEND. 5"
    assert [(heading, text) for heading, _, text in blocks("a.txt", text)] == [
        ("HANDBOOK", "Short."),
        ("1. BEFORE YOU LEAVE", "Load it."),
        ("1. BEFORE YOU LEAVE > 1.2 THE VAN", "Lock it."),
        ("Care", "Wipe."),
        ("Care > More", "Dry."),
        ("Care > More", "END. 5"),
    ]


@pytest.mark.parametrize("line", ["LR-310", "OK", "2026-05-01", "STOP AT THE DOOR.", "Call 614-555-0137"])
def test_codes_short_words_and_sentences_are_no_headings(line: str) -> None:
    assert blocks("a.txt", f"{line}\nnext") == [("", 1, line), ("", 1, "next")]


def test_markdown_sections_carry_their_heading_path() -> None:
    found = blocks("a.md", "# Care\n\nWipe it\ndry.\n\n- Soap\n- Water\n\n## Filters\n\nMonthly.\n\n# End\n\nBye.\n")
    assert [(h, t) for h, _, t in found] == [
        ("Care", "Wipe it dry."),
        ("Care", "Soap"),
        ("Care", "Water"),
        ("Care > Filters", "Monthly."),
        ("End", "Bye."),
    ]


def test_markdown_table_rows_name_their_columns_and_front_matter_is_text() -> None:
    assert texts("a.md", "| Part | Price |\n|---|---|\n| LR-310 | $14 |\n| LR-320 |  |\n") == [
        "Part: LR-310 | Price: $14",
        "Part: LR-320",
    ]
    assert blocks("a.md", "---\ntitle: Care\nby: us\n---\n# A\n\nb\n")[0][::2] == ("", "title: Care by: us")


def test_html_inside_markdown_is_text_and_never_markup() -> None:
    found = texts("a.md", "<script>alert(1)</script>\n\nReal text.\n")
    assert found[-1] == "Real text."
    assert "<script>" in found[0], "what the client wrote stays readable as text"


def test_html_headings_paragraphs_lists_and_table() -> None:
    html = (
        "<html><head><title>x</title><style>p {}</style></head><body><nav>Menu</nav><h1>Delivery</h1><p>By <b>van</b>.</p>"
        "<ul><li>Today</li></ul><h2>Fees</h2><table><tr><th>Zone</th><th>Fee</th></tr><tr><td>A</td><td>$5</td></tr></table>"
        "<script>var secret = 1</script></body></html>"
    )
    assert [(h, t) for h, _, t in blocks("a.html", html)] == [
        ("Delivery", "By van."),
        ("Delivery", "Today"),
        ("Delivery > Fees", "Zone: A | Fee: $5"),
    ]


def test_html_row_headers_are_kept() -> None:
    html = "<table><tr><th>Monday</th><td>9 to 5</td></tr><tr><th>Sunday</th><td>closed</td></tr></table>"
    assert texts("a.htm", html) == ["Monday | 9 to 5", "Sunday | closed"]


def test_html_text_outside_paragraphs_is_not_lost() -> None:
    html = "<body><p>First.</p><div>Second <b>div</b>.<p>Third.</p>Fourth.</div><dl><dt>Fifth</dt><dd>Sixth</dd></dl>Seventh</body>"
    text = " ".join(texts("a.html", html))
    for word in ("First", "Second", "div", "Third", "Fourth", "Fifth", "Sixth", "Seventh"):
        assert text.count(word) == 1, word


def test_html_blocks_of_the_same_words_stay_blocks() -> None:
    assert texts("a.html", "<p>same</p><p>same</p><p>same</p>") == ["same", "same", "same"]


def test_html_words_in_running_lines_keep_their_blanks_and_stops() -> None:
    assert texts("a.html", "<p><b>Pay</b> <i>only</i> <a href='#'>here</a>.<br>Not<br/>there.</p>") == [
        "Pay only here. Not there."
    ]


def test_html_row_of_another_length_and_tables_inside_tables_are_not_lost() -> None:
    html = "<table><tr><td>Outer<table><tr><td>Inner</td><td>12</td></tr></table></td></tr><tr><td>A</td><td>B</td></tr></table>"
    assert texts("a.html", html) == ["Outer", "Inner | 12", "A | B"]
    html = "<table><tr><th>Only</th><th>heads</th></tr></table>"
    html += "<table><tr><td></td><th>Mon</th></tr><tr><th>Open</th><td>9</td></tr></table>"
    assert texts("b.html", html) == ["Only | heads", "Open | Mon: 9"]


def test_html_comments_are_no_text_and_a_list_in_a_list_is_read_once() -> None:
    assert texts("a.html", "<!doctype html><!-- hidden --><div>Shown</div>") == ["Shown"]
    assert texts("a.html", "<ul><li>Outer<ul><li>Inner</li></ul></li></ul>") == ["Outer", "Inner"]


# -------------------------------------------------------------------------------------------------------------- tables


def test_csv_rows_repeat_their_heads_and_carry_their_number() -> None:
    assert blocks("a.csv", 'part,note\nLR-310,"filter,\nwashable"\nLR-320,\n\nLR-330,x') == [
        ("", 2, "part: LR-310 | note: filter, washable"),
        ("", 3, "part: LR-320"),
        ("", 5, "part: LR-330 | note: x"),
    ]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_csv_with_another_separator_keeps_decimal_commas(mark: str) -> None:
    rows = [["part", "price", "note"], ["LR-310", "14,50", "a, b"], ["LR-320", "9,00", "c, d"]]
    assert texts("a.tsv", "\n".join(mark.join(row) for row in rows)) == [
        "part: LR-310 | price: 14,50 | note: a, b",
        "part: LR-320 | price: 9,00 | note: c, d",
    ]


def test_csv_of_one_column_of_heads_only_and_with_slipped_rows() -> None:
    assert texts("a.csv", "closed on\n2027-01-01\n2027-07-05\n") == ["closed on: 2027-01-01", "closed on: 2027-07-05"]
    assert texts("a.csv", "part,price\n") == ["part | price"]
    assert texts("a.csv", "part,price\nLR-310,1,400\nLR-320,5\n") == ["LR-310 | 1 | 400", "part: LR-320 | price: 5"]


def workbook() -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    sheet.append(["Price list, valid from April"])
    sheet.merge_cells("A1:D1")
    sheet.append([])
    sheet.append(["Part", "Price", "Share", "From", "Open"])
    sheet.append(["LR-310", 12.500000001, 0.125, datetime.datetime(2026, 4, 1), True])
    sheet.append(["LR-320", 1234.5, 0.5, datetime.datetime(2026, 4, 1, 9, 30), None, "extra"])
    sheet["C4"].number_format, sheet["C5"].number_format = "0.0%", "0%"
    sheet["B5"].number_format = '"$"#,##0.00'
    hidden = book.create_sheet("Old")
    hidden.sheet_state = "hidden"
    hidden.append(["secret", "row"])
    book.create_sheet("Empty")
    return book


def test_xlsx_rows_repeat_their_heads_and_cells_read_as_people_see_them() -> None:
    assert blocks("a.xlsx", saved(workbook())) == [
        ("Prices", 1, "Price list, valid from April"),
        ("Prices", 4, "Part: LR-310 | Price: 12.5 | Share: 12.5% | From: 2026-04-01 | Open: True"),
        ("Prices", 5, "Part: LR-320 | Price: $1,234.50 | Share: 50% | From: 2026-04-01T09:30:00 | extra"),
        ("Old (hidden sheet)", 1, "secret | row"),
    ]


@pytest.mark.parametrize(
    ("value", "style", "shown"),
    [
        (3, "General", "3"),
        (1e6, "General", "1000000"),
        (1234567, "#,##0", "1,234,567"),
        (0.1 + 0.2, "General", "0.3"),
        (-4, "0.00", "-4.00"),
        (12.5, "#,##0.00 [$€-407]", "12.50 €"),
        (12.5, "[$£-809]0.00", "£12.50"),
        (12.5, "#,##0.00€", "12.50€"),
        (-1234.5, '_("$"* #,##0.00_);_("$"* (#,##0.00)', "$-1,234.50"),
        (0.125, "0.0%", "12.5%"),
        (0, "General", "0"),
        (123456789012345, "General", "123456789012345"),
        (100 / 3, "General", "33.33333333"),
        (0.3333, "0%", "33%"),
        (datetime.time(9, 30), "h:mm", "09:30:00"),
        ("  two \n words", "@", "two words"),
    ],
)
def test_cell_formats(value: object, style: str, shown: str) -> None:
    book = openpyxl.Workbook()
    book.active["A1"], book.active["A1"].number_format = value, style
    assert texts("a.xlsx", saved(book)) == [shown]


def test_xlsx_formulas_give_their_stored_result_or_are_named() -> None:
    book = openpyxl.Workbook()
    book.active.append(["Part", "Double"])
    book.active.append(["LR-310", "=2*7"])
    found, notes = read_with_notes("a.xlsx", saved(book))
    assert found == [("Sheet", 2, "Part: LR-310")]
    assert notes == ["1 formula(s) without a stored result, as in B2: save the file in Excel"]

    def stored(name: str, content: bytes) -> bytes:
        return content.replace(b"<v></v>", b"<v>14</v>").replace(b"<v />", b"<v>14</v>").replace(b"<v/>", b"<v>14</v>")

    assert read_with_notes("a.xlsx", rezipped(saved(book), stored)) == ([("Sheet", 2, "Part: LR-310 | Double: 14")], [])


def test_xlsx_charts_are_named_as_not_read() -> None:
    book = workbook()
    book.active.add_chart(openpyxl.chart.BarChart(), "H2")
    assert read_with_notes("a.xlsx", saved(book))[1] == ["1 chart(s) or diagram(s) not read, the first in drawing1"]


def test_xlsx_whose_declared_size_is_wrong_loses_no_cell() -> None:
    wrong = rezipped(
        saved(workbook()), lambda _, c: re.sub(rb'<dimension ref="[^"]*" ?/>', b'<dimension ref="A1:A1"/>', c)
    )
    assert blocks("a.xlsx", wrong) == blocks("a.xlsx", saved(workbook()))


def test_xlsx_with_a_far_cell_is_read_quickly() -> None:
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "near", "far"
    assert blocks("a.xlsx", saved(book)) == [("Sheet", 1, "near"), ("Sheet", 1048576, "far")]


# ------------------------------------------------------------------------------------------------- Word and PowerPoint


def word_file() -> bytes:
    document = docx.Document()
    document.add_heading("Manual", level=0)
    document.add_heading("Care", level=1)
    document.add_paragraph("Wipe it dry.")
    document.add_heading("Filters", level=2)
    document.add_paragraph("Change them monthly.")
    table = document.add_table(rows=3, cols=2)
    for row, cells in zip(table.rows, [("Part", "Price"), ("LR-310", "$14"), ("LR-320", "")], strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_heading("Warranty", level=1)
    run = document.add_paragraph("Two years.").runs[0]
    document.add_comment(run, text="Really two?", author="Odile")
    document.sections[0].header.paragraphs[0].text = "Fennmoor"
    document.sections[0].footer.paragraphs[0].text = "Confidential"
    return saved(document)


def test_docx_headings_tables_headers_footers_and_comments() -> None:
    assert [(h, t) for h, _, t in blocks("a.docx", word_file())] == [
        ("Manual > Care", "Wipe it dry."),
        ("Manual > Care > Filters", "Change them monthly."),
        ("Manual > Care > Filters", "Part: LR-310 | Price: $14"),
        ("Manual > Care > Filters", "Part: LR-320"),
        ("Manual > Warranty", "Two years."),
        ("Comments", "Really two?"),
        ("Footers", "Confidential"),
        ("Headers", "Fennmoor"),
    ]


def test_docx_style_based_on_a_heading_is_a_heading() -> None:
    document = docx.Document()
    document.styles.add_style("Chapter", 1).base_style = document.styles["Heading 1"]
    document.add_paragraph("Care", style="Chapter")
    document.add_paragraph("Wipe it.")
    assert [(h, t) for h, _, t in blocks("a.docx", saved(document))] == [("Care", "Wipe it.")]


def test_docx_table_of_one_row_merged_cells_and_a_table_in_a_table() -> None:
    document = docx.Document()
    one = document.add_table(rows=1, cols=2).rows[0].cells
    one[0].text, one[1].text = "Hotline", "614-555-0137"
    table = document.add_table(rows=4, cols=3)
    for row, cells in enumerate(
        [("Zone", "Day", "Fee"), ("North", "Mon", "$5"), ("", "Tue", "$6"), ("Both", "", "$7")]
    ):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    table.cell(1, 0).merge(table.cell(2, 0)).text = "North"
    table.cell(3, 0).merge(table.cell(3, 1)).text = "Both"
    inner = table.cell(1, 2).add_table(rows=1, cols=2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "inner", "cell"
    assert texts("a.docx", saved(document)) == [
        "Hotline | 614-555-0137",
        "Zone: North | Day: Mon | Fee: $5",
        "inner | cell",
        "Zone: North | Day: Tue | Fee: $6",
        "Zone: Both | Fee: $7",
    ]


def test_paragraphs_of_one_cell_are_not_glued_together() -> None:
    document = docx.Document()
    cells = document.add_table(rows=1, cols=2).rows[0].cells
    cells[0].text, cells[1].text = "North", "Mon"
    cells[0].add_paragraph("South")
    assert texts("a.docx", saved(document)) == ["North South | Mon"]


def test_docx_shows_insertions_controls_and_boxes_but_no_deletions() -> None:
    document = docx.Document()
    paragraph = document.add_paragraph("Pay ")
    xml = f"""<w:p {W}><w:r><w:t>start</w:t><w:tab/></w:r><w:ins w:id="1"><w:r><w:t>inserted</w:t></w:r></w:ins>
        <w:del w:id="2"><w:r><w:delText>deleted</w:delText></w:r></w:del>
        <w:moveFrom w:id="3"><w:r><w:t>moved away</w:t></w:r></w:moveFrom></w:p>"""
    control = f"<w:sdt {W}><w:sdtContent><w:p><w:r><w:t>in a control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    box = f"""<w:r {W} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><mc:AlternateContent>
        <mc:Choice Requires="wps"><w:txbxContent><w:p><w:r><w:t>in a box</w:t></w:r></w:p></w:txbxContent></mc:Choice>
        <mc:Fallback><w:txbxContent><w:p><w:r><w:t>in a box</w:t></w:r></w:p></w:txbxContent></mc:Fallback>
        </mc:AlternateContent></w:r>"""
    paragraph._p.addnext(parse_xml(control))
    paragraph._p.addnext(parse_xml(xml))
    paragraph._p.append(parse_xml(box))
    assert texts("a.docx", saved(document)) == ["Pay", "in a box", "start inserted", "in a control"]


def test_docx_footnotes_are_read() -> None:
    notes = f'<w:footnotes {W}><w:footnote w:id="1"><w:p><w:r><w:t>Only in zone 2.</w:t></w:r></w:p></w:footnote></w:footnotes>'
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    target = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"

    def link(name: str, content: bytes) -> bytes:
        if name == "[Content_Types].xml":
            return content.replace(
                b"</Types>", f'<Override PartName="/word/footnotes.xml" ContentType="{kind}"/></Types>'.encode()
            )
        if name == "word/_rels/document.xml.rels":
            new = f'<Relationship Id="rId99" Type="{target}" Target="footnotes.xml"/></Relationships>'
            return content.replace(b"</Relationships>", new.encode())
        return content

    document = docx.Document()
    document.add_paragraph("Delivery costs $5.")
    data = rezipped(saved(document), link, **{"word/footnotes.xml": notes.encode()})
    assert blocks("a.docx", data)[-1] == ("Footnotes", 1, "Only in zone 2.")


def test_docx_charts_are_named_as_not_read() -> None:
    space = "http://schemas.openxmlformats.org/drawingml/2006/chart"

    def with_chart(name: str, content: bytes) -> bytes:
        chart = f'<w:drawing xmlns:c="{space}"><a:graphicData xmlns:a="a" uri="{space}"/></w:drawing>'
        inside = f"<w:body><w:p><w:r>{chart}</w:r></w:p>".encode()
        return content.replace(b"<w:body>", inside) if name == "word/document.xml" else content

    assert read_with_notes("a.docx", word_file())[1] == []
    found, notes = read_with_notes("a.docx", rezipped(word_file(), with_chart))
    assert found == blocks("a.docx", word_file())
    assert notes == ["1 chart(s) or diagram(s) not read, the first in document"]


def test_pptx_titles_text_groups_tables_and_notes() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Delivery"
    slide.placeholders[1].text = "By van\nBefore noon"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "in a group"
    table = slide.shapes.add_table(2, 2, 0, 0, Inches(2), Inches(1)).table
    for at, text in zip([(0, 0), (0, 1), (1, 0), (1, 1)], ["Zone", "Fee", "A", "$5"], strict=True):
        table.cell(*at).text = text
    slide.notes_slide.notes_text_frame.text = "Say it\nslowly."
    deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "Only a title"
    deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame.text = "No title"
    deck.slides.add_slide(deck.slide_layouts[6])
    found = blocks("a.pptx", saved(deck))
    assert sorted(found[:5]) == sorted(
        [
            ("Delivery", 1, "By van"),
            ("Delivery", 1, "Before noon"),
            ("Delivery", 1, "in a group"),
            ("Delivery", 1, "Zone: A | Fee: $5"),
            ("Delivery", 1, "Notes: Say it slowly."),
        ]
    )
    assert found[5:] == [("", 2, "Only a title"), ("slide 3", 3, "No title")]


def test_pptx_tab_stops_of_a_style_are_no_text() -> None:
    deck = pptx.Presentation()
    frame = deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame
    frame.text = "By van"
    style = OxmlElement("a:lvl1pPr")
    style.append(OxmlElement("a:tabLst"))
    style[0].append(OxmlElement("a:tab"))
    frame._txBody.find(qn("a:lstStyle")).append(style)
    assert texts("a.pptx", saved(deck)) == ["By van"]


def test_pptx_charts_are_named_as_not_read() -> None:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Sales"
    data = CategoryChartData()
    data.categories = ["Q1"]
    data.add_series("2026", [3])
    slide.shapes.add_chart(XL_CHART_TYPE.PIE, 0, 0, 999, 999, data)
    assert read_with_notes("a.pptx", saved(deck))[1] == ["1 chart(s) or diagram(s) not read, the first in slide1"]


# ----------------------------------------------------------------------------------------------------------------- PDF

LINE = "A deposit of one hundred and fifty dollars is due on the day on which we deliver it"


def test_pdf_paragraphs_are_joined_and_headings_found_by_size_and_weight() -> None:
    page = [
        (780, "Rental terms", "Helvetica", 18),
        (740, "Deposit", "Helvetica-Bold", 11),
        (720, LINE, "Helvetica", 11),
        (706, "to your door. It is given back.", "Helvetica", 11),
        (680, "Bring it back.", "Helvetica", 11),
    ]
    assert blocks("a.pdf", pdf(page)) == [
        ("Rental terms > Deposit", 1, f"{LINE} to your door. It is given back."),
        ("Rental terms > Deposit", 1, "Bring it back."),
    ]


def test_pdf_sentence_over_a_page_break_stays_whole_between_running_lines() -> None:
    def page(number: int, *lines: str) -> list[Printed]:
        body = [(740 - 14 * row, line, "Helvetica", 11) for row, line in enumerate(lines)]
        return [(800, "Fennmoor handbook", "Helvetica", 9), *body, (40, f"Page {number} of 3", "Helvetica", 9)]

    found = blocks(
        "a.pdf", pdf(page(1, LINE), page(2, "and it is paid back.", "New one.", LINE + "."), page(3, "Last."))
    )
    assert found == [
        ("", 1, "Fennmoor handbook"),
        ("", 1, f"{LINE}\fand it is paid back."),
        ("", 2, "New one."),
        ("", 2, LINE + "."),
        ("", 3, "Last."),
    ]


def test_pdf_running_line_with_other_words_on_each_page_is_not_lost() -> None:
    pages = [[(800, f"Week {n}", "Helvetica", 11), (700, f"Plan {n * 100}.", "Helvetica", 11)] for n in (1, 2, 3)]
    assert {"Week 1", "Week 2", "Week 3"} <= set(texts("a.pdf", pdf(*pages)))


def test_pdf_table_rows_stay_lines_of_their_own() -> None:
    buffer = io.BytesIO()
    drawing = canvas.Canvas(buffer, pagesize=A4)
    for row, (part, price) in enumerate([("LR-310 filter", "14.00"), ("LR-320 hose", "9.50"), ("LR-330 cap", "2.00")]):
        drawing.drawString(72, 700 - 14 * row, part)
        drawing.drawRightString(500, 700 - 14 * row, price)
    drawing.save()
    assert texts("a.pdf", buffer.getvalue()) == ["LR-310 filter 14.00", "LR-320 hose 9.50", "LR-330 cap 2.00"]


def test_pdf_word_cut_at_the_end_of_a_line_is_joined() -> None:
    cut = "A deposit of one hundred and fifty dollars is due on the day of the deliv-"
    assert texts("a.pdf", pdf([cut, "ery to your door."])) == [f"{cut[:-1]}ery to your door."]
    assert texts("a.pdf", pdf([LINE + " by the Kestrel-", "Road depot."])) == [LINE + " by the Kestrel-Road depot."]


def test_pdf_list_items_stay_items() -> None:
    assert texts("a.pdf", pdf(["1. " + LINE, "2. " + LINE])) == ["1. " + LINE, "2. " + LINE]


def test_pdf_without_text_needs_ocr_and_a_single_bare_page_is_named() -> None:
    with pytest.raises(readers.Unreadable, match=re.escape("no text layer: needs OCR (the extra [ocr] reads scans)")):
        blocks("a.pdf", pdf([], []))
    buffer = io.BytesIO()
    drawing = canvas.Canvas(buffer, pagesize=A4)
    for draw in (lambda: drawing.drawString(72, 700, "Text."), lambda: drawing.rect(9, 9, 99, 99), lambda: None):
        draw()
        drawing.showPage()
    drawing.save()
    assert read_with_notes("a.pdf", buffer.getvalue()) == ([("", 1, "Text.")], ["page 2 has no text layer"])


def test_pdf_whose_font_names_no_letters_needs_ocr(monkeypatch: pytest.MonkeyPatch) -> None:
    garbled = "\x0b7KLV\x0c '3$\x0f\r\n%DVHFDPS\x11"
    monkeypatch.setattr("pypdfium2.PdfTextPage.get_text_range", lambda page: garbled)
    with pytest.raises(readers.Unreadable, match="needs OCR"):
        blocks("a.pdf", pdf(["Text"]))


def test_pdf_scan_is_read_by_docling_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = types.SimpleNamespace(
        pages={1: None, 2: None}, export_to_markdown=lambda page_no: f"# Terms\n\nPage {page_no}."
    )
    converter = types.SimpleNamespace(convert=lambda stream: types.SimpleNamespace(document=scan))
    base = types.SimpleNamespace(DocumentStream=lambda name, stream: None)
    monkeypatch.setitem(sys.modules, "docling", types.ModuleType("docling"))
    monkeypatch.setitem(sys.modules, "docling.datamodel", types.ModuleType("docling.datamodel"))
    monkeypatch.setitem(sys.modules, "docling.datamodel.base_models", base)
    monkeypatch.setitem(
        sys.modules, "docling.document_converter", types.SimpleNamespace(DocumentConverter=lambda: converter)
    )
    monkeypatch.setattr(readers, "OCR", 10)
    assert blocks("a.pdf", pdf([], [])) == [("Terms", 1, "Page 1."), ("Terms", 2, "Page 2.")]


# ---------------------------------------------------------------------------------------------------------------- mail


def mail(subject: str = "Route 9", text: str = "The bridge is closed.\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "kwame@fennmoor.example", "tamsin@fennmoor.example"
    message["Date"], message["Subject"] = "Mon, 20 Jul 2026 06:52:00 +0000", subject
    message.set_content(text)
    return message


def test_eml_header_plain_body_and_attachments() -> None:
    message = mail()
    message.add_alternative("<p>The bridge is <b>closed</b>.</p>", subtype="html")
    message.add_attachment(word_file(), "application", "octet-stream", filename="manual.docx")
    message.add_attachment(b"part,price\nLR-310,14\n", "text", "csv", filename="prices.csv")
    message.add_attachment(b"\x89PNG", "image", "png", filename="bridge.png")
    message.add_attachment(b"PK broken", "application", "zip", filename="broken.xlsx")
    found = [(h, t) for h, _, t in blocks("a.eml", message.as_bytes())]
    assert found[0][0] == "Route 9"
    assert found[0][1].startswith("From: kwame@fennmoor.example | To: tamsin@fennmoor.example | Date: Mon, 20 Jul 2026")
    assert found[1] == ("Route 9", "The bridge is closed.")
    assert ("Route 9 > manual.docx > Manual > Care", "Wipe it dry.") in found
    assert ("Route 9 > prices.csv", "part: LR-310 | price: 14") in found
    assert found[-2][0] == "Route 9 > bridge.png"
    assert found[-2][1].startswith("bridge.png was not read: a picture")
    assert found[-1][1].startswith("broken.xlsx was not read: damaged")
    assert sum("closed" in text for _, text in found) == 1


def test_eml_with_html_only_and_mails_inside_mails() -> None:
    message = mail("Level 1")
    message.set_content("<p>Only <b>HTML</b>.</p>", subtype="html")
    assert ("Level 1", "Only HTML.") in [(h, t) for h, _, t in blocks("a.eml", message.as_bytes())]
    inner = mail("Level 5", "deepest")
    for level in (4, 3, 2, 1):
        outer = mail(f"Level {level}", f"text {level}")
        outer.add_attachment(inner)
        inner = outer
    found = [(h, t) for h, _, t in blocks("a.eml", inner.as_bytes())]
    assert ("Level 1 > Level 2 > Level 3", "text 3") in found
    assert found[-1] == ("Level 1 > Level 2 > Level 3 > Level 4 > Level 5", "deepest")


def test_eml_parts_that_follow_a_mail_inside_stand_under_the_outer_mail() -> None:
    message = mail("Outer", "outer text")
    message.add_attachment(b"note", "text", "plain", filename="a.txt")
    message.add_attachment(mail("Inner", "inner text"))
    message.add_attachment(b"note", "text", "plain", filename="b.txt")
    found = [(h, t) for h, _, t in blocks("a.eml", message.as_bytes()) if t in ("note", "inner text")]
    assert found == [("Outer > a.txt", "note"), ("Outer > Inner", "inner text"), ("Outer > b.txt", "note")]


def test_eml_that_is_one_attachment_is_not_lost() -> None:
    message = mail()
    message.set_content(b"part,price\nLR-310,14\n", "application", "octet-stream", filename="prices.csv")
    assert blocks("a.eml", message.as_bytes())[-1] == ("Route 9 > prices.csv", 0, "part: LR-310 | price: 14")


def test_eml_of_parts_without_any_text_says_so() -> None:
    data = b"From: a@fennmoor.example\nSubject: Logo\nContent-Type: multipart/alternative; boundary=x\n\n--x\n"
    data += b"Content-Type: image/png\n\nPNG\n--x--\n"
    assert "part.alternative was not read" in blocks("a.eml", data)[-1][2]


def test_eml_that_is_one_mail_inside_is_not_lost() -> None:
    data = b"From: a@fennmoor.example\nSubject: Outer\nContent-Type: message/rfc822\n\nSubject: Inner\n\nThe text.\n"
    assert blocks("a.eml", data)[-1] == ("Outer > Inner", 0, "The text.")


def test_mails_in_mails_without_end_are_refused_in_words(tmp_path: object) -> None:
    (tmp_path / "a.eml").write_bytes(b"From: a\nContent-Type: message/rfc822\n\n" * 5000 + b"Subject: x\n\ntext\n")
    assert "RecursionError" in answer(tmp_path / "a.eml")["error"]


def test_eml_with_a_paragraph_that_begins_with_from_is_one_message() -> None:
    found = blocks("a.eml", mail(text="First.\n\nFrom here on it is open.\n").as_bytes())
    assert [t for h, _, t in found if h == "Route 9"][1:] == ["First.", "From here on it is open."]


def test_mbox_reads_each_message() -> None:
    parts = [b"From kwame Mon Jul 20 06:52:00 2026\n" + mail(f"No {n}", f"text {n}").as_bytes() for n in (1, 2, 3)]
    found = [(h, t) for h, _, t in blocks("a.mbox", b"\n".join(parts))]
    assert [f for f in found if f[1].startswith("text")] == [("No 1", "text 1"), ("No 2", "text 2"), ("No 3", "text 3")]


# ------------------------------------------------------------------------------------------------------------- hostile


def samples() -> dict[str, bytes]:
    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[0]).shapes.title.text = "Title"
    return {
        "md": b"# A\n\ntext\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "html": b"<h1>A</h1><table><tr><th>a</th></tr><tr><td>1</td></tr></table>",
        "pdf": pdf(["One.", "Two."], ["Three."]),
        "docx": word_file(),
        "xlsx": saved(workbook()),
        "pptx": saved(deck),
        "csv": b"a,b\n1,2\n",
        "txt": "Größe\n\nZWEITER TEIL\nText.".encode("latin-1"),
        "eml": mail().as_bytes(),
        "mbox": b"From x\n" + mail().as_bytes(),
    }


def mutated(data: bytes, chance: random.Random) -> bytes:
    kind, at = chance.randrange(5), chance.randrange(len(data))
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 3000))
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + chance.randbytes(20) + data[at + 20 :]
    if kind == 3:
        return data[: at // 2] + data[at:]
    return data[:4] + chance.randbytes(500)


@pytest.mark.parametrize("kind", list(samples()))
def test_no_bytes_end_without_blocks_or_a_reason(kind: str, tmp_path: object) -> None:
    chance, data = random.Random(kind), samples()[kind]
    path = tmp_path / f"a.{kind}"
    for _ in range(20):
        path.write_bytes(mutated(data, chance))
        reply = answer(path)
        assert reply.get("error") or isinstance(reply["blocks"], list)
        assert all(isinstance(n, int) and t.strip() and t.encode() for _, n, t in reply.get("blocks", []))


def test_deeply_nested_xml_and_html_end_in_words() -> None:
    deep = docx.Document()
    body = deep.element.body
    for _ in range(50):
        inner = OxmlElement("w:sdt")
        inner.append(OxmlElement("w:sdtContent"))
        body.append(inner)
        body = inner[0]
    body.append(parse_xml(f"<w:p {W}><w:r><w:t>deep down</w:t></w:r></w:p>"))
    assert body.tag == qn("w:sdtContent")
    assert texts("a.docx", saved(deep)) == ["deep down"]

    def nest(name: str, content: bytes) -> bytes:
        deeper = b"<w:sdt><w:sdtContent>" * 5000 + b"</w:sdtContent></w:sdt>" * 5000
        return content.replace(b"<w:body>", b"<w:body>" + deeper) if name == "word/document.xml" else content

    with pytest.raises(Exception, match="depth|Excessive"):
        blocks("a.docx", rezipped(saved(docx.Document()), nest))
    assert texts("a.html", "<div>" * 300 + "deep" + "</div>" * 300) == ["deep"]


def test_entities_in_office_xml_are_not_resolved(tmp_path: object) -> None:
    (tmp_path / "secret.txt").write_text("TOP SECRET")

    def entity(name: str, content: bytes) -> bytes:
        if name != "word/document.xml":
            return content
        declared = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret.txt">]>'.encode()
        text = content.replace(b"<w:body>", b"<w:body><w:p><w:r><w:t>see &e; here</w:t></w:r></w:p>")
        return re.sub(rb"(<\?xml[^>]*\?>)", rb"\1" + declared, text)

    assert "SECRET" not in str(blocks("a.docx", rezipped(saved(docx.Document()), entity)))
