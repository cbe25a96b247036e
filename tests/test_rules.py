"""Rules in tables: a misspelt name is an error, a client's words are never evaluated, and every rule of ours is tried both ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import Any

import pytest
import test_decision as decided
import test_gates as judged
from jinja2 import Environment, UndefinedError, meta

from playbook import decision, gates, rules
from playbook.checked import TABLES, read_yaml
from playbook.economics import EconomicsResult
from playbook.plan import provable
from playbook.prices import Figure
from playbook.results import BaselineResult

EVIL = "{{ 7*7 }} {x} {m.__class__} <b>&"

# ------------------------------------------------------------------------------------------------------ one rule


def test_texts_rows_and_lists_are_filled_in() -> None:
    known = {"share": 0.5, "people": ["Odile", "Kwame"]}
    rule = [
        "{share:.0%}",
        {"row": "{people[0]}"},
        {"when": "share > 1", "say": "never"},
        {"each": {"who": "people"}, "with": {"short": "who[:1]"}, "when": "who != 'Odile'", "say": "{short}. {who}"},
        {"take": "people + ['{share}']"},
        {"say": ["one", {"when": "share < 1", "say": "two"}]},
    ]
    assert rules.say(rule, known) == ["50%", {"row": "Odile"}, "K. Kwame", "Odile", "Kwame", "{share}", "one", "two"]


def test_each_goes_through_every_combination_in_order() -> None:
    rule = [{"each": {"a": "pairs", "b": "a.also"}, "say": "{a[id]}{b}"}]
    assert rules.say(rule, {"pairs": [{"id": 1, "also": "xy"}, {"id": 2, "also": ""}, {"id": 3, "also": "z"}]}) == [
        "1x", "1y", "3z",
    ]  # fmt: skip


def test_the_first_rule_that_holds_counts_and_those_after_it_are_not_worked_out() -> None:
    some = [{"when": "n > 5", "say": "{many}"}, {"when": "n > 1", "say": "some"}, {"when": "misspelt", "say": "{misspelt}"}]
    assert rules.first(some, {"n": 3}) == "some"


def test_a_later_fact_uses_an_earlier_one() -> None:
    assert rules.facts({"b": "a + 1", "c": "b * 2"}, {"a": 1}) == {"a": 1, "b": 2, "c": 4}


@pytest.mark.parametrize("expression", ["shar", "share.hgih", "shar > 1", "not shar", "[shar] | max", "share ~ shar"])
def test_a_misspelt_name_in_an_expression_is_an_error(expression: str) -> None:
    with pytest.raises(UndefinedError, match="shar|hgih"):
        rules.value(expression, {"share": 0.5})


@pytest.mark.parametrize("text", ["{shar}", "{share.hgih}", "{row[naem]}"])
def test_a_misspelt_name_in_a_text_is_an_error(text: str) -> None:
    with pytest.raises((KeyError, AttributeError)):
        rules.say([text], {"share": 0.5, "row": {"name": "x"}})


# ------------------------------------------------------------------------------------------------ a client's words


def test_a_clients_words_come_out_as_they_are() -> None:
    assert rules.say(["{name}", {"take": "[name]"}, {"with": {"n": "name ~ '!'"}, "say": "{n}"}], {"name": EVIL}) == [
        EVIL, EVIL, EVIL + "!",
    ]  # fmt: skip


def test_a_clients_words_are_never_evaluated_on_their_way_through_the_decision_and_the_gates() -> None:
    gate = gates.judge("06", judged.LIMITS, judged.OPEN | {"failures": (0.1, EVIL)}, override={"name": EVIL, "reason": EVIL})
    assert gate.sentence.count(EVIL) == 3
    line = provable("texts to code", 25, 2, judged.LIMITS).model_copy(update={"sentence": EVIL})
    settled = BaselineResult.model_construct(provable=(line,))
    economics = decided.ECONOMICS.model_copy(update={"currency": EVIL, "flip_points": (EVIL,)})
    result = decided.made(people={"documents": EVIL}, stale=[EVIL], economics=economics, baseline=settled)
    assert result.lists["stale"] == result.lists["collect"] == result.would_change == (EVIL,)
    assert result.tables["sign_off"][1]["name"] == result.tables["confirmation"][0]["who"] == EVIL
    assert result.tables["options"][0]["cost"].count(EVIL) == 1 and EVIL in result.cost


# ----------------------------------------------------------------------------------- every rule, tried at least once


def figure(id: str, value: float, **more: Any) -> Figure:
    return Figure(id=id, value=value, as_of=date(2026, 11, 1), source="asked", **{"origin": "client"} | more)


def books() -> Iterator[EconomicsResult]:
    """Two sets of figures that differ in everything that can break."""
    stale = (figure("price", 2, origin="literature"), figure("guess", 2, origin="our_estimate"))
    for total, back, old in ((100.0, 6.0, ()), (200.0, 30.0, stale)):
        named = (("answers", "rag", total), ("answers", "lora", 150), ("codes", "lora", total))
        options = [decided.option(*three).model_copy(update={"stale": ("price", "guess")}) for three in named]
        yield EconomicsResult.model_construct(
            currency="USD", months=24, options=tuple(options),
            work_today={"answers": 1, "codes": 1}, assumptions=(figure("price", total), figure("other", 1)), stale=old,
            payback={"answers": back, "codes": None},
        )  # fmt: skip


def walk() -> None:
    """Every kind of gate, decision, mark and broken assumption."""
    known = judged.OPEN | judged.KNOWS
    for notebook, table in judged.GATES.items():
        for value in (None, 0, 50, (0.5, 0.4, 0.6), "lora"):
            for name in table["checks"]:
                if not isinstance(value, str) or name == "diagnosis":
                    gates.judge(notebook, judged.LIMITS, {name: (value if name != "diagnosis" or value is None else "lora", "so")})
    for evidence in ("direct", "proxy"):
        for override in (None, judged.PERSON):
            for change in ({}, {"owner": (False, "no")}, {"diagnosis": ("rag", "RAG")}):
                gates.judge("06", judged.LIMITS, known | change, evidence, override)
    for budget in (0, 10**6):
        gates.money_after("09", judged.economics(budget))
    poor = decided.measured(behaviour=(decided.arm("definition", 10),), knowledge=(decided.arm("hybrid", 10),))
    lost = decided.measured(knowledge=(decided.arm("hybrid", 10),), knowledge_tests=())
    room, few = decided.predictions(**dict.fromkeys(decision.STATEMENTS, 0.5)), (provable("texts to code", 25, 2, judged.LIMITS),)
    kinds = [*decided.KINDS, {"results": poor}, {"results": lost}, {"adapter": decided.lora(0)}, {"first": "provisional"}]
    for kind in kinds:
        for outcome in ("rag", "lora", "cheap_classifier", "prompt_only"):
            outcomes = {"answers": outcome, "ticket_codes": outcome, "elsewhere": outcome}
            more = {"baseline": BaselineResult.model_construct(provable=few), "people": {"it": "Odile"}}
            decided.made(**kind, outcomes=outcomes, room=room, **more)
    options = (decided.option("answers", "rag", 5).model_copy(update={"assumed": 7}), decided.option("elsewhere", "rag", 5))
    for some in (options, ()):
        decided.made(economics=decided.ECONOMICS.model_copy(update={"options": some}))
    (kept, fresh), day = books(), date(2027, 1, 1)
    gone = fresh.model_copy(update={"options": fresh.options[2:], "assumptions": fresh.assumptions[:1]})
    for one, other in ((kept, kept), (kept, fresh), (fresh, kept), (kept, gone), (kept.model_copy(update={"payback": {}}), fresh)):
        for expires in (date(2026, 1, 1), date(2028, 1, 1)):
            decision.broken_assumptions(one, other, expires, day)
    decision.no_longer_holds({"04_rag": {"documents": "old"}}, {})


def texts(found: Any, skip: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a table."""
    for key, part in found.items() if isinstance(found, dict) else [("", entry) for entry in found]:
        if key in skip:
            continue
        if isinstance(part, str):
            yield key, part
        elif isinstance(part, dict | list):
            yield from ((key if key in ("each", "with") else inner, text) for inner, text in texts(part, skip))


# Not rules: plain figures and words, and what require() and _check() put together themselves.
WORDS = ("own", "statements", "outcome", "silent", "figures", "hours", "no_threshold", "to_run_anyway", "settle", "name",
         "would_settle", "limit", "found", "if_not")  # fmt: skip


def test_every_rule_of_both_tables_is_worked_out_and_every_condition_holds_once_and_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gave: dict[str, set[bool]] = defaultdict(set)
    said: set[str] = set()
    value, say = rules.value, rules.say

    @cache
    def names(expression: str) -> set[str]:
        return meta.find_undeclared_variables(Environment().parse("{{ " + expression + " }}"))

    def watched_value(expression: str, known: rules.Known) -> Any:
        named = names(expression)
        assert named <= {*known, "dict"}, f"{expression}: nobody knows {named - {*known}}"  # in a branch not taken, too
        found = value(expression, known)
        gave[expression].add(bool(found))
        return found

    def watched_say(rule: Any, known: rules.Known) -> Any:
        said.update([rule] if isinstance(rule, str) else [])
        return say(rule, known)

    monkeypatch.setattr(rules, "value", watched_value)
    monkeypatch.setattr(rules, "say", watched_say)
    walk()
    tables = [read_yaml(TABLES / f"{name}.yaml") for name in ("gates", "decision")]
    every = [pair for table in tables for pair in texts(table, WORDS)]
    assert len(every) > 200
    conditions = {text for key, text in every if key in ("when", "holds")} - {"false"}
    assert {text: gave[text] for text in conditions if gave[text] != {True, False}} == {}
    assert [text for _, text in every if text not in said and text not in gave] == []
