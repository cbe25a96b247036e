"""Chunks: their span is the text they carry, they fit the embedder, and their ids are stable and unique."""

from __future__ import annotations

import pytest
from fakes_embedding import HashEmbeddings, passage
from langchain_core.documents import Document

from playbook.chunking import chunk_sections, embedding_text, pack, sentence_spans

COUNT = HashEmbeddings().count_tokens
SENTENCE = "This plain sentence has exactly eight words here."  # 8 words


def section(text: str, source: str = "a.md", place: str = "Care") -> Document:
    return Document(page_content=text, metadata={"source": source, "place": place, "order": 0})


def test_sentence_spans_cut_at_sentence_ends_and_line_breaks() -> None:
    text = "First one. Second one.\nA line without stop\n\nLast."
    assert [text[a:b] for a, b in sentence_spans(text)] == ["First one.", "Second one.", "A line without stop", "Last."]


def test_sentence_spans_are_character_offsets_in_non_ascii_text() -> None:
    text = "Größe 5 – schön. Über 10 € kostet’s nicht!\n日本語の文です。次の文。\n🙂 Ok then. Café naïve."
    spans = sentence_spans(text)
    assert "".join(text[a:b] for a, b in spans).replace(" ", "") == "".join(text.split())
    assert text[slice(*spans[0])] == "Größe 5 – schön."
    assert text[slice(*spans[-1])] == "Café naïve."
    assert all(a < b for a, b in spans) and spans == sorted(spans)


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_blank_text_has_no_sentences(text: str) -> None:
    assert sentence_spans(text) == []
    assert chunk_sections([section(text)], COUNT, 20) == []


def test_repeated_sentences_get_their_own_spans() -> None:
    assert sentence_spans("Same here. Same here. Same here.") == [(0, 10), (11, 21), (22, 32)]


def test_each_chunk_is_its_span_of_the_section() -> None:
    text = "\n".join(f"Zahl {n} – {SENTENCE} Größe ü {n}." for n in range(12))
    chunks = chunk_sections([section(text)], COUNT, 40)
    assert len(chunks) > 3
    for chunk in chunks:
        assert text[chunk.metadata["start"] : chunk.metadata["end"]] == chunk.page_content
    assert "".join(c.page_content for c in chunks).replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(
        " ", ""
    )


def test_chunks_hold_as_many_sentences_as_the_limit_allows() -> None:
    text = " ".join([SENTENCE] * 7)  # 8 tokens each; 3 fit into 24
    chunks = chunk_sections([section(text)], COUNT, 24)
    assert [len(c.page_content.split()) for c in chunks] == [24, 24, 8]
    assert not any(c.metadata["long"] for c in chunks)


def test_sentence_over_the_limit_is_a_chunk_of_its_own_and_marked() -> None:
    long = "Every " + "very " * 30 + "long sentence."
    chunks = chunk_sections([section(f"{SENTENCE} {long} {SENTENCE}")], COUNT, 20)
    assert [c.metadata["long"] for c in chunks] == [False, True, False]
    assert chunks[1].page_content == long


def test_chunks_never_cross_sections_and_keep_their_metadata() -> None:
    chunks = chunk_sections([section("One.", place="A"), section("Two.", place="B")], COUNT, 200)
    assert [(c.page_content, c.metadata["place"], c.metadata["source"]) for c in chunks] == [
        ("One.", "A", "a.md"),
        ("Two.", "B", "a.md"),
    ]


def test_limit_below_twenty_is_refused() -> None:
    with pytest.raises(ValueError, match="limit is 19 tokens"):
        chunk_sections([section(SENTENCE)], COUNT, 19)


def test_ids_are_stable_and_unique_even_for_repeated_text() -> None:
    sections = [section("Same."), section("Same."), section("Same.", source="b.md"), section("Same.", place="Other")]
    first, second = (chunk_sections(sections, COUNT, 20) for _ in range(2))
    assert [c.id for c in first] == [c.id for c in second]
    assert len({c.id for c in first}) == 4


def test_id_does_not_change_when_another_section_does() -> None:
    before = chunk_sections([section("Kept."), section("Old.", place="B")], COUNT, 20)
    after = chunk_sections([section("New.", place="B"), section("Kept.")], COUNT, 20)
    assert before[0].id == after[1].id
    assert before[1].id != after[0].id


def test_pack_of_nothing_and_of_costs_that_fill_the_limit() -> None:
    assert pack([], [], 20) == []
    assert pack([(0, 1), (2, 3), (4, 5)], [10, 10, 1], 20) == [(0, 3, False), (4, 5, False)]
    assert pack([(0, 1)], [21], 20) == [(0, 1, True)]


def test_embedding_text_names_file_and_heading_but_no_page_number() -> None:
    assert embedding_text(passage("1", "Text.", "guides/rental_terms.pdf", "page 3")) == "guides rental terms. \nText."
    assert embedding_text(passage("1", "Text.", "care.md", "Care > Filters")) == "care. Care > Filters\nText."
    assert embedding_text(Document(page_content="Text.", metadata={})) == "Text."
