"""Results kept by content: what was computed is not computed again, and a damaged file costs time, never a result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest
from langchain_core.documents import Document

from playbook.engagement import Result, remembered
from playbook.evaluation import Proportion


class Counting:
    """Computes a text's length and remembers which texts it was given; stops at one that says so."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def __call__(self, texts: list[str]) -> Iterator[Result]:
        self.given.append(texts)
        for text in texts:
            if text == "stop":
                raise KeyboardInterrupt
            yield {"length": len(text)}


def lengths(results: list[Result]) -> list[int]:
    return [result["length"] for result in results]


def test_only_what_is_new_is_computed_and_the_order_is_that_of_the_items(tmp_path: Path) -> None:
    compute = Counting()
    assert lengths(remembered(tmp_path, ["arm"], ["a", "bb"], compute)) == [1, 2]
    assert lengths(remembered(tmp_path, ["arm"], ["ccc", "bb", "a"], compute)) == [3, 2, 1]
    assert lengths(remembered(tmp_path, ["arm"], ["a", "bb"], compute)) == [1, 2]
    assert compute.given == [["a", "bb"], ["ccc"]]


def test_equal_items_are_computed_once(tmp_path: Path) -> None:
    compute = Counting()
    assert lengths(remembered(tmp_path, [], ["a", "bb", "a"], compute)) == [1, 2, 1]
    assert compute.given == [["a", "bb"]]


def test_another_setting_shares_nothing(tmp_path: Path) -> None:
    compute = Counting()
    for setting in (["arm", 1], ["arm", 2], {"b": 1, "a": 2}, {"a": 2, "b": 1}):
        remembered(tmp_path, setting, ["a"], compute)
    assert compute.given == [["a"]] * 3, "the order of a mapping's keys does not matter"


def test_a_setting_may_hold_documents_and_objects_that_show_what_they_are(tmp_path: Path) -> None:
    compute, seven, eight = Counting(), Proportion(hits=7, n=9, share=0.8, low=0.4, high=0.9), Document("text", id="8")
    for _ in range(2):
        for held in (
            seven,
            seven.model_copy(update={"n": 10}),
            eight,
            Document("text", id="9"),
            Document("other", id="8"),
        ):
            remembered(tmp_path, ["arm", [held]], ["a"], compute)
    assert compute.given == [["a"]] * 5


def test_each_result_says_how_long_it_took_and_a_kept_one_how_long_it_took_then(tmp_path: Path) -> None:
    def slow(texts: list[str]) -> Iterator[Result]:
        for n, text in enumerate(texts):
            sleep(0.02 * n)
            yield {"length": len(text)}

    first, again = (remembered(tmp_path, [], ["a", "bb"], slow) for _ in range(2))
    assert first == again and 0 < first[0]["milliseconds"] < 20 <= first[1]["milliseconds"]


def test_without_a_folder_nothing_is_stored() -> None:
    compute = Counting()
    remembered(None, [], ["a"], compute)
    remembered(None, [], ["a"], compute)
    assert compute.given == [["a"], ["a"]]


def test_an_interrupted_run_keeps_what_it_had(tmp_path: Path) -> None:
    compute = Counting()
    with pytest.raises(KeyboardInterrupt):
        remembered(tmp_path, [], ["a", "bb", "stop", "ccc"], compute)
    assert lengths(remembered(tmp_path, [], ["a", "bb", "ccc"], compute)) == [1, 2, 3]
    assert compute.given[1:] == [["ccc"]]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b"", lambda b: b.replace(b": 1,", b": 7,"), lambda b: b"\xff\n{}"]
)
def test_a_damaged_file_is_ignored_and_written_again(tmp_path: Path, damage: object) -> None:
    compute = Counting()
    remembered(tmp_path, [], ["a"], compute)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    assert damage(whole) != whole
    file.write_bytes(damage(whole))
    assert lengths(remembered(tmp_path, [], ["a"], compute)) == [1]
    assert lengths(remembered(tmp_path, [], ["a"], compute)) == [1]
    assert compute.given == [["a"], ["a"]], "computed again once, then kept again"


def test_texts_are_not_written_and_progress_sees_each_missing_item(tmp_path: Path) -> None:
    told: list[int] = []

    def progress(items: list[str]) -> Iterator[str]:
        for item in items:
            told.append(len(items))
            yield item

    remembered(tmp_path, [], ["private words", "b"], Counting(), progress)
    remembered(tmp_path, [], ["private words", "b"], Counting(), progress)
    assert told == [2, 2], "nothing to tell when nothing is computed"
    assert b"private" not in next(tmp_path.iterdir()).read_bytes()


def test_too_few_results_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        remembered(None, [], ["a", "b"], lambda texts: [{}])
