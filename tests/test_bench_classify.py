"""`bench classify` on anybody's labelled texts: figures that can be worked out by hand, and bad files named."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import bench
import bench_classify

TRAIN = "text,label\nmy card is lost,card_lost\nlost the card today,card_lost\nbill too high,high-bill\nthe bill is high,high-bill\n"
TEST = "text,label\ncard lost again,card_lost\nhigh bill again,high-bill\nhigh bill on lost thing,card_lost\n"


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch) -> HashEmbeddings:
    made = HashEmbeddings()
    monkeypatch.setattr(bench_classify, "load_embeddings", lambda profile: made)
    return made


def files(folder: Path, train: str = TRAIN, test: str = TEST) -> tuple[Path, Path]:
    (folder / "train.csv").write_text(train)
    (folder / "test.csv").write_text(test)
    return folder / "train.csv", folder / "test.csv"


def run(folder: Path, *options: str) -> Any:
    train, test = files(folder)
    return CliRunner().invoke(bench.app, ["classify", str(train), str(test), *options], catch_exceptions=False)


def test_figures_of_each_arm(tmp_path: Path) -> None:
    """The third text has two words of the bill's name and one of its own: zero-shot misses it, F1 is 2/3 for both labels."""
    figures = bench_classify.classification(*files(tmp_path), with_lora=False)
    zero = figures["zero_shot"]
    assert (zero["accuracy"], zero["macro_f1"]) == (pytest.approx(2 / 3, abs=1e-4), pytest.approx(2 / 3, abs=1e-4))
    assert zero["interval"] == [0.2077, 0.9385]
    assert set(figures) == {"zero_shot", "nearest_neighbour", "linear_probe", "lora", "tests"}
    assert figures["lora"] is None
    assert [(t.first, t.second) for t in figures["tests"]] == list(bench_classify.PAIRS[:2])


def test_json_is_one_object_of_the_promised_shape_and_text_shows_intervals_and_tests(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "--no-lora", "--json").stdout)
    assert list(found) == ["zero_shot", "nearest_neighbour", "linear_probe", "lora"]
    assert found["lora"] is None and set(found["linear_probe"]) == {"accuracy", "macro_f1", "seconds"}
    shown = run(tmp_path, "--no-lora").stdout
    assert "interval [0.2077, 0.9385]" in shown
    assert "linear_probe / nearest_neighbour: " in shown and "(Holm): no difference can be proved" in shown


def test_the_adapter_answers_the_same_test_and_is_compared_with_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedder: HashEmbeddings
) -> None:
    from playbook import lora

    def train(examples: Any, name: str, recipe: Any, seed: int, folder: Path) -> tuple[Any, dict]:
        assert [e.label for e in examples] == ["card_lost", "card_lost", "high-bill", "high-bill"]
        return embedder, {}

    monkeypatch.setattr(lora, "train", train)
    figures = bench_classify.classification(*files(tmp_path))
    same = ("accuracy", "macro_f1", "interval")
    assert [figures["lora"][f] for f in same] == [figures["linear_probe"][f] for f in same], "the same vectors"
    assert (figures["tests"][-1].first, figures["tests"][-1].second) == ("lora", "linear_probe")
    assert set(json.loads(run(tmp_path, "--json").stdout)["lora"]) == {"accuracy", "macro_f1", "seconds"}


def test_texts_are_embedded_once_and_booked_on_every_arm_that_needs_them() -> None:
    asked: list[list[str]] = []

    def slow(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        time.sleep(0.02 * len(texts))
        return np.array([[float(len(t))] for t in texts])

    shared = bench_classify.Shared(slow)
    assert shared(["a", "bb"]).tolist() == [[1.0], [2.0]] and shared.saved == 0
    assert shared(["bb", "ccc", "bb"]).tolist() == [[2.0], [3.0], [2.0]]
    assert asked == [["a", "bb"], ["ccc"]] and shared.saved == pytest.approx(0.02, abs=0.015)


def test_labels_that_training_lacks_are_counted_named_and_wrong(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    more = TEST + "where is my van,late_van\nvan is late,late_van\nmy card is lost,card_lost\n"
    figures = bench_classify.classification(*files(tmp_path, test=more), with_lora=False)
    said = capsys.readouterr().err
    assert "2 test text(s) have a label that no training text has and count as wrong: late_van (2)." in said
    assert "1 test text(s) are training texts as well" in said
    assert all(figures[arm]["accuracy"] <= 0.6667 for arm in bench_classify.ARMS)


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ("text,code\na,b\n", TEST, "train.csv line 1 lacks the column"),
        (TRAIN, "text,label\na,\n", "test.csv line 2.*label"),
        ("text,label\na,x\nb,x\n", TEST, "train.csv has one label only, 'x'"),
        (TRAIN, "text,label\n", "test.csv has a header but no rows"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, train: str, test: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bench_classify.classification(*files(tmp_path, train, test), with_lora=False)


def test_a_missing_file_and_one_that_is_not_utf_8_are_named(tmp_path: Path) -> None:
    train, test = files(tmp_path)
    with pytest.raises(ValueError, match="none.csv is not there"):
        bench_classify.classification(tmp_path / "none.csv", test)
    train.write_bytes(TRAIN.encode() + "caf\u00e9,card_lost\n".encode("latin-1"))
    with pytest.raises(ValueError, match="train.csv line 6 is not UTF-8"):
        bench_classify.classification(train, test)
