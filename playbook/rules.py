"""Rules written in a table, worked out: a condition or a figure is a Jinja2 expression, a text is filled in.

Only the table's own words are evaluated; what they insert, a client's text too, stays as it is. A name that nobody knows
is an error, never an empty text. Knows nothing of what the rules are about.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined

Known = Mapping[str, Any]  # what a rule may name


@cache
def _compiled(expression: str) -> Callable[[Known], Any]:
    return Environment(undefined=StrictUndefined).compile_expression(expression, undefined_to_none=False)


def value(expression: str, known: Known) -> Any:
    """What an expression gives; raises jinja2's UndefinedError for a name that nobody knows."""
    found = _compiled(expression)(known)
    if isinstance(found, StrictUndefined):
        str(found)  # raises, with the name
    return found


def facts(named: Mapping[str, str], known: Known) -> dict[str, Any]:
    """What is known, and each named expression; a later one may use those before it."""
    found = dict(known)
    for name, expression in named.items():
        found[name] = value(expression, found)
    return found


def say(rule: Any, known: Known) -> Any:
    """A text with its names filled in (str.format); of a mapping each part; of a list what its rules say, in order.

    A rule in a list is a text, a row (a mapping of texts), or a mapping with one of these: `say`, any of the three; `take`,
    an expression whose entries are taken as they are. It may have `each`, a name for every entry of an expression; `with`,
    named expressions; and `when`, without which it always holds. Raises KeyError, AttributeError or UndefinedError for a
    name that nobody knows.
    """
    if isinstance(rule, str):
        return rule.format_map(known)
    if isinstance(rule, Mapping):
        return {name: say(part, known) for name, part in rule.items()}
    return [said for entry in rule for said in _said(entry, known)]


def first(rules: Sequence[Any], known: Known) -> Any:
    """What the first rule that holds says; the rules after it are not worked out."""
    return next(said for rule in rules for said in _said(rule, known))


def _said(rule: Any, known: Known) -> Iterator[Any]:
    """What one rule of a list says: nothing, one thing or many."""
    if not isinstance(rule, Mapping) or not rule.keys() & {"say", "take"}:
        rule = {"say": rule}
    cases = [dict(known)]
    for name, expression in rule.get("each", {}).items():
        cases = [{**case, name: found} for case in cases for found in value(expression, case)]
    for case in (facts(rule.get("with", {}), case) for case in cases):
        if value(rule.get("when", "true"), case):
            said = say(rule["say"], case) if "say" in rule else list(value(rule["take"], case))
            yield from said if isinstance(said, list) else [said]
