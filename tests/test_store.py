"""The vector store: scores are cosines, a saved index comes back the same, and damage of any byte is found."""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from fakes_embedding import HashEmbeddings, make_store, passage
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

import playbook.store
from playbook import engagement
from playbook.store import FILE, FaissStore, IndexBusy, IndexMismatch, one_writer
from tools import battery

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


def test_a_filter_that_the_store_does_not_know_is_refused_and_not_passed_over() -> None:
    with pytest.raises(TypeError, match="filter"):
        filled().similarity_search("red bike", k=3, filter=lambda d: d.metadata["source"] == "green.md")


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


def test_a_renamed_file_and_a_moved_passage_cost_no_embedding(tmp_path: Path) -> None:
    store = filled(RED, BLUE)
    store.save(tmp_path)
    store = FaissStore.open(tmp_path, HashEmbeddings())
    moved = [Document(id="new" + d.id, page_content=d.page_content, metadata={"source": "b.md"}) for d in (BLUE, RED)]
    assert store.sync(moved) == {"added": 2, "kept": 0, "removed": 2}
    assert store.embedding.embedded == []
    assert [(d.id, round(s, 6)) for d, s in store.similarity_search_with_score("red bike", 2)] == [
        ("newred", 1.0),
        ("newblue", 0.5),
    ]


def test_equal_texts_are_embedded_once() -> None:
    store = FaissStore(HashEmbeddings())
    store.sync([Document(id=str(n), page_content="red bike") for n in range(3)])
    assert store.embedding.embedded == ["red bike"] and store.vectors.shape[0] == 3


def test_changed_text_under_the_same_id_is_embedded_again() -> None:
    store = filled(RED)
    assert store.sync([Document(id="red", page_content="yellow tram")]) == {"added": 1, "kept": 0, "removed": 0}
    assert store.similarity_search_with_score("yellow tram")[0][1] == pytest.approx(1.0, abs=1e-6)


def test_another_rule_for_what_is_embedded_embeds_again(tmp_path: Path) -> None:
    filled(RED).save(tmp_path)
    store = FaissStore.open(tmp_path, HashEmbeddings(), lambda d: f"Bikes: {d.page_content}")
    store.sync([RED])
    assert store.embedding.embedded == ["Bikes: red bike"]


@pytest.mark.parametrize("seed", range(20))
def test_incremental_equals_rebuilt(seed: int) -> None:
    rng, store = np.random.default_rng(seed), FaissStore(HashEmbeddings(64))
    for _ in range(8):
        chosen = rng.permutation(12)[: rng.integers(0, 12)]
        chunks = [Document(id=f"{n}", page_content=f"text {n % 9} v{rng.integers(2)}") for n in chosen]
        store.sync(chunks)
    again = FaissStore(HashEmbeddings(64))
    again.sync(chunks)
    assert contents(store) == contents(again) and store.keys == again.keys
    assert np.array_equal(store.vectors, again.vectors) or not chunks


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


def test_same_content_gives_the_same_files(tmp_path: Path) -> None:
    filled().save(tmp_path / "a")
    filled(RED).save(tmp_path / "b")
    filled().save(tmp_path / "b")
    left, right = (
        {p.relative_to(tmp_path / f).as_posix(): p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()}
        for f in "ab"
    )
    assert left == right and len(left) == 2


def test_no_pickle_on_disk(tmp_path: Path) -> None:
    filled().save(tmp_path)
    _, head, vectors = (tmp_path / FILE).read_bytes().split(b"\n", 2)
    assert list(json.loads(head)) == ["embedder", "keys", "documents"]
    assert np.load(io.BytesIO(vectors), allow_pickle=False).shape == (3, 4096)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["LOCK", FILE]


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
    assert tried > 700
    assert len(FaissStore.open(tmp_path / "index", embedder)) == 1


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 200, -1])
def test_a_shortened_file_is_found(tmp_path: Path, length: int) -> None:
    filled().save(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(IndexMismatch, match="damaged .*: delete that folder and run notebook 04 again"):
        FaissStore.open(tmp_path, HashEmbeddings())


@pytest.mark.parametrize("step", ["mkstemp", "fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_index_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    filled(RED).save(tmp_path)

    def crash(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(engagement.tempfile if step == "mkstemp" else engagement.os, step, crash)
    with pytest.raises(OSError, match="disk is full"):
        filled(BLUE, GREEN).save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["red"]
    monkeypatch.undo()
    filled(BLUE, GREEN).save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["blue", "green"]


def test_text_of_decides_what_is_embedded() -> None:
    store = make_store(passage("1", "Monthly.", "care.md", "Filters"))
    assert store.embedding.embedded == ["Filters\nMonthly."]
    assert store.documents["1"].page_content == "Monthly."


# ------------------------------------------------------------------------------------- what LangChain asks of a store


class TestLangChainSuite(VectorStoreIntegrationTests):
    """LangChain's own tests of a vector store, all of them."""

    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return FaissStore(self.get_embeddings())


for _name, _test in vars(VectorStoreIntegrationTests).items():
    if inspect.iscoroutinefunction(_test):
        pytest.mark.asyncio(_test)


def test_the_suite_is_run_whole() -> None:
    own = {n for n in vars(TestLangChainSuite) if n.startswith("test_")}
    assert own == set()
    assert len([n for n in dir(TestLangChainSuite) if n.startswith("test_")]) == 25
    assert TestLangChainSuite().has_sync and TestLangChainSuite().has_async and TestLangChainSuite().has_get_by_ids


def test_it_serves_as_a_langchain_retriever_with_roles() -> None:
    store = filled(RED, Document(id="secret", page_content="red bike", metadata={"audience": ["board"]}))
    retriever = store.as_retriever(search_kwargs={"k": 5, "roles": ["staff"]})
    assert [d.id for d in retriever.invoke("red bike")] == ["red"]


# ----------------------------------------------------------------------------------------------- who may see what


@pytest.mark.parametrize(
    ("metadata", "roles", "seen"),
    [
        ({}, [], True),
        ({"audience": ["everyone"]}, [], True),
        ({"audience": ["hr", "board"]}, ["hr"], True),
        ({"audience": ("hr",)}, ["staff", "hr"], True),
        ({"audience": ["hr"]}, ["staff"], False),
        ({"audience": ["hr"]}, [], False),
        ({"audience": ["hr"]}, "hr", True),  # one role given as a word is that role, not its letters
        ({"audience": ["h"]}, "hr", False),
        ({"audience": []}, ["hr", "everyone"], False),
        ({"audience": None}, ["hr"], False),
        ({"audience": "everyone"}, ["hr"], False),  # not a list: closed
        ({"audience": [["hr"], 7, {}]}, ["hr"], False),
        ({"audience": []}, None, True),  # no roles given: no question of who asks
    ],
)
def test_audience_rules(metadata: dict[str, Any], roles: Any, seen: bool) -> None:
    store = filled(Document(id="x", page_content="red bike", metadata=metadata))
    assert [d.id for d in store.similarity_search("red bike", roles=roles)] == ["x"] * seen
    assert store.mask(roles).tolist() == [seen]


@pytest.mark.parametrize("seed", range(100))
def test_search_in_a_random_world_finds_exactly_the_best_of_what_may_be_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["hr", "board", "sales", "depot", "everyone"]
    size, k = int(rng.integers(1, 120)), int(rng.integers(1, 12))
    vectors = rng.standard_normal((size, 8)).astype(np.float32)
    faiss.normalize_L2(vectors)
    audiences = [rng.choice(names, rng.integers(0, 3)).tolist() if rng.random() < 0.9 else None for _ in range(size)]
    documents = [
        Document(id=str(n), page_content=f"{n}", metadata={"n": n} if a is None else {"n": n, "audience": a})
        for n, a in enumerate(audiences)
    ]
    store = FaissStore(HashEmbeddings(8))
    store._set({d.id: d for d in documents}, [d.id for d in documents], vectors)
    for _ in range(3):
        roles = rng.choice(names[:-1], rng.integers(0, 3)).tolist()
        query = rng.standard_normal(8).astype(np.float32)
        query /= np.linalg.norm(query)
        allowed = [n for n, a in enumerate(audiences) if a is None or set(a) & {*roles, "everyone"}]
        cosines = store.vectors @ query
        expected = sorted(allowed, key=lambda n: -cosines[n])[:k]
        found = store.search(query, k, roles)
        assert [d.metadata["n"] for d, _ in found] == expected
        assert [s for _, s in found] == pytest.approx([float(cosines[n]) for n in expected], abs=1e-5)


def test_a_withdrawn_right_counts_for_the_next_question_and_costs_no_embedding() -> None:
    store, staff = filled(RED), ["staff"]
    assert len(store.search(store.vectors[0], roles=staff)) == 1
    store.embedding.embedded.clear()
    store.sync([Document(id="red", page_content="red bike", metadata={"audience": ["board"]})])
    assert store.search(store.vectors[0], roles=staff) == [] and store.embedding.embedded == []
    assert len(store.search(store.vectors[0], roles=["board"])) == 1


def test_the_mask_of_a_set_of_roles_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store, calls, original = filled(), [], playbook.store._may_see
    monkeypatch.setattr(playbook.store, "_may_see", lambda *a: calls.append(a) or original(*a))
    for roles in (["hr", "board"], ["board", "hr"], ("hr", "board", "everyone")):
        assert store.mask(roles).all() and len(store.search(store.vectors[0], roles=roles)) == 3
    assert len(calls) == 3, "one look at each of the three documents"


# ------------------------------------------------------------------------------------------ one commit, one writer


def test_fifty_kills_leave_the_old_or_the_new_index(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as lanes:  # each lane its own folder and its own children
        tried = list(lanes.map(lambda n: battery.kills(tmp_path / str(n), 25, seed=n), (0, 1)))
    assert sum(tried) == 50


def test_every_file_operation_may_fail(tmp_path: Path) -> None:
    assert battery.faults(tmp_path) > 20


def test_bits_flipped_anywhere_are_found(tmp_path: Path) -> None:
    assert battery.flips(tmp_path, 200) == 200


def test_readers_beside_a_writer_see_whole_versions(tmp_path: Path) -> None:
    assert battery.readers(tmp_path, 1.5) > 3


def test_the_child_that_is_killed_imports_no_heavy_library() -> None:
    script = "import sys, playbook.store; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "torch",
        "transformers",
        "sentence_transformers",
        "sklearn",
        "pandas",
        "scipy",
    }


HOLDER = """
import sys, time
from pathlib import Path
from playbook.store import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_gets_one_clear_sentence_and_a_dead_one_does_not_block(tmp_path: Path) -> None:
    filled(RED).save(tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(IndexBusy, match=r"Another notebook or program is writing the index in .*: wait until"):
            one_writer(tmp_path, wait=0.1)
        with pytest.raises(IndexBusy):
            filled(BLUE).save(tmp_path)
        assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["red"], "reading needs no lock"
    finally:
        holder.kill()
        holder.wait()
    filled(BLUE).save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["blue"]


def test_a_writer_may_hold_the_lock_around_the_whole_update(tmp_path: Path) -> None:
    with one_writer(tmp_path):
        store = FaissStore.open(tmp_path, HashEmbeddings())
        store.sync([RED])
        store.save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["red"]


def test_an_index_that_another_notebook_changed_is_not_overwritten(tmp_path: Path) -> None:
    filled(RED).save(tmp_path)
    mine, other = (FaissStore.open(tmp_path, HashEmbeddings()) for _ in range(2))
    other.sync([BLUE])
    other.save(tmp_path)
    mine.sync([GREEN])
    with pytest.raises(IndexBusy, match="has been changed since it was opened here: open it again"):
        mine.save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["blue"]
    mine.sync([BLUE])
    mine.save(tmp_path)  # the same content is no conflict
    mine.sync([GREEN])
    mine.save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["green"]


def test_saving_the_same_content_writes_nothing(tmp_path: Path) -> None:
    store = filled()
    store.save(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != "LOCK"}
    store.save(tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != "LOCK"}
    assert store.generation == (tmp_path / FILE).read_bytes()[:64].decode()


# ------------------------------------------------------------------------------------------------------- erasure


def traces(folder: Path, words: str) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file() and words.encode() in p.read_bytes()]


def test_nothing_of_a_removed_text_is_left_in_the_folder(tmp_path: Path) -> None:
    secret = Document(id="s", page_content="Dana Example owes 40 dollars")
    store = filled(RED, secret)
    store.save(tmp_path)
    assert traces(tmp_path, "Dana Example")
    vector = store.vectors[1].tobytes()
    store.sync([RED])
    store.save(tmp_path)
    assert traces(tmp_path, "Dana Example") == []
    assert not any(vector in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_a_removal_that_fails_is_told_and_done_by_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(RED, Document(id="s", page_content="Dana Example"))
    store.save(tmp_path)
    store.sync([RED])
    (tmp_path / f".{FILE}.x1").write_text("Dana")
    remove = Path.unlink

    def in_use(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            raise PermissionError(13, "used by another program", str(path))
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", in_use)
    with pytest.raises(PermissionError, match=rf"used by another program: .*{FILE}\.x1"):
        store.save(tmp_path)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["red"], "the new index is in force"
    assert traces(tmp_path, "Dana") == [f".{FILE}.x1"]
    monkeypatch.undo()
    store.save(tmp_path)
    assert traces(tmp_path, "Dana") == []


def test_what_a_stopped_writer_left_is_removed_at_the_next_opening(tmp_path: Path) -> None:
    filled(RED).save(tmp_path)
    (tmp_path / f".{FILE}.x1").write_text("Dana")
    FaissStore.open(tmp_path, HashEmbeddings())
    assert traces(tmp_path, "Dana") == []
    battery.tidy(tmp_path)


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_an_index_in_a_folder_that_cannot_be_written_opens(tmp_path: Path) -> None:
    filled(RED).save(tmp_path)
    tmp_path.chmod(0o500)
    assert list(FaissStore.open(tmp_path, HashEmbeddings()).documents) == ["red"]
    tmp_path.chmod(0o700)


# ---------------------------------------------------------------------------------------------------- odd content


def test_text_that_is_not_whole_unicode_is_kept(tmp_path: Path) -> None:
    store = FaissStore(HashEmbeddings())
    store.add_documents([Document(id="x", page_content="half a sign \ud83d here")])
    store.save(tmp_path)
    assert FaissStore.open(tmp_path, HashEmbeddings()).documents["x"].page_content == "half a sign \ud83d here"


def test_an_embedder_that_can_take_the_index_s_precision_does(tmp_path: Path) -> None:
    class Auto(HashEmbeddings):
        def matching(self, fingerprint: str) -> HashEmbeddings:
            return HashEmbeddings() if fingerprint == "hash/float32/4096" else self

    filled(RED).save(tmp_path)
    assert FaissStore.open(tmp_path, Auto(name="quick")).fingerprint == "hash/float32/4096"
    filled(RED).save(tmp_path / "b")
    store = FaissStore(HashEmbeddings(name="third"))
    store.add_documents([RED])
    store.save(tmp_path / "c")
    with pytest.raises(IndexMismatch, match=r"made by third/float32/4096.*uses quick/float32/4096"):
        FaissStore.open(tmp_path / "c", Auto(name="quick"))
