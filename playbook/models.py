"""The profile table: one code path at three sizes.

Profiles are data (playbook/tables/profiles.yaml). Loads no model, knows nothing of documents or questions.
"""

from typing import Literal

from pydantic import Field

from playbook.checked import TABLES, Frozen, build, read_yaml

_TABLE = read_yaml(TABLES / "profiles.yaml")


class LoraRecipe(Frozen):
    """How an adapter is trained: rank, alpha, passes over the examples, texts a step, most steps, step size, longest text."""

    rank: int = Field(ge=1, le=256)
    alpha: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    most_steps: int = Field(default=1000, ge=1)
    learning_rate: float = Field(gt=0, lt=1)
    max_tokens: int = Field(ge=8)


class Profile(Frozen):
    """One size of the same code: which embedder, which answers, which training recipe."""

    where: str
    embedder: str
    precision: Literal["float32", "bfloat16", "float16", "auto"]
    chunk_tokens: int = Field(ge=20)
    chat_model: str | None
    reranker: str | None = None
    evidence: Literal["direct", "proxy"]
    lora: LoraRecipe


def load_profile(name: str) -> Profile:
    """The profile called `name`; raises ValueError listing the known ones."""
    profiles = _TABLE["profiles"]
    if name not in profiles:
        raise ValueError(f"profile '{name}' is not known; use one of {', '.join(profiles)} in settings.yaml.")
    return build(Profile, profiles[name], f"profiles.yaml: {name}")


def known_weights(embedder: str) -> dict[str, str] | None:
    """File name and SHA-256 of weights the project vouches for, or None for a model the user chose."""
    return _TABLE["weights"].get(embedder)
