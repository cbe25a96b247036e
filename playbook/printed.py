"""The text layer of a PDF to headings and paragraphs, by where, how large and how bold each line is printed.

Takes pages as pypdfium2 gives them. Knows no file, no other format and no scan.
"""

import re
import statistics
from collections import Counter, namedtuple
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
BULLET = re.compile(r"[•▪◦–*-]\s|\(?\w{1,3}[.)]\s")
PAGE_MARK = re.compile(r"[\s|·–-]*\b(page|seite|p\.) ?#( ?(of|/|von) ?[\d#]+)?|^\W*#( ?(of|/|von) ?[\d#]+)?\W*$", re.I)
PrintedLine = namedtuple("PrintedLine", "page text left right base height bold")  # places and height in points


def printed_lines(page: Any, number: int) -> list[PrintedLine]:
    """The lines of a page from the boxes of their first and last characters; what stands on one height is one line.

    None where the font does not say which letters its signs are.
    """
    text_page = page.get_textpage()
    printed, last = text_page.get_text_range(), text_page.count_chars() - 1
    lines: list[PrintedLine] = []
    if len(CONTROL.findall(printed)) > len(printed) / 100:
        return lines
    for found in re.finditer(r"\S(?:[^\r\n]*\S)?", CONTROL.sub(" ", printed)):
        first, end = min(found.start(), last), min(found.end() - 1, last)
        left, bottom, _, top = text_page.get_charbox(first, loose=True)
        _, base, right, above = text_page.get_charbox(end, loose=True)
        height, bold = round(2 * min(top - bottom, above - base)) / 2, all(_bold(text_page, n) for n in (first, end))
        text = re.sub("\ufffe(?=[a-zß-ÿ])", "", found[0]).replace("\ufffe", "-")  # a hyphen at the end of a line
        if lines and abs(lines[-1].base - base) < 0.2 * height and left >= lines[-1].right:
            before = lines.pop()
            left, text, height, bold = before.left, f"{before.text} {text}", before.height, before.bold and bold
        lines.append(PrintedLine(number, text, left, right, base, height, bold))
    return lines


def _bold(text_page: Any, index: int) -> bool:
    printed = text_page.get_textobj(index)
    font = printed and printed.get_font()
    return bool(font) and ("bold" in font.get_base_name().lower() or font.get_weight() >= 600)


def paragraphs(pages: list[list[PrintedLine]]) -> Iterator[tuple[int, int, str]]:
    """(level, page, text) of running lines, then of headings (level 1 and more) and paragraphs in reading order.

    A form feed in a text marks the page break that it crosses.
    """
    running = _running(pages)
    body = [line for page in pages for line in page if line not in running]
    normal = statistics.mode([(line.height, line.bold) for line in body for _ in line.text] or [(0, False)])
    titles = sorted({(line.height, line.bold) for line in body if _is_title(line, *normal)}, reverse=True)
    right = [max((line.right for line in page), default=0) for page in pages]
    pitch = statistics.mode([round(a.base - b.base) for a, b in pairwise(body) if a.page == b.page] or [0])
    yield from ((0, page, text) for text, page in {running[e]: e.page for e in sorted(running, reverse=True)}.items())
    text, start = "", 0
    for line, after in pairwise([*body, None]):
        start = start if text else line.page
        text += line.text
        if after and _goes_on(line, after, right[line.page - 1], pitch):
            text += "\f" if after.page > line.page else " "
        else:
            level = titles.index((line.height, line.bold)) + 1 if _is_title(line, *normal) else 0
            yield level, start, text
            text = ""


def _is_title(line: PrintedLine, height: float, bold: bool) -> bool:
    """Short, no sentence, and clearly larger or bolder than the text around it."""
    larger = line.height >= 1.12 * height or (line.bold and not bold and line.height >= 0.95 * height)
    return larger and len(line.text) <= 100 and line.text[-1] not in ".,;" and bool(re.search(r"[^\W\d]", line.text))


def _goes_on(line: PrintedLine, after: PrintedLine, right: float, pitch: float) -> bool:
    """Whether a line is continued by the one after: whose first word had no room in it, or begins small."""
    ended = line.text.endswith((".", "!", "?", ":", ";"))
    word = (after.right - after.left) * (len(after.text.split(" ", 1)[0]) + 2) / len(after.text)
    flows = line.right + word > right or (not ended and after.text[0].islower())
    row = all(re.search(r"\d\S*$", text) for text in (line.text, after.text))  # of a table, figures at its right
    alike = abs(line.height - after.height) < 1 and line.bold == after.bold
    below = not ended if after.page == line.page + 1 else 0 < line.base - after.base <= 1.2 * max(pitch, line.height)
    return flows and alike and below and not row and not BULLET.match(after.text)


def _running(pages: list[list[PrintedLine]]) -> dict[PrintedLine, str]:
    """Lines among the two highest or lowest that recur on half of the pages, with what they say but the page number."""
    said = {}  # numbers near the page's own as #
    for page in (sorted(page, key=lambda line: line.base) for page in pages if len(pages) > 1):
        for line in page[:2] + page[-2:]:
            near = rf"(?<!\d)({'|'.join(map(str, range(max(0, line.page - 9), line.page + 10)))})(?!\d)"
            said[line] = PAGE_MARK.sub("", re.sub(near, "#", line.text))
    often = Counter(said.values())
    recur = {line: text for line, text in said.items() if not text or often[text] >= max(2, len(pages) / 2)}
    return {line: line.text if "#" in text else text for line, text in recur.items()}
