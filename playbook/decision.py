"""From the artifacts to a decision: what to do, why, how sure, what it costs, what would change it.

Pure. Applies written rules to results; its sentences and limits are in tables/decision.yaml. Computes no score itself
and writes no file. An overridden gate is treated here as if it had stayed closed.
"""

from collections.abc import Sequence
from datetime import date, timedelta
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
    plan: results.PlanResult,
    diagnosis: DiagnosisResult,
    economics: EconomicsResult,
    measured: Measured,
    gate: results.GateResult,
    audit: results.TrainingDataResult,
    lora: Adapter,
    room: results.RoomResult,
    as_of: date,
    knowledge: str,
    behaviour: str,
) -> results.DecisionResult:
    """Apply the written rules to one client's artifacts; every sentence names the figures it rests on."""
    know, know_why, know_sure = _knowledge(plan, measured)
    act, act_why, act_sure = _behaviour(measured, gate, audit, lora)
    decision = " ".join(filter(None, (know, act))) or _say("nothing")
    options = {(o.use_case, o.option): o for o in economics.options}
    named = ((knowledge, "rag"), (behaviour, "cheap_classifier"), (behaviour, "lora"))
    cost = "; ".join(_say("cost", o=options[key], money=economics.currency) for key in named if key in options)
    return results.DecisionResult(
        headline=decision,
        decision=decision,
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


def _proved(tests: Sequence[PairedTest], first: str, second: str) -> bool:
    return any(t.first == first and t.second == second and t.verdict == f"{first} is better" for t in tests)


def _search_wins(measured: Measured) -> bool:
    return _proved(measured.knowledge_tests, "hybrid", "first_sentences")


def _adapter_wins(lora: Adapter) -> bool:
    return lora is not None and _proved(lora.tests, "lora_adapter", "linear_probe")


def _useful(arm: results.ArmScore) -> bool:
    return arm.right.low >= LIMITS["useful"]


def _knowledge(plan: results.PlanResult, measured: Measured) -> Reasoned:
    best, least = _arm(measured.knowledge, "hybrid"), plan.plan.thresholds["least_questions"]
    if best is None:
        return "", [_say("no_questions")], []
    why = [_say("search", best=best), _say("refusals", m=measured)]
    if measured.answerable < least:
        return _say("early", m=measured, least=least), why, [_say("early_sure", m=measured)]
    proved = _search_wins(measured)
    sure = _say("search_proved" if proved else "search_unproved")
    return _say("answer" if proved and _useful(best) else "pilot"), why, [sure]


def _behaviour(
    measured: Measured, gate: results.GateResult, audit: results.TrainingDataResult, lora: Adapter
) -> Reasoned:
    if not measured.behaviour:
        return "", [_say("no_examples")], []
    best = max(measured.behaviour, key=lambda s: s.right.share)
    arm, wins = best.arm.replace("_", " "), _adapter_wins(lora)
    why, sure = [_say("codes", arm=arm, best=best)], []
    if lora is not None:
        adapter = _arm(lora.scores, "lora_adapter")
        why.append(_say("adapter", adapter=adapter))
        sure.append(_say("adapter_proved" if wins else "adapter_unproved"))
    why += [_say("data_gate", gate=gate.gate), _say("training_gate", gate=audit.gate)]
    decision = "train" if wins else "unproved"
    if gate.gate.state == "closed" or audit.gate.state in ("closed", "overridden"):
        decision = "closed"
    elif wins:
        arm, best = "adapter", adapter
    return _say(decision, use=_say("suggest" if _useful(best) else "collect", arm=arm)), why, sure


def _confirmed(verdict: Verdict, measured: Measured, lora: Adapter, knowledge: str, behaviour: str) -> str:
    """What the measurements say about one verdict of the rules."""
    search = _arm(measured.knowledge, "hybrid")
    if verdict.use_case == knowledge and search and verdict.outcome == "rag":
        if not _search_wins(measured):
            return "not yet proved"
        return "confirmed" if _useful(search) else "direction confirmed, not good enough yet"
    training, wins = verdict.outcome in ("lora", "smaller_tuned_model"), _adapter_wins(lora)
    told = wins or training or verdict.outcome == "cheap_classifier"
    if verdict.use_case == behaviour and measured.behaviour and lora is not None and told:
        return "confirmed" if training == wins else "overturned"
    return "untested"


def score_predictions(room: results.RoomResult, measured: Measured, lora: Adapter) -> dict[str, float]:
    """Brier score of each participant over the statements that were measured: 0 best, 0.25 what saying 50 % gives."""
    hybrid = _arm(measured.knowledge, "hybrid")
    cheap = [s.right.share for s in measured.behaviour if s.arm in ("definition", "nearest_examples")]
    happened: dict[str, bool] = {}
    if hybrid:
        happened["rag_answers"] = hybrid.right.share >= LIMITS["rag_answers"]
    if measured.unanswerable:
        happened["refuses"] = measured.refused_rightly >= LIMITS["refuses"] * measured.unanswerable
    if cheap:
        happened["cheap_codes"] = max(cheap) >= LIMITS["cheap_codes"]
    if lora:
        happened["adapter_wins"] = _adapter_wins(lora)
    scores = {}
    for who in dict.fromkeys(p.who for p in room.predictions):
        mine = [p for p in room.predictions if p.who == who and p.statement in happened]
        if mine:
            scores[who] = brier([p.probability for p in mine], [happened[p.statement] for p in mine])
    return scores
