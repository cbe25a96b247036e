"""From the artifacts to a decision: what to do, why, how sure, what it costs, what would change it.

Pure. The rules, their limits and their sentences are in tables/decision.yaml; here they are handed the artifacts. Computes
no score itself and writes no file. An overridden gate is treated as if it had stayed closed.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from playbook import results, rules
from playbook.checked import TABLES, read_yaml
from playbook.diagnosis import DiagnosisResult
from playbook.economics import EconomicsResult
from playbook.evaluation import brier
from playbook.gates import money_after

_TABLE = read_yaml(TABLES / "decision.yaml")
_ROUTE: dict[str, str] = read_yaml(TABLES / "route.yaml")
STATEMENTS: dict[str, str] = _TABLE["statements"]
Measured = results.MeasurementResult
Adapter = results.LoraResult | None  # None: none was trained


def decide(
    plan: results.PlanResult, diagnosis: DiagnosisResult, economics: EconomicsResult, measured: Measured,
    gate: results.GateResult, audit: results.TrainingDataResult, lora: Adapter, room: results.RoomResult,
    as_of: date, knowledge: str, behaviour: str, *, baseline: results.BaselineResult | None = None,
    people: Mapping[str, str] | None = None, stale: Sequence[str] = (),
) -> results.DecisionResult:  # fmt: skip
    """Apply the written rules to one client's artifacts; every sentence names the figures it rests on.

    `people`: who has a role of the table (`nobody`), where known; `stale`: what `no_longer_holds` found.
    """
    found = _measured(measured, lora)
    given = {
        "diagnosis": diagnosis, "economics": economics, "gate": gate.gate, "training": audit.gate, "room": room.inputs,
        "limits": plan.plan.thresholds, "knowledge": knowledge, "behaviour": behaviour, "people": people or {},
        "provable": baseline.provable if baseline else (), "stale": stale, "ledger": _ledger(room, found["happened"]),
        "as_of": as_of, "days": timedelta, "money_after": money_after,
    }  # fmt: skip
    known = rules.facts(_TABLE["facts"], found | given)
    known |= {half: rules.first(_TABLE[half], known) for half in ("know", "act")}
    halves = known["halves"] = {knowledge: known["know"], behaviour: known["act"]}
    tables = known["tables"] = rules.say(_TABLE["tables"], known)
    marks = {}
    for verdict in diagnosis.verdicts:
        about = {"verdict": verdict, "half": halves.get(verdict.use_case)}
        marks[verdict.use_case] = rules.first(_TABLE["marks"], known | about)
    return results.DecisionResult(
        **{part: " ".join(texts) for part, texts in rules.say(_TABLE["page"], known).items()},
        **rules.say(_TABLE["reasons"], known),
        expires=known["expires"],
        looks=known["looks"],
        diagnoses={name: mark["mark"] for name, mark in marks.items()},
        because={name: mark["because"] for name, mark in marks.items()},
        brier=score_predictions(room, measured, lora),
        lists=rules.say(_TABLE["lists"], known),
        tables=tables,
    )


def _measured(measured: Measured, lora: Adapter) -> dict[str, Any]:
    """The table's own words and the facts that it draws from the measurements alone."""
    return rules.facts(_TABLE["measured"], {**_TABLE["own"], "m": measured, "lora": lora})


def _ledger(room: results.RoomResult, came_true: Mapping[str, bool | None]) -> list[dict[str, str]]:
    """Each statement of notebook 00, what every participant said of it in advance, and whether it happened."""
    rows = []
    for name, happened in came_true.items() if room.predictions else ():
        said = {p.who: f"{p.probability:.0%}" for p in room.predictions if p.statement == name}
        rows.append({"statement": STATEMENTS[name]} | said | {"happened": _TABLE["outcome"][happened]})
    return rows


def score_predictions(room: results.RoomResult, measured: Measured, lora: Adapter) -> dict[str, float]:
    """Brier score of each participant over the statements that were measured: 0 best, 0.25 what saying 50 % gives."""
    happened = _measured(measured, lora)["happened"]
    told = [p for p in room.predictions if happened.get(p.statement) is not None]
    said = {p.who: [q for q in told if q.who == p.who] for p in told}
    return {who: brier([p.probability for p in own], [happened[p.statement] for p in own]) for who, own in said.items()}


def no_longer_holds(recorded: Mapping[str, Mapping[str, str]], present: Mapping[str, str]) -> list[str]:
    """Which figures of which artifacts rest on inputs that changed since, in the order of the route; empty when all hold.

    `recorded`: artifact -> the hash of each input when it was written; `present`: input -> its hash now. What rests on an
    artifact that no longer holds does not hold either.
    """
    lost: dict[str, str] = {}
    for artifact, inputs in recorded.items():
        changed = [name for name, digest in inputs.items() if name in lost or present.get(name) != digest]
        if changed:
            known = {"artifact": artifact, "figures": _TABLE["figures"][artifact], "notebook": _ROUTE[artifact]}
            lost[artifact] = rules.say(_TABLE["lost"], known | {"changed": ", ".join(changed)})
    return [*lost.values()]


def broken_assumptions(kept: EconomicsResult, fresh: EconomicsResult, expires: date, as_of: date) -> tuple[str, ...]:
    """What broke since a record was written, a sentence each; empty if the record still holds.

    `kept` is 02_economics as saved, `fresh` the same calculation with today's price book and client figures, dated
    `as_of`; `expires` is the record's. Looked at: the expiry date, the value of every figure, published figures that
    costs rest on and that have become old, totals, and for each use case the order of its options and whether training
    pays back within the horizon. It does not see figures that 09 measured. Raises ValueError for another currency or
    horizon.
    """
    if (kept.currency, kept.months) != (fresh.currency, fresh.months):
        two = f"{kept.currency} over {kept.months} months and {fresh.currency} over {fresh.months}"
        raise ValueError(f"the record and today's economics are in {two}; they must be the same: run notebook 02 again")
    known = {**_TABLE["own"], "kept": kept, "fresh": fresh, "expires": expires, "as_of": as_of}
    return tuple(rules.say(_TABLE["broken"], known))
