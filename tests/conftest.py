"""Fixtures that several test files share."""

from __future__ import annotations

import pytest
from fakes_embedding import HashEmbeddings

from playbook import knowledge


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> HashEmbeddings:
    """The fake embedder in place of the profile's, with a list of what it was given."""
    fake = HashEmbeddings()
    monkeypatch.setattr(knowledge, "load_embeddings", lambda profile: fake)
    return fake
