"""The price book and the client's own figures: every number that the economics uses, dated and with its origin.

Reads two YAML files and checks each figure. It deliberately does not know what the figures are used for (economics).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

PRICE_BOOK = Path(__file__).parent / "tables" / "price_book.yaml"
Origin = Literal["measured", "client", "literature", "our_estimate"]
Need = Literal["knowledge", "behaviour"]
CLIENT_VALUES = ("items_per_month", "minutes_saved", "minutes_lost", "documents_changed", "examples_ready")
MAY_BE_ZERO = ("minutes_lost", "documents_changed", "examples_ready")


class Frozen(BaseModel):
    """Base of all results: cannot be changed, rejects unknown fields and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(Frozen):
    """One dated number and where it came from: a line of the price book, the client's word, or a measurement.

    `low` and `high` bound the value (None: no range). `use_case` is empty for a figure that serves all of them.
    """

    id: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    currency: str | None = None
    origin: Origin
    as_of: date
    source: str = Field(min_length=1)
    what: str = ""
    use_case: str = ""


class PriceBook(Frozen):
    """All price lines by id, and the tables that say which of them an option uses."""

    currency: str
    lines: dict[str, Figure]
    token_parts: dict[str, dict[Need, tuple[str, ...]]]
    model_class: dict[str, str]
    events: dict[str, tuple[str, ...]]
    zero_reasons: dict[str, str]
    notes: dict[str, dict[Need, str]]
    flip_readings: dict[str, dict[str, str]]

    def line(self, id: str) -> Figure:
        """The line with this id; raises ValueError for an unknown one."""
        if id not in self.lines:
            raise ValueError(f"'{id}' is not in the price book; correct the id, or add a line for it")
        return self.lines[id]


class UseCaseInputs(Frozen):
    """One use case with its price book; `values` (the client's, or measured) go before the book's lines."""

    name: str
    need: Need
    training_owner: str | None
    values: dict[str, Figure]
    book: PriceBook

    def figure(self, id: str) -> Figure:
        """The figure with this id; raises ValueError for an unknown one."""
        return self.values.get(id) or self.book.line(id)

    def get(self, id: str) -> float:
        """The value of a figure."""
        return self.figure(id).value

    def range(self, id: str) -> tuple[float, float]:
        """(low, high) of a figure, both its value if it has no range."""
        figure = self.figure(id)
        return figure.low or figure.value, figure.high or figure.value

    def with_measured(self, measured: Mapping[str, float], source: str, as_of: date) -> UseCaseInputs:
        """The same use case with measured figures (id -> value) in place of assumed ones."""
        new = {}
        for i, value in measured.items():
            found = {"value": positive(i, value, i in MAY_BE_ZERO), "low": None, "high": None}
            found |= {"origin": "measured", "source": source, "as_of": as_of, "use_case": self.name}
            new[i] = self.figure(i).model_copy(update=found)
        return self.model_copy(update={"values": {**self.values, **new}})


class ClientEconomics(Frozen):
    """Everything in the client's economics.yaml; the budget is for the first year."""

    budget: Figure
    use_cases: tuple[UseCaseInputs, ...]


def load_price_book(path: Path = PRICE_BOOK) -> PriceBook:
    """Read the price book (default: the one shipped); raises ValueError naming the line and the fix."""
    raw = _read_yaml(path)
    lines: dict[str, Figure] = {}
    header: dict[str, Any] = {}
    for entry in raw.pop("groups", None) or []:
        if "id" not in entry:
            header = entry  # what the lines below it share
            continue
        where = f"{path.name}, line '{entry['id']}'"
        line = _figure({**header, **entry}, where, raw.get("currency"))
        if line.id in lines:
            raise ValueError(f"{where} appears twice; keep one")
        lines[line.id] = line
    return _parse(PriceBook, {**raw, "lines": lines}, path.name)


def load_client_economics(path: Path, book: PriceBook) -> ClientEconomics:
    """Read the client's economics.yaml; raises ValueError naming the use case, the id and the fix."""
    raw = _read_yaml(path)
    if unknown := raw.keys() - {"currency", "as_of", "budget", "training_owner", "shared", "use_cases"}:
        raise ValueError(f"{path.name}: '{min(unknown)}' is not read by anything; correct or remove it")
    money = raw.get("currency")
    if money != book.currency:
        raise ValueError(f"{path.name} is in {money}, the price book in {book.currency}; convert one of them")
    stamp, shared, cases = {"as_of": raw.get("as_of"), "origin": "client"}, raw.get("shared") or {}, []
    for name, case in (raw.get("use_cases") or {}).items():
        where, own = f"{path.name}, use case '{name}'", case.get("values") or {}
        entries = {**shared, **own}
        if missing := [i for i in CLIENT_VALUES if i not in entries]:
            raise ValueError(f"{where} lacks {missing[0]}; add it under values")
        for i in sorted(entries.keys() - set(CLIENT_VALUES)):
            book.line(i)  # raises: an id that nothing reads would be ignored in silence
        values = {
            i: _figure({**stamp, **_entry(e), "id": i, "use_case": name if i in own else ""}, f"{where}, {i}", money)
            for i, e in entries.items()
        }
        fields = {**case, "name": name, "training_owner": raw.get("training_owner")}
        cases.append(_parse(UseCaseInputs, {**fields, "values": values, "book": book}, where))
    if not cases:
        raise ValueError(f"{path.name} has no use case; add one under use_cases")
    budget = _figure({**stamp, "id": "budget", **_entry(raw.get("budget"))}, f"{path.name}, budget", money)
    return ClientEconomics(budget=budget, use_cases=tuple(cases))


def stale_lines(book: PriceBook, as_of: date, days: int = 90) -> tuple[Figure, ...]:
    """Lines older than `days` on `as_of`, oldest first."""
    positive("days", days)
    old = [line for line in book.lines.values() if (as_of - line.as_of).days > days]
    return tuple(sorted(old, key=lambda line: (line.as_of, line.id)))


def positive(name: str, value: float, zero: bool = False) -> float:
    """The value if it is a finite number above 0 (or 0 if allowed); raises ValueError naming it."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} is {value:g}; give a number {'of 0 or more' if zero else 'above 0'}")
    return value


def _read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping; raises ValueError naming the file."""
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is not there; copy playbook/tables/new_economics.yaml and fill it in") from error
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is not a YAML file of entries; correct it: {error}") from error


def _entry(given: Any) -> dict[str, Any]:
    """A figure's fields; a bare number is its value, so that the next message names what is missing."""
    return given if isinstance(given, dict) else {"value": given}


def _figure(data: Mapping[str, Any], where: str, currency: str | None) -> Figure:
    """A checked figure: positive (a few may be 0), between its bounds, in the file's currency."""
    figure = _parse(Figure, data, where)
    positive(where, figure.value, zero=figure.id in MAY_BE_ZERO)
    low, high = (figure.value if bound is None else positive(where, bound) for bound in (figure.low, figure.high))
    if not low <= figure.value <= high:
        raise ValueError(f"{where}: {figure.value:g} is not between low {low:g} and high {high:g}; correct it")
    if figure.currency not in (None, currency):
        raise ValueError(f"{where} is in {figure.currency}, the file in {currency}; convert it")
    return figure


def _parse(model: type[Any], data: Mapping[str, Any], where: str) -> Any:
    """Validate into a model; the ValueError says where, what was given, and what is allowed."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field, given = ".".join(map(str, first["loc"])), first["input"]
        given = "missing" if first["type"] == "missing" else repr(given)
        raise ValueError(f"{where}: {field} is {given}; {first['msg']}. Correct it.") from error
