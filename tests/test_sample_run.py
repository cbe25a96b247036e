"""The committed sample run is what the notebooks write. Needs a walk into $PLAYBOOK_ENGAGEMENTS (make test does one)."""

import json
import os
from pathlib import Path

import pytest

from playbook.engagement import ROUTE

COMMITTED = Path(__file__).parents[1] / "data" / "sample_run"
WRITTEN = Path(os.environ.get("PLAYBOOK_ENGAGEMENTS", "/nowhere")) / "sample" / "artifacts"
# Training differs in the last digits between processors, and a digit can move a text: only 08 and what quotes it may
# differ, and only in these fields, by this much.
TRAINED = {"08_lora", "09_decision"}


def result(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["result"]


@pytest.mark.parametrize("name", ROUTE)
def test_every_artifact_is_committed_and_marked_as_the_sample(name: str) -> None:
    stored = json.loads((COMMITTED / f"{name}.json").read_text(encoding="utf-8"))
    assert (stored["artifact"], stored["client"], stored["schema_version"]) == (name, "sample", 1)


@pytest.mark.skipif(not WRITTEN.is_dir(), reason="no walk of the notebooks to compare with: run make test")
@pytest.mark.parametrize("name", [n for n in ROUTE if n not in TRAINED])
def test_notebooks_write_the_committed_result(name: str) -> None:
    assert result(WRITTEN, name) == result(COMMITTED, name)


@pytest.mark.skipif(not WRITTEN.is_dir(), reason="no walk of the notebooks to compare with: run make test")
def test_training_gives_the_committed_result_within_rounding() -> None:
    now, then = result(WRITTEN, "08_lora"), result(COMMITTED, "08_lora")
    assert now["trained"] == then["trained"]
    for a, b in zip(now["scores"], then["scores"], strict=True):
        slack = 0.04 if a["arm"] == "lora_adapter" else 0.0
        assert (a["arm"], a["evidence"]) == (b["arm"], b["evidence"])
        assert abs(a["right"]["share"] - b["right"]["share"]) <= slack
    decided, stored = result(WRITTEN, "09_decision"), result(COMMITTED, "09_decision")
    assert (decided["headline"], decided["expires"], decided["looks"]) == (stored["headline"], stored["expires"], stored["looks"])
