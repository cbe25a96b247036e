"""The only module that trains: a LoRA adapter on the profile's embedder, for codes with few examples each.

Recipe: adapt all linear layers so that texts of one code lie together (cross-entropy over cosines to one learned
prototype a code, started at the code's mean), then a logistic regression on the adapted vectors. Built on peft and
transformers' Trainer. Knows texts, labels and weights on disk; knows no plan, gate or arm table. The base is never
changed, and its hash is taken before and after to show it.
"""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from torch import nn

from playbook.checked import TABLES, read_yaml
from playbook.embedding import pick_device, weights_path
from playbook.items import Example
from playbook.models import LoraRecipe

BATCH = 64  # texts encoded at once
RECIPE: dict[str, Any] = read_yaml(TABLES / "lora.yaml")


@dataclass
class Adapted:
    """An embedder with its adapter; `encode(..., adapter=False)` gives the base's own vectors."""

    encoder: Any
    tokenizer: Any

    def tokens(self, texts: Sequence[str]) -> Any:
        """What the encoder takes: padded token ids and attention mask of some texts, cut at the recipe's longest."""
        return self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")

    def encode(self, texts: Sequence[str], adapter: bool = True) -> np.ndarray:
        """Unit vectors, shape (n, dimension), with the adapter switched on or off."""
        self.encoder.eval()
        batches = (self.tokens(texts[n : n + BATCH]).to(self.encoder.device) for n in range(0, len(texts), BATCH))
        with torch.inference_mode(), nullcontext() if adapter else self.encoder.disable_adapter():
            return torch.cat([_pooled(self.encoder, batch) for batch in batches]).float().cpu().numpy()


class _PrototypeModel(nn.Module):
    """Encoder plus one prototype a code; returns what Trainer expects."""

    def __init__(self, encoder: Any, prototypes: torch.Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.prototypes = nn.Parameter(prototypes)

    def forward(self, tokens: Mapping[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = RECIPE["sharpness"] * _pooled(self.encoder, tokens) @ nn.functional.normalize(self.prototypes, dim=1).T
        return {"loss": nn.functional.cross_entropy(logits, labels, label_smoothing=RECIPE["label_smoothing"])}


def _pooled(encoder: Any, tokens: Mapping[str, torch.Tensor]) -> torch.Tensor:
    hidden = encoder(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over the base's parameters, adapter and added layers left out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.named_parameters()):
        if "lora_" not in name:
            digest.update(name.replace("base_layer.", "").encode() + tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def train(
    examples: Sequence[Example], embedder: str, recipe: LoraRecipe, seed: int, folder: Path
) -> tuple[Adapted, dict[str, Any]]:
    """Train an adapter on labelled texts and save it under `folder` as safetensors, whole or not at all.

    The trainer's own bar shows steps and losses. Returns it with what a client must see of the run; losses, seconds and
    device differ between machines.
    Same seed, machine and versions give the same adapter. Raises ValueError for fewer than two examples or codes, and
    RuntimeError when the loss stops being a number (nothing is saved then).
    """
    labels = sorted({e.label for e in examples})
    if len(labels) < 2:
        raise ValueError(f"{len(examples)} example(s) in {len(labels)} code(s): an adapter needs at least two codes.")
    transformers.set_seed(seed)
    base, tokenizer, before = _open_base(embedder, recipe.max_tokens)
    config = peft.LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, **RECIPE["adapter"])
    adapted = Adapted(peft.get_peft_model(base, config), tokenizer)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(adapted, examples, recipe, seed, scratch)
        seconds = trainer.train().metrics["train_runtime"]
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]  # the mean of each pass
    after = adapted.encode([examples[0].text])[0]  # the last step's damage has no loss yet
    if not np.isfinite([*losses, *after]).all():
        raise RuntimeError("the loss stopped being a number: lower learning_rate in the profile; no adapter was saved.")
    size = _save(adapted, folder, {"embedder": embedder, "base_sha256": before, "labels": labels, "seed": seed})
    trainable, every = adapted.encoder.get_nb_trainable_parameters()
    return adapted, {
        "examples": len(examples),
        "codes": len(labels),
        "steps": trainer.state.global_step,
        "trainable_parameters": trainable,
        "all_parameters": every - trainable,
        "adapter_megabytes": size / 1e6,
        "base_unchanged": weights_hash(adapted.encoder.get_base_model()) == before,
        "losses": losses,
        "seconds": seconds,
        "device": " - ".join(pick_device()),
    }


def _open_base(embedder: str, max_tokens: int) -> tuple[Any, Any, str]:
    """Base encoder in float32, its tokenizer (which cuts at `max_tokens`) and the hash of its weights."""
    path = weights_path(embedder)
    base = transformers.AutoModel.from_pretrained(path, dtype=torch.float32).to(pick_device()[0])
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, model_max_length=max_tokens)
    return base, tokenizer, weights_hash(base)


def _trainer(
    adapted: Adapted, examples: Sequence[Example], recipe: LoraRecipe, seed: int, scratch: str
) -> transformers.Trainer:
    texts = [e.text for e in examples]
    codes, target = np.unique([e.label for e in examples], return_inverse=True)
    vectors = torch.from_numpy(adapted.encode(texts))
    prototypes = torch.stack([vectors[target == n].mean(0) for n in range(len(codes))])
    steps = min(recipe.most_steps, recipe.epochs * math.ceil(len(examples) / recipe.batch_size))

    def collate(batch: list[tuple[str, int]]) -> dict[str, Any]:
        texts, codes = zip(*batch, strict=True)
        return {"tokens": adapted.tokens(texts), "labels": torch.tensor(codes)}

    arguments = transformers.TrainingArguments(
        output_dir=scratch, max_steps=steps, per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate, seed=seed, data_seed=seed,
        use_cpu=adapted.encoder.device.type == "cpu", **RECIPE["trainer"],
    )  # fmt: skip
    model = _PrototypeModel(adapted.encoder, prototypes)
    return transformers.Trainer(model, arguments, collate, list(zip(texts, target, strict=True)))


def _save(adapted: Adapted, folder: Path, facts: dict[str, Any]) -> int:
    """Save adapter and facts beside the old one, then swap; returns the adapter's bytes."""
    scratch = folder.with_name(folder.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    adapted.encoder.save_pretrained(scratch, safe_serialization=True)
    (scratch / "playbook.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    return (folder / "adapter_model.safetensors").stat().st_size


def load(folder: Path, embedder: str, max_tokens: int) -> Adapted:
    """Open a saved adapter on its base; raises ValueError when it was trained on other weights, naming both."""
    facts = json.loads((folder / "playbook.json").read_text(encoding="utf-8"))
    base, tokenizer, digest = _open_base(embedder, max_tokens)
    if digest != facts["base_sha256"]:
        trained = f"was trained on {facts['embedder']}, not on these weights of {embedder}"
        raise ValueError(f"The adapter in {folder} {trained}: train it again.")
    return Adapted(peft.PeftModel.from_pretrained(base, str(folder)), tokenizer)
