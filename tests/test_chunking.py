"""Chunks: their span is the text they carry, they fit the embedder, and their ids are stable and unique."""

from __future__ import annotations

import pytest
from fakes_embedding import HashEmbeddings
from langchain_core.documents import Document

from playbook.chunking import chunk_sections, embedding_text, place_of, sentence_spans

COUNT = HashEmbeddings().count_tokens
SENTENCE = "This plain sentence has exactly eight words here."  # 8 words


def section(
    text: str, source: str = "a.md", heading: str = "Care", unit: str = "", marks: list | None = None
) -> Document:
    metadata = {
        "source": source,
        "heading": heading,
        "unit": unit,
        "marks": marks or [[0, 1]],
        "audience": ["everyone"],
    }
    return Document(page_content=text, metadata=metadata)


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


def test_sentence_over_the_limit_is_cut_between_words() -> None:
    long = "Every " + "very " * 50 + "long sentence."
    text = f"{SENTENCE} {long} {SENTENCE}"
    chunks = chunk_sections([section(text)], COUNT, 20)
    assert len(chunks) == 5
    assert " ".join(c.page_content for c in chunks) == text
    assert all(len(c.page_content.split()) <= 20 for c in chunks)


def test_word_over_the_limit_is_cut_so_that_every_piece_fits() -> None:
    def letters(texts: list[str]) -> list[int]:  # an embedder that spends a token on every letter
        return [len(text.replace(" ", "")) for text in texts]

    text = "x" * 95 + " 漢字" * 30
    chunks = chunk_sections([section(text)], letters, 20)
    assert all(letters([c.page_content])[0] <= 20 for c in chunks)
    assert "".join(c.page_content for c in chunks).replace(" ", "") == text.replace(" ", "")


def test_chunks_never_cross_sections_and_keep_all_metadata_but_the_marks() -> None:
    chunks = chunk_sections([section("One.", heading="A"), section("Two.", heading="B")], COUNT, 200)
    assert [(c.page_content, c.metadata["place"]) for c in chunks] == [("One.", "A"), ("Two.", "B")]
    assert chunks[0].metadata == {
        "source": "a.md",
        "heading": "A",
        "unit": "",
        "audience": ["everyone"],
        "start": 0,
        "end": 4,
        "place": "A",
    }


@pytest.mark.parametrize(
    ("unit", "heading", "start", "end", "place"),
    [
        ("page", "Care", 0, 10, "page 4"),
        ("page", "Care", 5, 25, "pp. 4-5"),
        ("page", "", 30, 40, "page 5"),
        ("page", "", 0, 99, "pp. 4-7"),
        ("row", "Prices", 20, 30, "Prices, row 5"),
        ("row", "Prices", 0, 99, "Prices, rows 4-7"),
        ("row", "", 0, 5, "row 4"),
        ("slide", "Care", 60, 70, "slide 7"),
        ("paragraph", "Care", 19, 21, "paragraphs 4-5"),
        ("", "Care > Filters", 0, 10, "Care > Filters"),
    ],
)
def test_place_says_where_a_span_stands(unit: str, heading: str, start: int, end: int, place: str) -> None:
    metadata = {"unit": unit, "heading": heading, "marks": [[0, 4], [20, 5], [60, 7]]}
    assert place_of(metadata, start, end) == place


def test_place_without_marks_or_with_number_zero_is_the_heading() -> None:
    assert place_of({"heading": "Care"}, 0, 5) == "Care"
    assert place_of({"unit": "page", "heading": "Care", "marks": []}, 0, 5) == "Care"
    assert place_of({"unit": "page", "heading": "Care", "marks": [[0, 0]]}, 0, 5) == "Care"
    assert place_of({}, 0, 5) == ""


def test_sentence_over_a_page_break_is_cited_with_both_pages() -> None:
    text = "A deposit is due on the day. It is given back."
    chunk = chunk_sections([section(text, unit="page", marks=[[0, 4], [21, 5]])], COUNT, 20)[0]
    assert chunk.metadata["place"] == "pp. 4-5"


def test_limit_below_twenty_is_refused() -> None:
    with pytest.raises(ValueError, match="limit is 19 tokens"):
        chunk_sections([section(SENTENCE)], COUNT, 19)


def test_ids_are_stable_and_unique_even_for_repeated_text() -> None:
    sections = [section("Same."), section("Same."), section("Same.", "b.md"), section("Same.", heading="Other")]
    first, second = (chunk_sections(sections, COUNT, 20) for _ in range(2))
    assert [c.id for c in first] == [c.id for c in second]
    assert len({c.id for c in first}) == 4


def test_id_does_not_change_when_another_section_or_the_page_does() -> None:
    before = chunk_sections([section("Kept.", unit="page"), section("Old.", heading="B")], COUNT, 20)
    after = chunk_sections([section("New.", heading="B"), section("Kept.", unit="page", marks=[[0, 9]])], COUNT, 20)
    assert before[0].id == after[1].id
    assert (before[0].metadata["place"], after[1].metadata["place"]) == ("page 1", "page 9")
    assert before[1].id != after[0].id


def test_sentences_that_fill_the_limit_exactly_stand_together_and_text_without_tokens_is_kept() -> None:
    text = f"{SENTENCE} And these twelve words are what still fits beside the sentence before. One."
    chunks = chunk_sections([section(text)], COUNT, 20)
    assert [COUNT([c.page_content])[0] for c in chunks] == [20, 1]
    unknown = chunk_sections([section("One. Two.")], lambda texts: [0 for _ in texts], 20)
    assert [c.page_content for c in unknown] == ["One. Two."]


def test_embedding_text_names_the_heading_path_or_the_file() -> None:
    assert embedding_text(section("Text.", "guides/rental_terms.pdf", "", "page")) == "guides rental terms\nText."
    assert embedding_text(section("Text.", heading="Care > Filters")) == "Care > Filters\nText."
    assert embedding_text(Document(page_content="Text.", metadata={})) == "Text."
