"""The vector store: scores are cosines, a saved index comes back the same, and damage of any byte is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings, make_store, passage
from langchain_core.documents import Document

import playbook.store
from playbook.store import FaissStore, IndexMismatch

RED, BLUE, GREEN = (
    Document(id=c, page_content=f"{c} bike", metadata={"source": f"{c}.md", "n": 1}) for c in ("red", "blue", "green")
)


def filled(*documents: Document) -> FaissStore:
    store = FaissStore(HashEmbeddings())
    store.add_documents(list(documents or (RED, BLUE, GREEN)))
    return store


def contents(store: FaissStore) -> list[tuple[str, str, dict]]:
    return [(i, d.page_content, d.metadata) for i, d in store.documents.items()]


def test_scores_are_cosines_best_first() -> None:
    found = filled().similarity_search_with_score("red bike", k=3)
    assert found[0][0].id == "red"
    assert [s for _, s in found] == pytest.approx([1.0, 0.5, 0.5], abs=1e-6)  # two equal words; one of two words


def test_score_of_one_shared_word_in_texts_of_unequal_length() -> None:
    store = filled(Document(id="x", page_content="red bike with four gears"))
    assert store.similarity_search_with_score("bike")[0][1] == pytest.approx(1 / np.sqrt(5), abs=1e-6)


def test_vectors_of_an_embedder_that_does_not_normalise_are_made_unit() -> None:
    class Doubled(HashEmbeddings):
        def encode(self, texts: list[str], progress: bool = False) -> np.ndarray:
            return 2 * super().encode(texts, progress)

    store = FaissStore(Doubled())
    store.add_documents([RED])
    assert store.similarity_search_with_score("red bike")[0][1] == pytest.approx(1.0, abs=1e-6)


def test_filter_leaves_out_before_ranking() -> None:
    store = filled()
    only = store.similarity_search("red bike", k=3, filter=lambda d: d.metadata["source"] == "green.md")
    assert [d.id for d in only] == ["green"]
    assert store.similarity_search("red bike", filter=lambda d: False) == []


@pytest.mark.parametrize("k", [0, -1])
def test_no_results_for_no_places_or_an_empty_store(k: int) -> None:
    assert filled().similarity_search("red", k=k) == []
    assert FaissStore(HashEmbeddings()).similarity_search("red") == []


def test_more_results_asked_than_there_are() -> None:
    assert len(filled().similarity_search("bike", k=99)) == 3


def test_get_by_ids_keeps_the_order_asked_and_leaves_out_unknown_ids() -> None:
    assert [d.id for d in filled().get_by_ids(["green", "none", "red"])] == ["green", "red"]


def test_delete_some_unknown_and_all() -> None:
    store = filled()
    store.delete(["red", "unknown"])
    assert {d.id for d in store.similarity_search("red bike", k=3)} == {"blue", "green"}
    assert store.vectors.shape[0] == len(store) == 2
    store.delete()
    assert len(store) == 0 and store.similarity_search("bike") == []
    store.add_documents([RED])
    assert [d.id for d in store.similarity_search("bike")] == ["red"]


def test_a_document_with_a_known_id_replaces_the_old_one() -> None:
    store = filled()
    store.add_documents([Document(id="red", page_content="yellow tram")])
    assert len(store) == 3
    assert store.similarity_search_with_score("yellow tram", k=1)[0][1] == pytest.approx(1.0, abs=1e-6)
    assert all(d.page_content != "red bike" for d in store.documents.values())


def test_same_id_twice_in_one_call_keeps_the_last() -> None:
    store = filled(RED, Document(id="red", page_content="other"))
    assert contents(store) == [("red", "other", {})]
    assert store.vectors.shape[0] == 1


def test_add_texts_with_and_without_ids() -> None:
    store = FaissStore.from_texts(["red bike", "blue bike"], HashEmbeddings(), [{"n": 1}, {"n": 2}], ids=["a", "b"])
    assert contents(store) == [("a", "red bike", {"n": 1}), ("b", "blue bike", {"n": 2})]
    assert len(set(store.add_texts(["x", "y"]))) == 2 and len(store) == 4


def test_number_of_ids_must_match() -> None:
    with pytest.raises(ValueError, match="1 ids for 2 documents"):
        FaissStore(HashEmbeddings()).add_texts(["x", "y"], ids=["a"])


def test_sync_counts_and_embeds_only_new_content() -> None:
    store = filled(RED, BLUE)
    store.embedding.embedded.clear()
    assert store.sync([GREEN, BLUE]) == {"added": 1, "kept": 1, "removed": 1}
    assert store.embedding.embedded == ["green bike"]
    assert list(store.documents) == ["green", "blue"], "the order of the chunks given"
    assert store.similarity_search_with_score("blue bike", k=1)[0][1] == pytest.approx(1.0, abs=1e-6)
    assert store.sync([GREEN, BLUE]) == {"added": 0, "kept": 2, "removed": 0}
    assert store.sync([]) == {"added": 0, "kept": 0, "removed": 2} and len(store) == 0


def test_sync_takes_over_new_positions_of_kept_chunks() -> None:
    store = filled(RED)
    store.sync([Document(id="red", page_content="red bike", metadata={"source": "red.md", "n": 2})])
    assert store.documents["red"].metadata["n"] == 2


def test_saved_index_opens_the_same(tmp_path: Path) -> None:
    store = filled(RED, BLUE, Document(id="ü", page_content="Größe\n日本 \u2028 🙂", metadata={"place": "Übersicht"}))
    store.save(tmp_path)
    again = FaissStore.open(tmp_path, HashEmbeddings())
    assert contents(again) == contents(store)
    assert np.array_equal(again.vectors, store.vectors)
    assert again.similarity_search_with_score("red bike", k=1)[0][1] == pytest.approx(1.0, abs=1e-6)


def test_empty_store_is_saved_and_opened_and_an_absent_index_is_empty(tmp_path: Path) -> None:
    FaissStore(HashEmbeddings()).save(tmp_path)
    assert len(FaissStore.open(tmp_path, HashEmbeddings())) == 0
    assert len(FaissStore.open(tmp_path / "nowhere", HashEmbeddings())) == 0


def test_same_content_gives_the_same_files_and_old_generations_go(tmp_path: Path) -> None:
    filled().save(tmp_path / "a")
    filled(RED).save(tmp_path / "b")
    filled().save(tmp_path / "b")
    left, right = (
        {p.relative_to(tmp_path / f).as_posix(): p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()}
        for f in "ab"
    )
    assert left == right and len(left) == 4


def test_no_pickle_on_disk(tmp_path: Path) -> None:
    filled().save(tmp_path)
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {"", ".npy", ".jsonl", ".json"}
    assert np.load(next(tmp_path.rglob("vectors.npy")), allow_pickle=False).shape == (3, 4096)


def test_other_embedder_is_refused_naming_both(tmp_path: Path) -> None:
    filled().save(tmp_path)
    with pytest.raises(IndexMismatch, match=r"made by hash/float32/4096.*uses other/float32/4096.*notebook 04"):
        FaissStore.open(tmp_path, HashEmbeddings(name="other"))


def test_every_flipped_byte_is_found_at_open(tmp_path: Path) -> None:
    store = FaissStore(HashEmbeddings(dimension=8))
    store.add_documents([RED])
    store.save(tmp_path / "index")
    embedder, tried = HashEmbeddings(dimension=8), 0
    for path in sorted(p for p in (tmp_path / "index").rglob("*") if p.is_file()):
        data = path.read_bytes()
        for place in range(len(data)):
            for bit in (0x01, 0x80):
                path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
                with pytest.raises(IndexMismatch):
                    FaissStore.open(tmp_path / "index", embedder)
                tried += 1
        path.write_bytes(data)
    assert tried > 900
    assert len(FaissStore.open(tmp_path / "index", embedder)) == 1


@pytest.mark.parametrize("name", ["vectors.npy", "chunks.jsonl", "manifest.json"])
def test_missing_and_shortened_files_are_found(tmp_path: Path, name: str) -> None:
    filled().save(tmp_path)
    path = next(tmp_path.rglob(name))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IndexMismatch, match="damaged"):
        FaissStore.open(tmp_path, HashEmbeddings())
    path.unlink()
    with pytest.raises(IndexMismatch, match="delete that folder"):
        FaissStore.open(tmp_path, HashEmbeddings())


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_crash_between_file_writes_leaves_the_old_index_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    filled(RED).save(tmp_path)
    done, original = [], playbook.store.write_atomic

    def crash(path: Path, content: str | bytes) -> Path:
        if len(done) == writes:
            raise OSError("the disk is full")
        done.append(path)
        return original(path, content)

    monkeypatch.setattr(playbook.store, "write_atomic", crash)
    with pytest.raises(OSError, match="disk is full"):
        filled(BLUE, GREEN).save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["red"]
    monkeypatch.undo()
    filled(BLUE, GREEN).save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["blue", "green"]


def test_a_crash_while_old_generations_are_removed_leaves_the_new_index_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(RED).save(tmp_path)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", crash)
    with pytest.raises(KeyboardInterrupt):
        filled(BLUE).save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["blue"]


def test_text_of_decides_what_is_embedded() -> None:
    store = make_store(passage("1", "Monthly.", "care.md", "Filters"))
    assert store.embedding.embedded == ["care. Filters\nMonthly."]
    assert store.documents["1"].page_content == "Monthly."
