"""Search: words as customers write them, two legs that can be checked by hand, and their fusion."""

from __future__ import annotations

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings, make_store, passage
from langchain_core.documents import Document

from playbook.retrieval import HybridRetriever, KeywordIndex, words

THREE = (
    passage("deposit", "A deposit is due on delivery", "rental.md"),
    passage("filter", "Change filter LR-310 every month", "manual.md"),
    passage("late", "A late delivery costs nothing", "delivery.md"),
)


def retriever(weight: float = 0.5, passages: tuple[Document, ...] = THREE) -> HybridRetriever:
    return HybridRetriever(store=make_store(*passages), weight=weight)


def scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Part LR-310/B?", ["part", "lr-310/b", "lr", "310", "b"]),
        ("form FM-12.4", ["form", "fm-12.4", "fm", "12", "4"]),
        ("$1,250.50", ["1,250.50", "1", "250", "50"]),
        ("What is the deposit for rentals?", ["deposit", "rental"]),
        ("charging, charged, charges", ["charg", "charg", "charg"]),
        ("Größe ÜBER 5", ["größe", "über", "5"]),
        ("", []),
        ("the of ?!", []),
    ],
)
def test_words_keep_part_numbers_whole_and_split(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_part_number_is_found_however_it_is_written() -> None:
    for question in ("LR-310", "lr 310", "Is LR-310 in stock?"):
        assert retriever(0.0).search(question, 1)[0].passage.id == "filter", question


def test_keyword_scores_are_zero_for_unknown_words_and_prefer_rare_ones() -> None:
    index = KeywordIndex(THREE)
    assert index.scores("helicopter the").tolist() == [0.0, 0.0, 0.0]
    scores = index.scores("delivery filter")
    assert scores[1] > scores[0] > 0, "filter is in one passage, delivery in two"
    filters, deliveries, helicopters = (index.rarity(words(w)[0]) for w in ("filter", "delivery", "helicopter"))
    assert helicopters > filters > deliveries > 0


def test_weight_one_ranks_by_cosine_alone() -> None:
    hits = retriever(1.0).search("late delivery", 3)
    vectors = make_store(*THREE).vectors
    query = make_store().embedding.encode(["late delivery"])[0]
    expected = sorted(zip((vectors @ query).tolist(), [p.id for p in THREE], strict=True), reverse=True)
    assert [h.passage.id for h in hits] == [i for _, i in expected]
    assert [h.cosine for h in hits] == pytest.approx([c for c, _ in expected], abs=1e-6)


def test_weight_zero_ranks_by_keywords_alone() -> None:
    hits = retriever(0.0).search("late delivery", 3)
    expected = KeywordIndex(THREE).scores("late delivery")
    assert [h.passage.id for h in hits] == ["late", "deposit", "filter"]
    assert [h.keyword for h in hits] == pytest.approx([expected[2], expected[0], expected[1]], abs=1e-6)
    assert hits[0].score == 1.0 and hits[-1].score == 0.0


def test_fusion_is_the_weighted_sum_of_the_scaled_legs() -> None:
    question, weight = "deposit on late delivery", 0.25
    store = make_store(*THREE)
    dense = store.vectors @ store.embedding.encode([question])[0]
    sparse = KeywordIndex(THREE).scores(question)
    by_hand = weight * scaled(dense) + (1 - weight) * scaled(sparse)
    hits = retriever(weight).search(question, 3)
    order = np.argsort(-by_hand, kind="stable")
    assert [h.passage.id for h in hits] == [THREE[n].id for n in order]
    assert [h.score for h in hits] == pytest.approx(by_hand[order].tolist(), abs=1e-6)


def test_fusion_with_given_legs_can_be_read_off() -> None:
    """Cosines 0.2, 0.6, 1.0 scale to 0, 0.5, 1; keywords 4, 1, 0 scale to 1, 0.25, 0; half and half gives 0.5, 0.375, 0.5."""
    fused = retriever(0.5)
    fused.store.vectors = np.array([[0.2], [0.6], [1.0]], np.float32)
    fused.store.embedding.embed_query = lambda text: [1.0]
    fused.keywords.scores = lambda question: np.array([4.0, 1.0, 0.0])
    hits = fused.search("anything", 3)
    assert [h.score for h in hits] == pytest.approx([0.5, 0.5, 0.375])
    assert [h.passage.id for h in hits] == ["deposit", "late", "filter"], "equal scores keep the passages' order"


def test_without_leaves_one_source_out_of_both_legs() -> None:
    for weight in (0.0, 0.5, 1.0):
        found = {h.passage.id for h in retriever(weight).search("late delivery", 3, without="delivery.md")}
        assert found == {"deposit", "filter"}


def test_without_the_only_source_finds_nothing() -> None:
    assert retriever(passages=THREE[:1]).search("deposit", without="rental.md") == []


def test_empty_store_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="the index is empty: run notebook 04"):
        retriever(passages=())


def test_number_of_results() -> None:
    assert len(retriever().search("delivery", 2)) == 2
    assert len(retriever().search("delivery", 99)) == 3


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_weight_outside_zero_to_one_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        retriever(weight)


def test_varied_shares_the_keyword_index() -> None:
    first = retriever(0.5)
    second = first.varied(weight=1.0)
    assert second.weight == 1.0 and first.weight == 0.5
    assert second.keywords is first.keywords


class Batched(HashEmbeddings):
    """An embedder that takes many questions at a time, and notes how many it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def embed_queries(self, texts: list[str]) -> np.ndarray:
        self.calls.append(texts)
        return self.encode(texts)


def test_questions_are_embedded_together_and_once() -> None:
    fused, embedder = retriever(), Batched()
    alone = [fused.vector(text) for text in ("late delivery", "filter")]
    fused.store.embedding, fused.asked = embedder, {}
    fused.varied(weight=1.0).prepare(q for q in ("late delivery", "filter", "filter"))
    assert embedder.calls == [["filter", "late delivery"]]
    assert [fused.vector(text) for text in ("late delivery", "filter")] == [pytest.approx(v) for v in alone]
    fused.search("filter")
    assert [made for call in embedder.calls[1:] for made in call] == [], "nothing is embedded again"


def test_an_embedder_without_a_batch_form_is_asked_one_by_one() -> None:
    fused = retriever()
    embedder = fused.store.embedding
    embedder.embedded.clear()
    fused.prepare(["late delivery", "filter"])
    fused.prepare(["filter", "deposit"])
    assert embedder.embedded == ["filter", "late delivery", "deposit"]
    assert fused.vector("deposit") == pytest.approx(embedder.encode(["deposit"])[0])


def test_langchain_invoke_gives_the_passages_of_search() -> None:
    fused = retriever()
    assert [d.id for d in fused.invoke("late delivery")] == [h.passage.id for h in fused.search("late delivery")]


def test_same_question_gives_the_same_ranking_in_any_order_of_calls() -> None:
    fused = retriever()
    first = [h.passage.id for h in fused.search("delivery")]
    fused.search("filter")
    assert [h.passage.id for h in fused.search("delivery")] == first


def test_variety_pushes_a_near_copy_behind_another_passage() -> None:
    twins = (passage("a", "deposit due on delivery", "a.md"), passage("b", "deposit due on delivery", "b.md"))
    found = retriever(1.0, (*twins, passage("c", "a late deposit costs nothing", "c.md")))
    asked = "deposit due on delivery"
    assert [hit.passage.id for hit in found.search(asked)] == ["a", "b", "c"]
    assert [hit.passage.id for hit in found.varied(diversity=0.8).search(asked)] == ["a", "c", "b"]
