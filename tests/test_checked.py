"""Reading and checking YAML: whatever is wrong is one sentence with file, line and fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from playbook.checked import TABLES, Frozen, Lined, build, load, place, read_yaml


class Step(Frozen):
    id: str
    hours: float = Field(gt=0)
    tags: tuple[str, ...] = Field(default=("x",), min_length=1)
    done: bool = False


class Owner(Frozen):
    name: str = Field(min_length=1)


class Book(Frozen):
    owner: Owner
    steps: tuple[Step, ...] = ()


GOOD = "owner: {name: Ana}\nsteps:\n  - id: dig\n    hours: 2\n  - id: plant\n    hours: 3\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "book.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_its_model_and_remembers_lines(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert load(Book, path).steps[1] == Step(id="plant", hours=3)
    raw = read_yaml(path)
    assert (raw.lines, raw["steps"][1].lines) == ({"owner": 1, "steps": 2}, {"id": 5, "hours": 6})
    assert place(path, raw, "steps", 1, "hours") == f"{path}, line 6: steps 'plant'"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hours: 3", "hours: many", "line 6: steps 'plant': 'hours' is 'many': Input should be a valid number"),
        ("hours: 3", "hours: .inf", "line 6: steps 'plant': 'hours' is inf: Input should be a finite number"),
        ("    hours: 3\n", "", "line 5: steps 'plant': 'hours' is missing; add it"),
        (
            "hours: 3",
            "hours: 3\n    rank: 1",
            "line 7: steps 'plant': unknown field 'rank'; use only id, hours, tags, done",
        ),
        ("hours: 3", "hours: 3\n    tags: []", "line 7: steps 'plant': 'tags' is empty; give at least one"),
        ("hours: 3", "hours: 3\n    done: maybe", "line 7: steps 'plant': 'done' is 'maybe'; write yes or no"),
        ("name: Ana", "name: ''", "line 1: 'owner.name' is empty; fill it in"),
        ("name: Ana", "nick: Ana", "line 1: 'owner.name' is missing"),
        ("hours: 3", "hours: 3\n    hours: 4", "line 7: 'hours' is there already in line 6; rename or remove one"),
        ("id: plant", "id: dig", "line 5: 'dig' is there already in line 3; rename or remove one"),
        ("owner: {", "owner: [", "not readable YAML: "),
        (GOOD, "- a list\n", "holds no entries; write them as 'name: value'"),
        (GOOD, "", "'owner' is missing; add it"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_fix(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ValueError) as error:
        load(Book, path)
    assert str(error.value).startswith(str(path)) and message in str(error.value)


def test_a_file_that_is_not_there_names_the_form_to_copy_if_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.yaml cannot be read \(No such file or directory\); check the path"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(ValueError, match="copy playbook/tables/new_economics.yaml there and fill it in"):
        read_yaml(tmp_path / "economics.yaml")


def test_a_block_that_is_merged_in_may_be_overridden(tmp_path: Path) -> None:
    raw = read_yaml(written(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"))
    assert raw["b"] == {"x": 1, "y": 3}


def test_data_without_lines_is_placed_by_the_words_given() -> None:
    with pytest.raises(ValueError, match="^answers.csv line 3: 'hours' is 0: .*; correct it[.]$"):
        build(Step, {"id": "dig", "hours": 0}, "answers.csv line 3")


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_table_that_ships_is_readable(path: Path) -> None:
    assert isinstance(read_yaml(path), Lined)
