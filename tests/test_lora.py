"""The adapter: trained for real on a tiny random BERT, repeatable to the byte, and the base is never touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from playbook import lora
from playbook.items import Example
from playbook.models import LoraRecipe

WORDS = "van late again today where bill wrong twice charged amount bed broken squeaks motor filter please help the is my".split()
TEXTS = {
    "DLV": ("the van is late", "van late again", "where is the van today", "my van is late again"),
    "BIL": ("the bill is wrong", "charged twice again", "wrong amount charged", "my bill charged twice"),
    "FIX": ("the bed squeaks", "motor is broken", "broken bed please help", "my motor squeaks"),
}
EXAMPLES = [
    Example(id=f"{code}{n}", text=text, label=code) for code, texts in TEXTS.items() for n, text in enumerate(texts)
]
RECIPE = LoraRecipe(rank=2, alpha=4, epochs=2, batch_size=4, learning_rate=0.01, max_tokens=16)


def tiny_bert(folder: Path, seed: int) -> str:
    """Save a two-layer BERT with random weights and its own word list, as a client's local model folder would look."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]), encoding="utf-8"
    )
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("models") / "tiny", seed=1)


@pytest.fixture(scope="module")
def trained(base: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[lora.Adapted, dict, Path]:
    folder = tmp_path_factory.mktemp("adapters") / "codes"
    return *lora.train(EXAMPLES, base, RECIPE, 7, folder), folder


def base_vectors(folder: str, texts: list[str]) -> np.ndarray:
    """Mean-pooled unit vectors straight from transformers, one text at a time."""
    model, tokenizer = (
        transformers.AutoModel.from_pretrained(folder).eval(),
        transformers.AutoTokenizer.from_pretrained(folder),
    )
    with torch.inference_mode():
        means = [model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0).numpy() for t in texts]
    return np.stack([m / np.linalg.norm(m) for m in means])


def test_the_tiny_tokenizer_knows_its_words(base: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    assert tokenizer.tokenize("The van is late") == ["the", "van", "is", "late"]


def test_training_reports_what_happened(trained: tuple) -> None:
    _, report, folder = trained
    assert [report[n] for n in ("examples", "codes", "steps", "base_unchanged")] == [12, 3, 6, True]
    assert report["losses"][-1] < report["losses"][0]
    assert 0 < report["trainable_parameters"] < report["all_parameters"]
    assert report["adapter_megabytes"] * 1e6 == (folder / "adapter_model.safetensors").stat().st_size


def test_only_adapter_files_are_saved_and_no_base_weights(trained: tuple, base: str) -> None:
    _, _, folder = trained
    names = {p.name for p in folder.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "playbook.json"} <= names
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".pth")]
    assert (folder / "adapter_model.safetensors").stat().st_size < (Path(base) / "model.safetensors").stat().st_size
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name], "no scratch folder stays behind"


def test_saved_facts_say_what_the_adapter_belongs_to(trained: tuple, base: str) -> None:
    facts = json.loads((trained[2] / "playbook.json").read_text())
    assert facts["labels"] == ["BIL", "DLV", "FIX"] and facts["seed"] == 7 and facts["embedder"] == base
    assert facts["base_sha256"] == lora.weights_hash(transformers.AutoModel.from_pretrained(base))


def test_two_runs_give_the_same_adapter_to_the_byte(trained: tuple, base: str, tmp_path: Path) -> None:
    _, report, folder = trained
    _, again = lora.train(EXAMPLES, base, RECIPE, 7, tmp_path / "codes")
    assert (tmp_path / "codes/adapter_model.safetensors").read_bytes() == (
        folder / "adapter_model.safetensors"
    ).read_bytes()
    assert again | {"seconds": 0} == report | {"seconds": 0}


def test_another_seed_gives_another_adapter(trained: tuple, base: str, tmp_path: Path) -> None:
    lora.train(EXAMPLES, base, RECIPE, 8, tmp_path / "codes")
    assert (tmp_path / "codes/adapter_model.safetensors").read_bytes() != (
        trained[2] / "adapter_model.safetensors"
    ).read_bytes()


def test_adapter_off_gives_the_base_s_own_vectors_and_on_changes_them(trained: tuple, base: str) -> None:
    adapted, texts = trained[0], [e.text for e in EXAMPLES]
    off, on = adapted.encode(texts, adapter=False), adapted.encode(texts)
    assert off == pytest.approx(base_vectors(base, texts), abs=1e-5), "padding in a batch must not change a vector"
    assert np.abs(on - off).max() > 1e-3
    assert np.linalg.norm(on, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    assert adapted.encode(texts) == pytest.approx(on), "switching it off is not for ever"


def test_training_draws_texts_of_one_code_together(trained: tuple) -> None:
    adapted, labels = trained[0], np.array([e.label for e in EXAMPLES])
    same = (labels[:, None] == labels[None, :]) & ~np.eye(len(labels), dtype=bool)

    def contrast(vectors: np.ndarray) -> float:
        cosines = vectors @ vectors.T
        return float(cosines[same].mean() - cosines[labels[:, None] != labels[None, :]].mean())

    texts = [e.text for e in EXAMPLES]
    assert contrast(adapted.encode(texts)) > contrast(adapted.encode(texts, adapter=False))


def test_base_files_are_not_touched_by_training(base: str, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in Path(base).iterdir()}
    lora.train(EXAMPLES, base, RECIPE, 1, tmp_path / "codes")
    assert {p.name: p.read_bytes() for p in Path(base).iterdir()} == before


def test_training_leaves_nothing_in_the_current_folder(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    lora.train(EXAMPLES, base, RECIPE, 1, tmp_path / "codes")
    assert list((tmp_path / "here").iterdir()) == []


def test_saved_adapter_opens_to_the_same_vectors(trained: tuple, base: str) -> None:
    adapted, _, folder = trained
    again, texts = lora.load(folder, base, RECIPE.max_tokens), [e.text for e in EXAMPLES]
    assert np.array_equal(again.encode(texts), adapted.encode(texts))


def test_adapter_is_refused_on_other_weights_naming_both(trained: tuple, base: str, tmp_path: Path) -> None:
    other = tiny_bert(tmp_path / "other", seed=2)
    with pytest.raises(ValueError, match=f"was trained on {base}, not on these weights of {other}: train it again"):
        lora.load(trained[2], other, 16)


def test_a_new_run_replaces_the_old_adapter_whole(base: str, tmp_path: Path) -> None:
    lora.train(EXAMPLES, base, RECIPE, 1, tmp_path / "codes")
    (tmp_path / "codes" / "stale.txt").write_text("from the old run")
    first = (tmp_path / "codes/adapter_model.safetensors").read_bytes()
    lora.train(EXAMPLES, base, RECIPE, 2, tmp_path / "codes")
    assert (tmp_path / "codes/adapter_model.safetensors").read_bytes() != first
    assert not (tmp_path / "codes" / "stale.txt").exists()


@pytest.mark.parametrize(("count", "codes"), [(0, 0), (1, 1), (4, 1)])
def test_fewer_than_two_codes_are_refused_before_anything_is_loaded(tmp_path: Path, count: int, codes: int) -> None:
    rows = [e for e in EXAMPLES if e.label == "DLV"][:count]
    with pytest.raises(
        ValueError, match=rf"{count} example\(s\) in {codes} code\(s\): an adapter needs at least two codes"
    ):
        lora.train(rows, "no/such/model", RECIPE, 0, tmp_path / "codes")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_loss_that_is_no_number_saves_nothing_and_keeps_the_old_adapter(
    base: str, tmp_path: Path, epochs: int
) -> None:
    wild = RECIPE.model_copy(update={"learning_rate": 1e38, "epochs": epochs})  # past the profile's own bounds
    with pytest.raises(RuntimeError, match="loss stopped being a number: lower learning_rate"):
        lora.train(EXAMPLES, base, wild, 1, tmp_path / "codes")
    assert list(tmp_path.iterdir()) == []
    lora.train(EXAMPLES, base, RECIPE, 1, tmp_path / "codes")
    kept = (tmp_path / "codes/adapter_model.safetensors").read_bytes()
    with pytest.raises(RuntimeError):
        lora.train(EXAMPLES, base, wild, 1, tmp_path / "codes")
    assert (tmp_path / "codes/adapter_model.safetensors").read_bytes() == kept


def test_damage_done_by_the_very_last_step_is_noticed(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step's loss is measured before its update: every loss can be a number while the weights no longer are."""
    original = transformers.Trainer.train

    def spoil(self: transformers.Trainer) -> object:
        done = original(self)
        for name, tensor in self.model.named_parameters():
            if "lora_B" in name:
                tensor.data.fill_(float("nan"))
        return done

    monkeypatch.setattr(transformers.Trainer, "train", spoil)
    with pytest.raises(RuntimeError, match="no adapter was saved"):
        lora.train(EXAMPLES, base, RECIPE, 1, tmp_path / "codes")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_while_saving_leaves_the_old_adapter(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora.train(EXAMPLES, base, RECIPE, 1, tmp_path / "codes")
    kept = (tmp_path / "codes/adapter_model.safetensors").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("peft.PeftModel.save_pretrained", full)
    with pytest.raises(OSError, match="disk is full"):
        lora.train(EXAMPLES, base, RECIPE, 2, tmp_path / "codes")
    monkeypatch.undo()
    assert (tmp_path / "codes/adapter_model.safetensors").read_bytes() == kept
    lora.load(tmp_path / "codes", base, 16)
