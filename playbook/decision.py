"""From the artifacts to a decision: what to do, why, how sure, what it costs, what would change it.

Pure. Applies written rules to results; its sentences and limits are in tables/decision.yaml. Computes no score itself
and writes no file. An overridden gate is treated here as if it had stayed closed.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from operator import attrgetter
from typing import Any

from playbook import results
from playbook.checked import TABLES, read_yaml
from playbook.diagnosis import DiagnosisResult, Verdict
from playbook.economics import EconomicsResult
from playbook.evaluation import PairedTest, brier

_TABLE = read_yaml(TABLES / "decision.yaml")
STATEMENTS: dict[str, str] = _TABLE["statements"]
LIMITS: dict[str, float] = _TABLE["limits"]
Measured = results.MeasurementResult
Adapter = results.LoraResult | None  # None: none was trained
Reasoned = tuple[str, list[str], list[str]]  # the decision's sentence, why, and how sure


def decide(
    plan: results.PlanResult, diagnosis: DiagnosisResult, economics: EconomicsResult, measured: Measured,
    gate: results.GateResult, audit: results.TrainingDataResult, lora: Adapter, room: results.RoomResult,
    as_of: date, knowledge: str, behaviour: str,
) -> results.DecisionResult:  # fmt: skip
    """Apply the written rules to one client's artifacts; every sentence names the figures it rests on."""
    know, know_why, know_sure = _knowledge(plan, measured)
    act, act_why, act_sure = _behaviour(measured, gate.gate, audit.gate, lora)
    decision = " ".join(filter(None, (know, act))) or _say("nothing")
    named = ((knowledge, "rag"), (behaviour, "cheap_classifier"), (behaviour, "lora"))
    options = [o for name in named for o in economics.options if (o.use_case, o.option) == name]
    said = [("cost" if o.assumed in (None, o.total) else "cost_measured", o) for o in options]
    cost = "; ".join(_say(words, o=option, money=economics.currency) for words, option in said)
    return results.DecisionResult(
        headline=decision,
        why=(*know_why, *act_why),
        sure=" ".join((*know_sure, *act_sure)),
        cost=(cost[:1].upper() + cost[1:]).replace("_", " ") or _say("no_cost"),
        would_change=(*economics.flip_points[:4], *filter(None, [gate.gate.would_settle])),
        expires=(as_of + timedelta(days=LIMITS["valid_days"])).isoformat(),
        looks=max(measured.looks, lora.looks if lora else 0),
        diagnoses={v.use_case: _confirmed(v, measured, lora, knowledge, behaviour) for v in diagnosis.verdicts},
        brier=score_predictions(room, measured, lora),
    )


def _say(sentence: str, **known: Any) -> str:
    return _TABLE["sentences"][sentence].format(**known)


def _arm(scores: Sequence[results.ArmScore], name: str) -> results.ArmScore | None:
    return next((s for s in scores if s.arm == name), None)


def _won(planned: str, tests: Sequence[PairedTest] | None) -> bool:
    """Whether the first arm of a comparison that the table names is proved to be better; None: no test ran."""
    first, second = _TABLE["comparisons"][planned]
    return any((t.first, t.second, t.verdict) == (first, second, f"{first} is better") for t in tests or ())


def _useful(arm: results.ArmScore) -> bool:
    return arm.right.low >= LIMITS["useful"]


def _knowledge(plan: results.PlanResult, measured: Measured) -> Reasoned:
    best, least = _arm(measured.knowledge, "hybrid"), plan.plan.thresholds["least_questions"]
    if best is None:
        return "", [_say("no_questions")], []
    why = [_say("search", best=best), _say("refusals", m=measured)]
    if measured.answerable < least:
        return _say("early", m=measured, least=least), why, [_say("early_sure", m=measured)]
    proved = _won("search", measured.knowledge_tests)
    sure = [_say("search_proved" if proved else "search_unproved")]
    return _say("answer" if proved and _useful(best) else "pilot"), why, sure


def _behaviour(measured: Measured, data: results.Gate, audit: results.Gate, lora: Adapter) -> Reasoned:
    if not measured.behaviour:
        return "", [_say("no_examples")], []
    best, wins = max(measured.behaviour, key=lambda s: s.right.share), _won("adapter", lora and lora.tests)
    arm, adapter = best.arm.replace("_", " "), lora and _arm(lora.scores, "lora_adapter")
    trained = [_say("adapter", adapter=adapter)] if adapter else []
    sure = [_say("adapter_proved" if wins else "adapter_unproved")] if adapter else []
    why = [_say("codes", arm=arm, best=best), *trained, _say("data_gate", gate=data), _say("training_gate", gate=audit)]
    closed = data.state == "closed" or audit.state in ("closed", "overridden")
    decision = "closed" if closed else "train" if wins else "unproved"
    if decision == "train":
        arm, best = "adapter", adapter
    return _say(decision, use=_say("suggest" if _useful(best) else "collect", arm=arm)), why, sure


def _confirmed(verdict: Verdict, measured: Measured, lora: Adapter, knowledge: str, behaviour: str) -> str:
    """What the measurements say about one verdict of the rules."""
    search = _arm(measured.knowledge, "hybrid")
    if (verdict.use_case, verdict.outcome) == (knowledge, "rag") and search:
        good = "confirmed" if _useful(search) else "direction confirmed, not good enough yet"
        return good if _won("search", measured.knowledge_tests) else "not yet proved"
    training, wins = verdict.outcome in ("lora", "smaller_tuned_model"), _won("adapter", lora and lora.tests)
    told = wins or training or verdict.outcome == "cheap_classifier"
    if verdict.use_case == behaviour and measured.behaviour and lora is not None and told:
        return "confirmed" if training == wins else "overturned"
    return "untested"


def score_predictions(room: results.RoomResult, measured: Measured, lora: Adapter) -> dict[str, float]:
    """Brier score of each participant over the statements that were measured: 0 best, 0.25 what saying 50 % gives."""
    hybrid = _arm(measured.knowledge, "hybrid")
    cheap = [s.right.share for s in measured.behaviour if s.arm in ("definition", "nearest_examples")]
    figures = {  # None: not measured
        "rag_answers": hybrid.right.share if hybrid else None,
        "refuses": measured.refused_rightly / measured.unanswerable if measured.unanswerable else None,
        "cheap_codes": max(cheap, default=None),
        "adapter_wins": _won("adapter", lora.tests) if lora else None,
    }
    happened = {name: figure >= LIMITS[name] for name, figure in figures.items() if figure is not None}
    told = [p for p in room.predictions if p.statement in happened]
    said = {p.who: [q for q in told if q.who == p.who] for p in told}
    return {who: brier([p.probability for p in own], [happened[p.statement] for p in own]) for who, own in said.items()}


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
