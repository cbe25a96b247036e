"""Checked data: the base of every read-only model, and YAML files whose mistakes are told with file, line and fix.

Knows YAML and pydantic. It does not know what any file is about.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

TABLES = Path(__file__).parent / "tables"
Model = TypeVar("Model", bound=BaseModel)


class Frozen(BaseModel):
    """Base of all models: read-only; a field nobody knows and a number that is not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lined(dict[str, Any]):
    """A mapping read from YAML that remembers the line on which each of its keys stands."""

    def __init__(self, values: Mapping[str, Any], lines: dict[str, int]) -> None:
        super().__init__(values)
        self.lines = lines


class _Loader(yaml.SafeLoader):
    """Builds Lined mappings, and refuses a key of a mapping, or an id in a list, that is there twice."""

    def mapping(self, node: yaml.MappingNode) -> Lined:
        lines = _once((str(key.value), key.start_mark.line + 1) for key, _ in node.value)  # before `<<` is merged in
        return Lined(self.construct_mapping(node, deep=True), lines)

    def sequence(self, node: yaml.SequenceNode) -> list[Any]:
        entries = self.construct_sequence(node, deep=True)
        _once((str(e["id"]), e.lines["id"]) for e in entries if isinstance(e, Lined) and "id" in e)
        return entries


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.sequence)


def _once(named: Iterable[tuple[str, int]]) -> dict[str, int]:
    lines: dict[str, int] = {}
    for name, line in named:
        if name in lines:
            raise ValueError(f"line {line}: '{name}' is there already in line {lines[name]}; rename or remove one")
        lines[name] = line
    return lines


def read_yaml(path: Path) -> Lined:
    """A YAML file's top mapping with line numbers; raises ValueError naming file, line and fix."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        form = TABLES / f"new_{path.name}"
        fix = f"copy playbook/tables/{form.name} there and fill it in" if form.is_file() else "check the path"
        raise ValueError(f"{path} cannot be read ({error.strerror}); {fix}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: not readable YAML: {' '.join(str(error).split())}. Correct that line.") from error
    if not isinstance(found, Lined | None):
        raise ValueError(f"{path} holds no entries; write them as 'name: value'.")
    return found or Lined({}, {})


_MISTAKES: dict[str, str] = read_yaml(TABLES / "mistakes.yaml")


def place(path: Path, data: Lined, *loc: str | int) -> str:
    """Where a part of a file stands, for messages; `loc` holds the keys and positions that lead to it."""
    return _spot(str(path), data, loc)[0]


def _spot(where: str, data: Any, loc: Sequence[str | int]) -> tuple[str, str]:
    """For instance ("rules.yaml, line 7: rules 'tone'", "source.0.says"): the last entry with an id, and the rest."""
    line, around, rest = 0, "", list(loc)
    for number, part in enumerate(loc, start=1):
        known = range(len(data)) if isinstance(data, list) else data
        if not isinstance(data, dict | list) or part not in known:
            break
        line = data.lines.get(str(part), line) if isinstance(data, Lined) else line
        data = data[part]
        if isinstance(data, Lined) and data:
            line = min(data.lines.values())
            if "id" in data:
                around, rest = f": {loc[0]} '{data['id']}'", list(loc[number:])
    return f"{where}, line {line}{around}" if line else where, ".".join(map(str, rest))


def build(model: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """A model from raw data; the first thing pydantic refuses becomes one sentence: where, what, and the fix.

    `where` names the file (and the line, for data that is not Lined). Raises ValueError.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        spot, field = _spot(where, data, first["loc"])
        says, known = first["msg"].removeprefix("Value error, "), ", ".join(_fields(model, first["loc"]))
        fix = _MISTAKES.get(first["type"], _MISTAKES["other"])
        told = fix.format(field=field, value=f"{first['input']!r:.60}", says=says, known=known)
        raise ValueError(f"{spot}: {told.rstrip('.')}.") from error


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Names of the fields of the model that `loc` leads to."""
    for field in (model.model_fields[part] for part in loc if part in model.model_fields):
        types = (field.annotation, *get_args(field.annotation))
        model = next((t for t in types if hasattr(t, "model_fields")), model)
    return list(model.model_fields)


def load(model: type[Model], path: Path) -> Model:
    """The model a YAML file describes; raises ValueError naming file, line and fix."""
    return build(model, read_yaml(path), str(path))
