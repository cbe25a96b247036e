"""The price book and the client's own figures: every number that the economics uses, dated and with its origin.

Reads two YAML files and checks each figure. It deliberately does not know what the figures are used for (economics).
"""

import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from playbook.checked import TABLES, Frozen, build, place, read_yaml

Need = Literal["knowledge", "behaviour"]
CLIENT_VALUES = ("items_per_month", "minutes_saved", "minutes_lost", "documents_changed", "examples_ready")
COST_LINES = "prompting labelling ingestion evaluation hosting tokens retraining ownership waiting overrun".split()
CostPart = Annotated[str, Field(pattern=rf"^({'|'.join(COST_LINES)})\.(once|monthly)$")]
MAY_BE_ZERO = ("minutes_lost", "documents_changed", "examples_ready")


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
    origin: Literal["measured", "client", "literature", "our_estimate"]
    as_of: date
    source: str = Field(min_length=1)
    what: str = ""
    use_case: str = ""

    @property
    def range(self) -> tuple[float, float]:
        """(low, high), both the value if it has no range."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)

    @model_validator(mode="after")
    def _plausible(self) -> "Figure":
        low, high = self.range
        positive(zero=self.id in MAY_BE_ZERO, **{self.id: min(self.value, low)})
        if not low <= self.value <= high:
            raise ValueError(f"{self.value:g} is not between low {low:g} and high {high:g}; correct it")
        return self


class PriceBook(Frozen):
    """All price lines by id, and the tables that say which of them an option uses."""

    currency: str = Field(pattern="^[A-Z]{3}$")
    lines: dict[str, Figure] = Field(alias="groups")  # a file lists them in groups
    item_tokens: dict[str, dict[Need, str]]
    costs: dict[str, dict[CostPart, str]]
    first_choice: dict[Need, tuple[str, ...]]
    zero_reasons: dict[str, str]
    readings: tuple[dict[str, Any], ...]
    scenarios: dict[str, dict[str, str]]
    client_case: dict[Need, dict[str, str]]

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

    def with_measured(self, measured: Mapping[str, float], source: str, as_of: date) -> "UseCaseInputs":
        """The same use case with measured figures (id -> value) in place of assumed ones."""
        found = {"origin": "measured", "source": source, "as_of": as_of, "use_case": self.name}
        about = {i: self.figure(i).model_dump(include={"id", "unit", "currency", "what"}) for i in measured}
        new = {i: build(Figure, {**about[i], **found, "value": measured[i]}, f"measured '{i}'") for i in measured}
        return self.model_copy(update={"values": {**self.values, **new}})


class _Case(Frozen):
    need: Need
    values: dict[str, Any] = {}


class _ClientFile(Frozen):
    currency: str
    as_of: date
    budget: Any
    training_owner: str | None = None
    shared: dict[str, Any] = {}
    use_cases: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")], _Case] = Field(min_length=1)


class ClientEconomics(Frozen):
    """Everything in the client's economics.yaml; the budget is for the first year."""

    budget: Figure
    use_cases: tuple[UseCaseInputs, ...]


def load_price_book(path: Path = TABLES / "price_book.yaml") -> PriceBook:
    """Read the price book (default: the one shipped); raises ValueError naming the line and the fix."""
    raw, lines, header = read_yaml(path), {}, {}
    for number, entry in enumerate(raw.get("groups", [])):
        if "id" in entry:
            lines[entry["id"]] = _figure(entry, header, place(path, raw, "groups", number), raw.get("currency"))
        else:
            header = entry  # what the lines below it share
    raw["groups"] = lines
    return build(PriceBook, raw, str(path))


def load_client_economics(path: Path, book: PriceBook) -> ClientEconomics:
    """Read the client's economics.yaml; raises ValueError naming line, use case, id and fix."""
    raw = read_yaml(path)
    given, cases = build(_ClientFile, raw, str(path)), []
    said = {"origin": "client", "as_of": given.as_of}
    if given.currency != book.currency:
        raise ValueError(f"{path.name} is in {given.currency}, the price book in {book.currency}; convert one of them")
    for name, case in given.use_cases.items():
        values: dict[str, Figure] = {}
        own = ("use_cases", name, "values")
        for use_case, loc, entries in (("", ("shared",), given.shared), (name, own, case.values)):
            for i, entry in entries.items():
                if i not in CLIENT_VALUES:
                    book.line(i)  # raises: an id that nothing reads would be ignored in silence
                where = f"{place(path, raw, *loc, i)}: use case '{name}', {i}"
                values[i] = _figure(entry, {**said, "id": i, "use_case": use_case}, where, given.currency)
        if missing := [i for i in CLIENT_VALUES if i not in values]:
            where = place(path, raw, "use_cases", name)
            raise ValueError(f"{where}: use case '{name}' lacks {missing[0]}; add it under values")
        owner = given.training_owner
        cases.append(UseCaseInputs(name=name, need=case.need, training_owner=owner, values=values, book=book))
    budget = _figure(given.budget, {**said, "id": "budget"}, place(path, raw, "budget"), given.currency)
    return ClientEconomics(budget=budget, use_cases=tuple(cases))


def stale_lines(book: PriceBook, as_of: date, days: int = 90) -> tuple[Figure, ...]:
    """Lines older than `days` on `as_of`, oldest first."""
    positive(days=days)
    old = [line for line in book.lines.values() if (as_of - line.as_of).days > days]
    return tuple(sorted(old, key=lambda line: (line.as_of, line.id)))


def positive(zero: bool = False, **figures: float) -> None:
    """Raise ValueError naming the first figure that is not a finite number above 0 (or 0, if `zero`)."""
    for name, value in figures.items():
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            raise ValueError(f"{name} is {value:g}; give a number {'of 0 or more' if zero else 'above 0'}")


def _figure(entry: Any, known: Mapping[str, Any], where: str, currency: str | None) -> Figure:
    """A checked figure in the file's currency; a bare number is its value: the message then names what is missing."""
    figure = build(Figure, {**known, **(entry if isinstance(entry, dict) else {"value": entry})}, where)
    if figure.currency not in (None, currency):
        raise ValueError(f"{where}: {figure.currency} is not the file's currency, {currency}; convert it")
    return figure
