"""From the artifacts to a decision: what to do, why, how sure, what it costs, what would change it.

Pure. Applies written rules to results; its sentences and limits are in tables/decision.yaml. Computes no score itself
and writes no file. An overridden gate is treated here as if it had stayed closed.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from playbook import results
from playbook.checked import TABLES, read_yaml
from playbook.diagnosis import DiagnosisResult, Verdict
from playbook.economics import EconomicsResult
from playbook.evaluation import PairedTest, brier
from playbook.gates import money_after

_TABLE = read_yaml(TABLES / "decision.yaml")
_ROUTE: dict[str, str] = read_yaml(TABLES / "route.yaml")
STATEMENTS: dict[str, str] = _TABLE["statements"]
LIMITS: dict[str, float] = _TABLE["limits"]
Measured = results.MeasurementResult
Adapter = results.LoraResult | None  # None: none was trained
Thresholds = Mapping[str, float]
Rows = list[dict[str, str]]


class _Part(NamedTuple):
    """One half of the decision: its kind in the table, the option chosen, its sentence, why, how sure, what was scored."""

    kind: str
    option: str
    said: str
    why: list[str]
    sure: list[str]
    scores: Sequence[results.ArmScore]


def decide(
    plan: results.PlanResult, diagnosis: DiagnosisResult, economics: EconomicsResult, measured: Measured,
    gate: results.GateResult, audit: results.TrainingDataResult, lora: Adapter, room: results.RoomResult,
    as_of: date, knowledge: str, behaviour: str, *, baseline: results.BaselineResult | None = None,
    people: Mapping[str, str] | None = None, stale: Sequence[str] = (),
) -> results.DecisionResult:  # fmt: skip
    """Apply the written rules to one client's artifacts; every sentence names the figures it rests on.

    `people`: who has a role of the table (`nobody`), where known; `stale`: what `no_longer_holds` found.
    """
    limits, looks = plan.plan.thresholds, max(measured.looks, lora.looks if lora else 0)
    know, act = _knowledge(limits, measured), _behaviour(limits, measured, gate.gate, audit.gate, lora)
    parts, expires = {knowledge: know, behaviour: act}, as_of + timedelta(days=LIMITS["valid_days"])
    marks = {v.use_case: _mark(v, parts, measured, lora) for v in diagnosis.verdicts}
    options, kinds = _options(parts, economics), (know.kind, act.kind)
    found = {"m": measured, "room": room.inputs, "limits": limits, "cases": len(marks)}
    lists, tables = _record(kinds, economics, as_of, people or {}, looks=looks, expires=expires, **found)
    lists["collect"] += [p.sentence for p in (baseline.provable if baseline else ()) if p.items and p.more != 0]
    spent = [{"after": book, "said": money_after(book, economics)[1]} for book in _TABLE["budget_after"]]
    tables |= {"options": options, "predictions": _ledger(room, measured, lora), "budget": spent}
    return results.DecisionResult(
        headline=" ".join(filter(None, (know.said, act.said))) or _say("nothing"),
        why=(*know.why, *act.why),
        sure=" ".join((*know.sure, *act.sure)),
        cost=" ".join(_say("costs", **row) for row in options if row["said"] != _say("not_chosen")) or _say("no_cost"),
        would_change=(*economics.flip_points[:4], *filter(None, [gate.gate.would_settle])),
        expires=expires.isoformat(),
        looks=looks,
        diagnoses={name: mark["mark"] for name, mark in marks.items()},
        because={name: mark["because"] for name, mark in marks.items()},
        brier=score_predictions(room, measured, lora),
        lists=lists | {"drivers": _drivers(diagnosis, parts), "stale": stale},
        tables=tables,
    )


def _say(sentence: str, **known: Any) -> str:
    return _TABLE["sentences"][sentence].format(**known)


def _arm(scores: Sequence[results.ArmScore], name: str) -> results.ArmScore | None:
    return next((s for s in scores if s.arm == name), None)


def _won(planned: str, tests: Sequence[PairedTest] | None) -> bool:
    """Whether the first arm of a comparison that the table names is proved to be better; None: no test ran."""
    first, second = _TABLE["comparisons"][planned]
    return any((t.first, t.second, t.verdict) == (first, second, f"{first} is better") for t in tests or ())


def _useful(arm: results.ArmScore, limits: Thresholds) -> bool:
    return arm.right.low >= limits["useful"]


def _knowledge(limits: Thresholds, measured: Measured) -> _Part:
    best, least = _arm(measured.knowledge, "hybrid"), limits["least_questions"]
    if best is None:
        return _Part("no_questions", "do_nothing", "", [_say("no_questions")], [], ())
    why = [_say("search", best=best), _say("refusals", m=measured)]
    if measured.answerable < least:
        sure = [_say("early_sure", m=measured)]
        return _Part("early", "do_nothing", _say("early", m=measured, least=least), why, sure, measured.knowledge)
    proved = _won("search", measured.knowledge_tests)
    kind, sure = "answer" if proved and _useful(best, limits) else "pilot", "proved" if proved else "unproved"
    return _Part(kind, "rag", _say(kind), why, [_say(f"search_{sure}")], measured.knowledge)


def _behaviour(
    limits: Thresholds, measured: Measured, data: results.Gate, audit: results.Gate, lora: Adapter
) -> _Part:  # fmt: skip
    if not measured.behaviour:
        return _Part("no_examples", "do_nothing", "", [_say("no_examples")], [], ())
    best, wins = max(measured.behaviour, key=lambda s: s.right.share), _won("adapter", lora and lora.tests)
    arm, adapter = best.arm.replace("_", " "), lora and _arm(lora.scores, "lora_adapter")
    trained = [_say("adapter", adapter=adapter)] if adapter else []
    sure = [_say("adapter_proved" if wins else "adapter_unproved")] if adapter else []
    why = [_say("codes", arm=arm, best=best), *trained, _say("data_gate", gate=data), _say("training_gate", gate=audit)]
    closed = data.state == "closed" or audit.state in ("closed", "overridden")
    kind = "closed" if closed else "train" if wins else "unproved"
    if kind == "train":
        arm, best = "adapter", adapter
    useful, scores = _useful(best, limits), (*measured.behaviour, *(lora.scores if lora else ()))
    said = _say(kind, use=_say("suggest" if useful else "collect", arm=arm))
    return _Part(kind, _TABLE["options"][best.arm] if useful else "do_nothing", said, why, sure, scores)


def _mark(verdict: Verdict, parts: Mapping[str, _Part], measured: Measured, lora: Adapter) -> dict[str, str]:
    """What the measurements say about one verdict of the rules: confirmed, overturned or untested, and why."""
    marks, kind = _TABLE["marks"], parts[verdict.use_case].kind if verdict.use_case in parts else ""
    if verdict.outcome == "rag" and kind in ("answer", "pilot"):
        proved = "search_poor" if _won("search", measured.knowledge_tests) else "search_unproved"
        return marks["search_good" if kind == "answer" else proved]
    training, wins = verdict.outcome in ("lora", "smaller_tuned_model"), _won("adapter", lora and lora.tests)
    told = wins or training or verdict.outcome == "cheap_classifier"
    if kind in ("closed", "unproved", "train") and lora is not None and told:
        return marks["training_wins" if wins else "training_fails"][training]
    return marks["untested"]


def _record(
    kinds: Sequence[str], economics: EconomicsResult, as_of: date, people: Mapping[str, str], **known: Any
) -> list[dict[str, Any]]:
    """The lists and the tables whose words are in the table: what every record has, then what each half's kind adds."""
    figures = {figure.id: figure for figure in economics.assumptions}
    hours, rate = _TABLE["hours"], figures["specialist_cost_per_hour"].value
    known["work"] = {f.id: [end * hours[f.unit] * rate for end in f.range] for f in figures.values() if f.unit in hours}
    known["by"] = [as_of + timedelta(weeks=weeks) for weeks in range(53)]
    known["who"] = _TABLE["nobody"] | {role: name for role, name in people.items() if name not in _TABLE["unnamed"]}
    known |= {"figures": figures, "money": economics}

    def fill(row: str | Mapping[str, str]) -> str | dict[str, str]:
        return row.format(**known) if isinstance(row, str) else {part: fill(text) for part, text in row.items()}

    def section(name: str, always: Sequence[Any]) -> list[Any]:
        return [fill(row) for row in (*always, *(row for kind in kinds for row in _TABLE["kinds"][kind].get(name, ())))]

    return [{name: section(name, always) for name, always in _TABLE[form].items()} for form in ("lists", "tables")]


def _drivers(diagnosis: DiagnosisResult, parts: Mapping[str, _Part]) -> list[str]:
    """What mattered: the rules that speak for the verdict on a measured use case with enough points."""
    fired = [(verdict, rule) for verdict in diagnosis.verdicts if verdict.use_case in parts for rule in verdict.fired]
    return [f"{v.name}: {rule.plain}" for v, rule in fired if rule.effects.get(v.outcome, 0) >= LIMITS["loud"]]


def _options(parts: Mapping[str, _Part], economics: EconomicsResult) -> Rows:
    """Every option of the measured use cases, doing nothing too: how often right, what it costs, what is said about it."""
    rows = []
    for o in (o for o in economics.options if o.use_case in parts):
        part = parts[o.use_case]
        scores = [s for s in part.scores if _TABLE["options"].get(s.arm) == o.option]
        best = max(scores, key=lambda s: s.right.hits, default=None)
        measured = {"right": str(best.right), "evidence": best.evidence} if best else _TABLE["unmeasured"]
        cost = _say("cost" if o.assumed in (None, o.total) else "cost_measured", o=o, money=economics.currency)
        shut = "shut" if (o.option, part.kind) == ("lora", "closed") else "not_chosen"
        said = _say("chosen" if o.option == part.option else shut)
        called = {"use_case": o.use_case.replace("_", " ").capitalize(), "option": _TABLE["called"][o.option]}
        rows.append(called | measured | {"cost": cost, "said": said})
    return rows


def _ledger(room: results.RoomResult, measured: Measured, lora: Adapter) -> Rows:
    """Each statement of notebook 00, what every participant said of it in advance, and whether it happened."""
    happened, rows = _happened(measured, lora), []
    for name, statement in STATEMENTS.items() if room.predictions else ():
        said = {p.who: f"{p.probability:.0%}" for p in room.predictions if p.statement == name}
        rows.append({"statement": statement} | said | {"happened": _TABLE["happened"][happened.get(name)]})
    return rows


def _happened(measured: Measured, lora: Adapter) -> dict[str, bool]:
    """Whether each statement came true; what was not measured is left out."""
    hybrid = _arm(measured.knowledge, "hybrid")
    cheap = [s.right.share for s in measured.behaviour if s.arm in ("definition", "nearest_examples")]
    figures = {  # None: not measured
        "rag_answers": hybrid.right.share if hybrid else None,
        "refuses": measured.refused_rightly / measured.unanswerable if measured.unanswerable else None,
        "cheap_codes": max(cheap, default=None),
        "adapter_wins": _won("adapter", lora.tests) if lora else None,
    }
    return {name: figure >= LIMITS[name] for name, figure in figures.items() if figure is not None}


def score_predictions(room: results.RoomResult, measured: Measured, lora: Adapter) -> dict[str, float]:
    """Brier score of each participant over the statements that were measured: 0 best, 0.25 what saying 50 % gives."""
    happened = _happened(measured, lora)
    told = [p for p in room.predictions if p.statement in happened]
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
            figures, notebook = _TABLE["figures"][artifact], _ROUTE[artifact]
            lost[artifact] = _say(
                "stale", artifact=artifact, figures=figures, changed=", ".join(changed), notebook=notebook
            )
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
    figures = _paired(kept.assumptions, fresh.assumptions, "use_case", "id")
    options = _paired(kept.options, fresh.options, "use_case", "option")
    matter = {id for option in fresh.options for id in option.stale}.difference(line.id for line in kept.stale)
    grown_old = [line for line in fresh.stale if line.id in matter and line.origin != "our_estimate"]
    said = [_say("expired", expires=expires)] if as_of > expires else []
    said += [_say("figure", old=a, new=b).strip() for a, b in figures if round(a.value, 4) != round(b.value, 4)]
    said += [_say("old_price", line=line) for line in grown_old]
    moved = [(a, b) for a, b in options if abs(b.total - a.total) > LIMITS["moved"] * a.total]
    said += [_say("moved", old=a, new=b, money=kept.currency, share=b.total / a.total - 1) for a, b in moved]
    for case in kept.work_today:
        by_cost = (sorted(result.options, key=lambda o: o.total) for result in (kept, fresh))
        before, after = (", ".join(o.option for o in ranked if o.use_case == case) for ranked in by_cost)
        paid, pays = (r.payback.get(case) is not None and r.payback[case] <= r.months for r in (kept, fresh))
        if before != after:
            said.append(_say("order" if after else "no_case", case=case, before=before, after=after))
        if after and case in kept.payback and paid != pays:
            said.append(_say("pays" if pays else "pays_no_more", case=case, months=kept.months))
    return tuple(said)


def _paired(old: Sequence[Any], new: Sequence[Any], *names: str) -> list[tuple[Any, Any]]:
    """What stands in both lists, told apart by its fields `names`."""
    key = attrgetter(*names)
    now = {key(entry): entry for entry in new}
    return [(entry, now[key(entry)]) for entry in old if key(entry) in now]
