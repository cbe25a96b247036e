"""Sections to chunks that fit the embedder, cut between sentences, each with its place and character span.

Cuts by counting the embedder's own tokens, because MiniLM drops everything past its limit without a word. The
ready-made splitters lose the character span when they count tokens (they report -1), and a citation needs it: hence
the few lines of packing here, on sentence bounds found by sentencex. Knows no files, no index, no questions.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_core.documents import Document

Span = tuple[int, int]
TokenCount = Callable[[list[str]], list[int]]


def sentence_spans(text: str) -> list[Span]:
    """Character spans (start, end) of the sentences of `text`; a line break always ends a sentence."""
    from sentencex import get_sentence_boundaries

    spans: list[Span] = []
    for line in re.finditer(".+", text):
        for found in get_sentence_boundaries("en", line[0]):
            start, end = (line.start() + found[at] for at in ("start_index", "end_index"))
            spans += [inner.span() for inner in re.compile(r"\S(.*\S)?").finditer(text, start, end)]
    return spans


def chunk_sections(sections: Iterable[Document], count_tokens: TokenCount, limit: int) -> list[Document]:
    """Cut each section into chunks of at most `limit` tokens, never across sections; ids are content hashes.

    A sentence longer than `limit` is cut between words. Raises ValueError for a limit below 20 tokens.
    """
    if limit < 20:
        raise ValueError(f"limit is {limit} tokens; give at least 20, or a chunk would hold less than one sentence.")
    chunks: list[Document] = []
    seen: dict[str, int] = {}
    for section in sections:
        text, shared = section.page_content, {k: v for k, v in section.metadata.items() if k != "marks"}
        for start, end in _cut(text, count_tokens, limit):
            key = f"{shared['source']}\0{shared['heading']}\0{text[start:end]}"
            seen[key] = seen.get(key, 0) + 1
            identity = hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:24]
            own = {"start": start, "end": end, "place": place_of(section.metadata, start, end)}
            chunks.append(Document(id=identity, page_content=text[start:end], metadata={**shared, **own}))
    return chunks


def _cut(text: str, count_tokens: TokenCount, limit: int) -> list[Span]:
    """Spans of neighbouring sentences that fit the limit together; a sentence over the limit is cut between words."""
    word = re.compile(rf"\S{{1,{limit // 4}}}")  # a quarter of the limit: some scripts spend four tokens on a letter
    spans, room, sentences = list[Span](), -1, sentence_spans(text)
    for sentence, cost in zip(sentences, count_tokens([text[a:b] for a, b in sentences]), strict=True):
        parts, costs = [sentence], [cost]
        if cost > limit:
            parts, room = [found.span() for found in word.finditer(text, *sentence)], -1
            costs = count_tokens([text[a:b] for a, b in parts])
        for (start, end), part_cost in zip(parts, costs, strict=True):
            if part_cost > room:
                spans.append((start, end))
                room = limit
            spans[-1] = (spans[-1][0], end)
            room -= part_cost
    return spans


def place_of(metadata: Mapping[str, Any], start: int, end: int) -> str:
    """What a citation of characters start to end of a section shows: "pp. 4-5", "Sheet, row 7", else its heading path.

    `metadata` is a section's: `unit` ("page", "row", "slide", "paragraph" or ""), `heading`, and `marks`, the
    [character offset, number] pairs where the number changes.
    """
    unit, heading, marks = metadata.get("unit", ""), metadata.get("heading", ""), metadata.get("marks", [])
    numbers = [n for at, n in marks if at <= start][-1:] + [n for at, n in marks if start < at < end]
    if not unit or not any(numbers):
        return heading
    low, high, several = min(filter(None, numbers)), max(numbers), "pp." if unit == "page" else f"{unit}s"
    place = f"{unit} {low}" if low == high else f"{several} {low}-{high}"
    return f"{heading}, {place}" if unit == "row" and heading else place


def embedding_text(chunk: Document) -> str:
    """What is embedded and searched for a chunk: its heading path, or its file's name where it has none, then its text."""
    name = chunk.metadata.get("source", "").rsplit(".", 1)[0].replace("_", " ").replace("/", " ")
    title = chunk.metadata.get("heading") or name
    return f"{title}\n{chunk.page_content}" if title else chunk.page_content
