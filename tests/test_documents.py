"""Client files to sections: every format is read, and every file is accounted for with a reason."""

from __future__ import annotations

import io
from pathlib import Path

import docx
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen import canvas

from playbook.documents import FileReport, decode, load_file, load_folder, table_row, unwrap


def read(tmp_path: Path, name: str, content: str | bytes) -> tuple[list[tuple[str, str]], FileReport]:
    """(place, text) of each section of one file, and its report."""
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    sections, report = load_file(path, name, {})
    return [(s.metadata["place"], s.page_content) for s in sections], report


def pdf(pages: list[list[str]], encrypt: StandardEncryption | None = None) -> bytes:
    buffer = io.BytesIO()
    drawing = canvas.Canvas(buffer, pagesize=A4, encrypt=encrypt)
    for lines in pages:
        for row, line in enumerate(lines):
            drawing.drawString(72, 760 - 16 * row, line)
        drawing.showPage()
    drawing.save()
    return buffer.getvalue()


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
    document.add_paragraph("Two years.")
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def test_markdown_sections_carry_their_heading_path_and_blocks_become_lines(tmp_path: Path) -> None:
    sections, report = read(
        tmp_path, "a.md", "# Care\n\nWipe it\ndry.\n\n- Soap\n- Water\n\n## Filters\n\nMonthly.\n\n# End\n\nBye.\n"
    )
    assert sections == [("Care", "Wipe it dry.\nSoap\nWater"), ("Care > Filters", "Monthly."), ("End", "Bye.")]
    assert (report.status, report.sections, report.words) == ("indexed", 3, 7)


def test_markdown_table_rows_name_their_columns(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.md", "| Part | Price |\n|---|---|\n| LR-310 | $14 |\n| LR-320 |  |\n")
    assert sections == [("", "Part: LR-310 | Price: $14\nPart: LR-320")]


def test_html_inside_markdown_is_text_and_never_markup(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.md", "<script>alert(1)</script>\n\nReal text.\n")
    assert sections[0][1].splitlines()[-1] == "Real text."
    assert "<script>" in sections[0][1], "what the client wrote stays readable as text"


def test_html_headings_paragraphs_lists_and_table(tmp_path: Path) -> None:
    html = (
        "<html><head><title>x</title><style>p {}</style></head><body><nav>Menu</nav><h1>Delivery</h1><p>By <b>van</b>.</p>"
        "<ul><li>Today</li></ul><h2>Fees</h2><table><tr><th>Zone</th><th>Fee</th></tr><tr><td>A</td><td>$5</td></tr></table>"
        "<script>var secret = 1</script></body></html>"
    )
    sections, report = read(tmp_path, "a.html", html)
    assert sections == [("Delivery", "By van.\nToday"), ("Delivery > Fees", "Zone: A | Fee: $5")]
    assert report.status == "indexed"


def test_html_row_headers_are_kept(tmp_path: Path) -> None:
    sections, _ = read(
        tmp_path,
        "a.html",
        "<table><tr><th>Monday</th><td>9 to 5</td></tr><tr><th>Sunday</th><td>closed</td></tr></table>",
    )
    text = sections[0][1]
    assert "Monday" in text.splitlines()[0] and "9 to 5" in text.splitlines()[0]
    assert "Sunday" in text.splitlines()[1] and "closed" in text.splitlines()[1]


def test_html_text_outside_paragraphs_is_not_lost(tmp_path: Path) -> None:
    html = "<body><p>First.</p><div>Second <b>div</b>.<p>Third.</p>Fourth.</div><dl><dt>Fifth</dt><dd>Sixth</dd></dl>Seventh</body>"
    sections, _ = read(tmp_path, "a.html", html)
    text = " ".join(text for _, text in sections)
    for word in ("First", "Second", "div", "Third", "Fourth", "Fifth", "Sixth", "Seventh"):
        assert text.count(word) == 1, word


def test_html_words_in_running_lines_keep_their_blanks_and_stops(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.html", "<p><b>Pay</b> <i>only</i> <a href='#'>here</a>.<br>Not<br/>there.</p>")
    assert sections == [("", "Pay only here. Not there.")]


def test_html_row_of_another_length_and_tables_inside_tables_are_not_lost(tmp_path: Path) -> None:
    html = "<table><tr><td>Outer<table><tr><td>Inner</td><td>12</td></tr></table></td></tr><tr><td>A</td><td>B</td></tr></table>"
    assert read(tmp_path, "a.html", html)[0] == [("", "Outer\nInner | 12\nA | B")]
    html = "<table><tr><th>Only</th><th>heads</th></tr></table>"
    html += "<table><tr><td></td><th>Mon</th></tr><tr><th>Open</th><td>9</td></tr></table>"
    assert read(tmp_path, "b.html", html)[0] == [("", "Only | heads\nOpen | Mon: 9")]


def test_html_comments_and_doctype_are_not_text(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.html", "<!doctype html><!-- hidden --><div>Shown</div>")
    assert sections == [("", "Shown")]


def test_html_list_inside_a_list_is_read_once(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.html", "<ul><li>Outer<ul><li>Inner</li></ul></li></ul>")
    assert sections[0][1].split() == ["Outer", "Inner"]


def test_docx_headings_and_table(tmp_path: Path) -> None:
    sections, report = read(tmp_path, "a.docx", word_file())
    assert sections == [
        ("Care", "Wipe it dry."),
        ("Care > Filters", "Change them monthly.\nPart: LR-310 | Price: $14\nPart: LR-320"),
        ("Warranty", "Two years."),
    ]
    assert report.status == "indexed"


def test_docx_table_of_one_row_is_not_lost(tmp_path: Path) -> None:
    document = docx.Document()
    cells = document.add_table(rows=1, cols=2).rows[0].cells
    cells[0].text, cells[1].text = "Hotline", "614-555-0137"
    buffer = io.BytesIO()
    document.save(buffer)
    sections, _ = read(tmp_path, "a.docx", buffer.getvalue())
    assert sections == [("", "Hotline | 614-555-0137")]


def test_pdf_pages_are_the_places(tmp_path: Path) -> None:
    sections, report = read(tmp_path, "a.pdf", pdf([["Rental terms", "A deposit of $150 is due."], ["Bring it back."]]))
    assert [place for place, _ in sections] == ["page 1", "page 2"]
    assert "A deposit of $150 is due." in sections[0][1].splitlines()
    assert (report.status, report.sections) == ("indexed", 2)


def test_csv_with_commas_and_quotes(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.csv", 'part,note\nLR-310,"filter, washable"\nLR-320,\n\n')
    assert sections == [("row LR-310", "part: LR-310 | note: filter, washable"), ("row LR-320", "part: LR-320")]


def test_csv_with_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.csv", "part;price;note\nLR-310;14,50;a, b\nLR-320;9,00;c, d\n")
    assert sections == [
        ("row LR-310", "part: LR-310 | price: 14,50 | note: a, b"),
        ("row LR-320", "part: LR-320 | price: 9,00 | note: c, d"),
    ]


def test_csv_of_one_column_is_read(tmp_path: Path) -> None:
    sections, report = read(tmp_path, "a.csv", "closed on\n2027-01-01\n2027-07-05\n")
    assert report.status == "indexed", report.reason
    assert [text for _, text in sections] == ["closed on: 2027-01-01", "closed on: 2027-07-05"]


def test_csv_with_only_a_header_is_called_empty(tmp_path: Path) -> None:
    sections, report = read(tmp_path, "a.csv", "part,price\n")
    assert (sections, report.status) == ([], "empty")


def test_plain_text_paragraphs_are_numbered(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, "a.txt", "One\r\ntwo.\r\n\r\nThree.\r\n")
    assert sections == [("paragraph 1", "One\ntwo."), ("paragraph 2", "Three.")]


def test_latin_1_text_is_decoded(tmp_path: Path) -> None:
    text = "Die Geschäftsführung prüft die Gebühr für größere Aufträge. Rückgabe nur gegen Quittung, später nicht mehr möglich.\n"
    sections, report = read(tmp_path, "a.txt", (text * 5).encode("latin-1"))
    assert report.status == "indexed"
    assert "Geschäftsführung prüft die Gebühr für größere Aufträge." in sections[0][1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_text_is_decoded_without_its_mark(encoding: str) -> None:
    assert decode("Grüße, naïve café – 14 days.".encode(encoding)) == "Grüße, naïve café – 14 days."


def test_text_whose_encoding_cannot_be_recognised_is_rejected_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unknown:
        def best(self) -> None:
            return None

    monkeypatch.setattr("charset_normalizer.from_bytes", lambda data: Unknown())
    sections, report = read(tmp_path, "a.txt", b"caf\xe9")
    assert (sections, report.status) == ([], "rejected")
    assert "save it as UTF-8" in report.reason


def test_empty_file_is_counted_as_empty(tmp_path: Path) -> None:
    assert read(tmp_path, "a.md", " \n\t\n")[1] == FileReport("a.md", "empty", "the file has no content")


def test_second_copy_is_a_duplicate_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Same words.")
    (tmp_path / "b.md").write_text("Same words.")
    corpus = load_folder(tmp_path)
    assert [f.status for f in corpus.files] == ["indexed", "duplicate"]
    assert corpus.files[1].reason == "same content as a.md"
    assert len(corpus.sections) == 1


def test_damaged_pdf_and_damaged_docx_are_rejected(tmp_path: Path) -> None:
    for name, data in (("a.pdf", pdf([["Text"]])[:40]), ("a.docx", b"PK\x03\x04 not a zip")):
        sections, report = read(tmp_path, name, data)
        assert (sections, report.status) == ([], "rejected")
        assert report.reason.startswith("damaged or not what its ending says")


def test_password_protected_pdf_is_rejected_with_what_to_do(tmp_path: Path) -> None:
    sections, report = read(tmp_path, "a.pdf", pdf([["Secret"]], StandardEncryption("opensesame", canPrint=0)))
    assert (sections, report.status) == ([], "rejected")
    assert report.reason == "password-protected: save a copy without the password"


def test_pdf_without_a_text_layer_is_rejected_as_needing_ocr(tmp_path: Path) -> None:
    sections, report = read(tmp_path, "scan.pdf", pdf([[], []]))
    assert (sections, report.status, report.reason) == ([], "rejected", "no text layer: needs OCR")


@pytest.mark.parametrize("name", ["a.xlsx", "a.PPTX", "README"])
def test_unsupported_ending_is_rejected_and_names_the_known_ones(tmp_path: Path, name: str) -> None:
    _, report = read(tmp_path, name, "content")
    assert report.status == "rejected"
    assert ".docx" in report.reason and ".pdf" in report.reason


def test_upper_case_ending_is_the_same_format(tmp_path: Path) -> None:
    assert read(tmp_path, "A.MD", "Words.")[1].status == "indexed"


def test_file_that_is_too_large_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbook.documents.MAX_BYTES", 10)
    assert read(tmp_path, "a.txt", "x" * 11)[1].reason.startswith("larger than")


def test_files_in_equal_indexed_empty_duplicate_and_rejected(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    contents = {
        "a.md": b"Words.",
        "b.md": b"Words.",
        "c.txt": b"",
        "d.xlsx": b"x",
        "e.pdf": b"%PDF-broken",
        "sub/f.txt": b"More.",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / ".hidden.md").write_text("not the client's")
    corpus = load_folder(tmp_path)
    assert corpus.counts() == {"files": 6, "indexed": 2, "empty": 1, "duplicate": 1, "rejected": 2}
    assert [f.source for f in corpus.files] == sorted(contents)
    assert all(f.reason for f in corpus.files)
    assert {s.metadata["source"] for s in corpus.sections} == {"a.md", "sub/f.txt"}


def test_a_file_that_cannot_be_read_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("Locked.")
    (tmp_path / "b.txt").write_text("Open.")
    original = Path.read_bytes

    def locked(self: Path) -> bytes:
        if self.name == "a.txt":
            raise PermissionError("denied")
        return original(self)

    monkeypatch.setattr(Path, "read_bytes", locked)
    corpus = load_folder(tmp_path)
    assert [(f.status, f.reason) for f in corpus.files] == [
        ("rejected", "no permission to read it"),
        ("indexed", "read"),
    ]


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no files"):
        load_folder(tmp_path)


def test_table_row_without_matching_heads_keeps_every_cell() -> None:
    assert table_row(["A", "B"], ["1", "2", "3"]) == "1 | 2 | 3"
    assert table_row(["A", ""], ["1", "2"]) == "A: 1 | 2"


def test_unwrap_joins_long_lines_and_leaves_headings_alone() -> None:
    lines = ["Deposits", "A deposit of one hundred and fifty dollars is", "due on delivery.", "Next"]
    assert list(unwrap(lines)) == ["Deposits", "A deposit of one hundred and fifty dollars is due on delivery.", "Next"]
