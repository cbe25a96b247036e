"""Profiles are data that validates."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from playbook.models import TABLES, LoraRecipe, Profile, known_weights, load_profile

NAMES = tuple(yaml.safe_load((TABLES / "profiles.yaml").read_text(encoding="utf-8"))["profiles"])


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_of_the_table_is_valid(name: str) -> None:
    profile = load_profile(name)
    assert profile.embedder and profile.where
    assert (profile.evidence == "direct") == (profile.chat_model is not None), (
        "only a real chat model is direct evidence"
    )


def test_the_default_profile_needs_no_network_and_no_key() -> None:
    profile = load_profile("embedded")
    assert profile.chat_model is None and known_weights(profile.embedder)["sha256"]


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=f"profile 'huge' is not known; use one of {', '.join(NAMES)} in settings.yaml"
    ):
        load_profile("huge")


def test_no_weights_are_vouched_for_that_the_user_chose() -> None:
    assert known_weights("org/name") is None


@pytest.mark.parametrize(
    "change",
    [{"rank": 0}, {"learning_rate": 0.0}, {"learning_rate": 1.0}, {"batch_size": 1}, {"epochs": 0}, {"speed": 1}],
)
def test_recipe_bounds(change: dict[str, float]) -> None:
    good = load_profile("embedded").lora.model_dump()
    assert LoraRecipe.model_validate(good)
    with pytest.raises(ValidationError):
        LoraRecipe.model_validate(good | change)


@pytest.mark.parametrize("change", [{"precision": "int8"}, {"chunk_tokens": 19}, {"evidence": "hearsay"}, {"extra": 1}])
def test_profile_bounds(change: dict[str, object]) -> None:
    good = load_profile("embedded").model_dump()
    assert Profile.model_validate(good)
    with pytest.raises(ValidationError):
        Profile.model_validate(good | change)
