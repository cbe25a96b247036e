"""Sections to chunks that fit the embedder, cut between sentences, each with its place and character span.

Cuts by counting the embedder's own tokens, because MiniLM drops everything past its limit without a word. The
ready-made splitters lose the character span when they count tokens (they report -1), and a citation needs it: hence
the few lines of packing here, on sentence bounds found by sentencex. Knows no files, no index, no questions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_core.documents import Document

Span = tuple[int, int]
TokenCount = Callable[[list[str]], list[int]]


def sentence_spans(text: str) -> list[Span]:
    """Character spans (start, end) of the sentences of `text`; a line break always ends a sentence."""
    from sentencex import segment

    spans: list[Span] = []
    offset = 0
    for line in text.split("\n"):
        end = offset
        for sentence in filter(None, map(str.strip, segment("en", line))):
            start = text.index(sentence, end)
            end = start + len(sentence)
            spans.append((start, end))
        offset += len(line) + 1
    return spans


def chunk_sections(sections: Iterable[Document], count_tokens: TokenCount, limit: int) -> list[Document]:
    """Cut each section into chunks of at most `limit` tokens, never across sections; ids are content hashes.

    A sentence longer than `limit` is cut between words, and the chunks that hold a piece of it are marked `long`.
    Raises ValueError for a limit below 20 tokens.
    """
    if limit < 20:
        raise ValueError(f"limit is {limit} tokens; give at least 20, or a chunk would hold less than one sentence.")
    chunks: list[Document] = []
    seen: dict[str, int] = {}
    for section in sections:
        text, shared = section.page_content, {k: v for k, v in section.metadata.items() if k != "marks"}
        spans, costs, long = _fitted(text, count_tokens, limit)
        for start, end, _ in pack(spans, costs, limit):
            key = f"{shared['source']}\0{shared['heading']}\0{text[start:end]}"
            seen[key] = seen.get(key, 0) + 1
            identity = hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:24]
            own = {"start": start, "end": end, "long": any(a < end and start < b for a, b in long)}
            metadata = {**shared, **own, "place": place_of(section.metadata, start, end)}
            chunks.append(Document(id=identity, page_content=text[start:end], metadata=metadata))
    return chunks


def _fitted(text: str, count_tokens: TokenCount, limit: int) -> tuple[list[Span], list[int], list[Span]]:
    """Sentences with their costs, those over the limit cut into runs of words; and the spans of these long ones."""
    spans, costs, long = [], [], []
    sentences = sentence_spans(text)
    for (start, end), cost in zip(sentences, count_tokens([text[a:b] for a, b in sentences]), strict=True):
        pieces = [(start, end)]
        if cost > limit:  # a word is at most a quarter of the limit, for scripts that spend four tokens on a letter
            long.append((start, end))
            word = re.compile(rf"\S{{1,{limit // 4}}}")
            words = [found.span() for found in word.finditer(text, start, end)]
            pieces = [(a, b) for a, b, _ in pack(words, count_tokens([text[a:b] for a, b in words]), limit)]
        spans += pieces
        costs += count_tokens([text[a:b] for a, b in pieces]) if cost > limit else [cost]
    return spans, costs, long


def pack(spans: list[Span], costs: list[int], limit: int) -> list[tuple[int, int, bool]]:
    """Join neighbouring spans while their token costs stay within `limit`; returns (start, end, over the limit)."""
    groups: list[list[int]] = []
    room = 0
    for number, cost in enumerate(costs):
        if not groups or cost > room:
            groups.append([])
            room = limit
        groups[-1].append(number)
        room -= cost
    return [(spans[g[0]][0], spans[g[-1]][1], sum(costs[i] for i in g) > limit) for g in groups]


def place_of(metadata: Mapping[str, Any], start: int, end: int) -> str:
    """What a citation of characters start to end of a section shows: "pp. 4-5", "Sheet, row 7", else its heading path.

    `metadata` is a section's: `unit` ("page", "row", "slide", "paragraph" or ""), `heading`, and `marks`, the
    [character offset, number] pairs where the number changes.
    """
    unit, heading, marks = metadata.get("unit", ""), metadata.get("heading", ""), metadata.get("marks", [])
    numbers = [n for at, n in marks if at <= start][-1:] + [n for at, n in marks if start < at < end]
    if not unit or not any(numbers):
        return heading
    low, high = min(filter(None, numbers)), max(numbers)
    if unit == "page" and low < high:
        return f"pp. {low}-{high}"
    place = f"{unit} {low}" if low == high else f"{unit}s {low}-{high}"
    return f"{heading}, {place}" if unit == "row" and heading else place


def embedding_text(chunk: Document) -> str:
    """What is embedded and searched for a chunk: its heading path, or its file's name where it has none, then its text."""
    name = chunk.metadata.get("source", "").rsplit(".", 1)[0].replace("_", " ").replace("/", " ")
    title = chunk.metadata.get("heading") or name
    return f"{title}\n{chunk.page_content}" if title else chunk.page_content
