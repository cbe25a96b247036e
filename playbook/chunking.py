"""Sections to chunks that fit the embedder, cut between sentences, each with its place and character span.

Cuts by counting the embedder's own tokens, because MiniLM drops everything past its limit without a word. The
ready-made splitters lose the character span when they count tokens (they report -1), and a citation needs it: hence
the few lines of packing here, on sentence bounds found by sentencex. Knows no files, no index, no questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from langchain_core.documents import Document

Span = tuple[int, int]
TokenCount = Callable[[list[str]], list[int]]


def sentence_spans(text: str) -> list[Span]:
    """Character spans (start, end) of the sentences of `text`; a line break always ends a sentence."""
    from sentencex import segment

    spans: list[Span] = []
    offset = 0
    for line in text.split("\n"):
        position = offset
        for sentence in segment("en", line):
            start = text.index(sentence.strip(), position) if sentence.strip() else position
            end = start + len(sentence.strip())
            if end > start:
                spans.append((start, end))
            position = end
        offset += len(line) + 1
    return spans


def chunk_sections(sections: Iterable[Document], count_tokens: TokenCount, limit: int) -> list[Document]:
    """Cut each section into chunks of at most `limit` tokens, never across sections; ids are content hashes.

    A single sentence longer than `limit` becomes a chunk of its own and is marked `long`. Raises ValueError for a
    limit below 20 tokens.
    """
    if limit < 20:
        raise ValueError(f"limit is {limit} tokens; give at least 20, or a chunk would hold less than one sentence.")
    chunks: list[Document] = []
    seen: dict[str, int] = {}
    for section in sections:
        text = section.page_content
        spans = sentence_spans(text)
        costs = count_tokens([text[a:b] for a, b in spans])
        for start, end, long in pack(spans, costs, limit):
            metadata = {**section.metadata, "start": start, "end": end, "long": long}
            key = f"{metadata['source']}\0{metadata['place']}\0{text[start:end]}"
            seen[key] = seen.get(key, 0) + 1
            identity = hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:24]
            chunks.append(Document(id=identity, page_content=text[start:end], metadata=metadata))
    return chunks


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


def embedding_text(chunk: Document) -> str:
    """What is embedded and searched for a chunk: its file's name and heading path, then its text."""
    title = chunk.metadata.get("source", "").rsplit(".", 1)[0].replace("_", " ").replace("/", " ")
    place = chunk.metadata.get("place", "")
    heading = "" if place.startswith(("page ", "row ", "paragraph ")) else place
    return f"{title}. {heading}\n{chunk.page_content}" if title or heading else chunk.page_content
