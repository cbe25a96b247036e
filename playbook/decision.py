"""From the artifacts to a decision: what to do, why, how sure, what it costs, what would change it.

Pure. Applies written rules to results; computes no score itself and writes no file. An overridden gate is treated
here as if it had stayed closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from playbook.diagnosis import DiagnosisResult, Verdict
from playbook.economics import EconomicsResult
from playbook.evaluation import PairedTest, brier
from playbook.results import (
    ArmScore,
    DecisionResult,
    GateResult,
    LoraResult,
    MeasurementResult,
    PlanResult,
    RoomResult,
    TrainingDataResult,
)

USEFUL = 0.5  # an arm must be right more often than not, with the lower end of its interval, to be put to work
VALID_DAYS = 105  # 3.5 months: the middle of the 3 to 4 months between base releases (S1)
STATEMENTS = {
    "rag_answers": "The document search answers at least 60 % of the test questions rightly",
    "refuses": "It refuses at least 80 % of the questions our documents cannot answer",
    "cheap_codes": "Definitions and examples alone code at least 60 % of the test tickets rightly",
    "adapter_wins": "A trained adapter is provably better than the cheap classifier",
}


def decide(
    plan: PlanResult,
    diagnosis: DiagnosisResult,
    economics: EconomicsResult,
    measured: MeasurementResult,
    gate: GateResult,
    audit: TrainingDataResult,
    lora: LoraResult | None,
    room: RoomResult,
    as_of: date,
    knowledge: str,
    behaviour: str,
) -> DecisionResult:
    """Apply the written rules to one client's artifacts; every sentence names the figures it rests on."""
    know, know_why, know_sure = _knowledge(plan, measured)
    act, act_why, act_sure = _behaviour(plan, measured, gate, audit, lora)
    parts = [part for part in (know, act) if part]
    decision = " ".join(parts) or "Nothing could be measured yet: collect questions and examples first, then decide."
    total = {(o.use_case, o.option): o for o in economics.options}
    chosen = [o for key in ((knowledge, "rag"), (behaviour, "cheap_classifier")) if (o := total.get(key))]
    dear = total.get((behaviour, "lora"))
    cost = "; ".join(
        f"{o.use_case.replace('_', ' ')} by {o.option.replace('_', ' ')}: {o.total:,.0f} {economics.currency} in {o.months} months"
        for o in [*chosen, *([dear] if dear else [])]
    )
    return DecisionResult(
        headline=decision,
        decision=decision,
        why=(*know_why, *act_why),
        sure=" ".join((*know_sure, *act_sure)),
        cost=cost[:1].upper() + cost[1:] or "The client's volumes and rates are missing (economics.yaml).",
        would_change=_changes(economics, gate),
        expires=(as_of + timedelta(days=VALID_DAYS)).isoformat(),
        looks=max(measured.looks, lora.looks if lora else 0),
        diagnoses={v.use_case: _confirmed(v, measured, lora, knowledge, behaviour) for v in diagnosis.verdicts},
        brier=score_predictions(room, measured, lora),
    )


def _arm(scores: Sequence[ArmScore], name: str) -> ArmScore | None:
    return next((s for s in scores if s.arm == name), None)


def _proved(tests: Sequence[PairedTest], first: str, second: str) -> bool:
    return any(t.first == first and t.second == second and t.verdict == f"{first} is better" for t in tests)


def _knowledge(plan: PlanResult, measured: MeasurementResult) -> tuple[str, list[str], list[str]]:
    least = int(plan.plan.thresholds["least_questions"])
    if not measured.knowledge:
        return "", ["No frozen questions: nothing could be said about answering from documents."], []
    best = _arm(measured.knowledge, "hybrid")
    why = [
        f"Questions from documents: the hybrid search was right on {best.right}.",
        f"It refused {measured.refused_rightly} of {measured.unanswerable} questions the documents cannot answer, and wrongly "
        f"refused {measured.refused_wrongly} of {measured.answerable} they can.",
    ]
    if measured.answerable < least:
        return (
            f"Answers from documents: too early to say; {measured.answerable} answerable test questions, {least} are needed.",
            why,
            [f"With {measured.answerable} questions no verdict on answering is possible."],
        )
    proved = _proved(measured.knowledge_tests, "hybrid", "first_sentences")
    sure = [
        "That the search beats the plain baseline is proved (exact paired test)."
        if proved
        else "That the search beats the plain baseline is not proved on these questions."
    ]
    if proved and best.right.low >= USEFUL:
        return (
            "Answer from your documents with retrieval (RAG), with citations and refusal; do not train for this.",
            why,
            sure,
        )
    return "Pilot retrieval (RAG) on your documents before promising anything; do not train for facts.", why, sure


def _behaviour(
    plan: PlanResult, measured: MeasurementResult, gate: GateResult, audit: TrainingDataResult, lora: LoraResult | None
) -> tuple[str, list[str], list[str]]:
    if not measured.behaviour:
        return "", ["No labelled examples: nothing could be said about the behaviour."], []
    best = max(measured.behaviour, key=lambda s: s.right.share)
    name = best.arm.replace("_", " ")
    why = [f"Coding texts: the best arm without training a model was {name}, right on {best.right}."]
    sure = []
    wins = lora is not None and _proved(lora.tests, "lora_adapter", "linear_probe")
    if lora is not None:
        adapter = _arm(lora.scores, "lora_adapter")
        why.append(f"The trained adapter was right on {adapter.right}.")
        sure.append(
            "The adapter is provably better than the cheap classifier."
            if wins
            else "No advantage of the adapter over the cheap classifier is proved."
        )
    why += [f"Gate on preparing training data: {gate.gate.sentence}", f"Gate on training: {audit.gate.sentence}"]
    if gate.gate.state == "closed" or audit.gate.state in ("closed", "overridden"):
        verb = "Do not fine-tune now"
    elif wins:
        verb, name, best = "Fine-tune a small adapter", "adapter", adapter
    else:
        verb = "Do not fine-tune"
    useful = best.right.low >= USEFUL
    use = (
        f"use the {name} as a suggestion a person confirms"
        if useful
        else "let people keep the codes and collect examples"
    )
    return f"{verb} for the codes: {use}.", why, sure


def _changes(economics: EconomicsResult, gate: GateResult) -> tuple[str, ...]:
    flips = [f.reading for f in economics.flip_points][:4]
    settle = [gate.gate.would_settle] if gate.gate.would_settle else []
    return (*flips, *settle)


def _confirmed(
    verdict: Verdict, measured: MeasurementResult, lora: LoraResult | None, knowledge: str, behaviour: str
) -> str:
    if verdict.use_case == knowledge and measured.knowledge and verdict.outcome == "rag":
        if not _proved(measured.knowledge_tests, "hybrid", "first_sentences"):
            return "not yet proved"
        return (
            "confirmed"
            if _arm(measured.knowledge, "hybrid").right.low >= USEFUL
            else "direction confirmed, not good enough yet"
        )
    if verdict.use_case == behaviour and measured.behaviour:
        wins = lora is not None and _proved(lora.tests, "lora_adapter", "linear_probe")
        training = verdict.outcome in ("lora", "smaller_tuned_model")
        if lora is None or not (wins or training or verdict.outcome == "cheap_classifier"):
            return "untested"
        return "confirmed" if training == wins else "overturned"
    return "untested"


def score_predictions(room: RoomResult, measured: MeasurementResult, lora: LoraResult | None) -> dict[str, float]:
    """Brier score of each participant over the statements that were measured: 0 best, 0.25 what saying 50 % gives."""
    hybrid = _arm(measured.knowledge, "hybrid")
    cheap = [s.right.share for s in measured.behaviour if s.arm in ("definition", "nearest_examples")]
    happened: dict[str, bool] = {}
    if hybrid:
        happened["rag_answers"] = hybrid.right.share >= 0.6
    if measured.unanswerable:
        happened["refuses"] = measured.refused_rightly >= 0.8 * measured.unanswerable
    if cheap:
        happened["cheap_codes"] = max(cheap) >= 0.6
    if lora:
        happened["adapter_wins"] = _proved(lora.tests, "lora_adapter", "linear_probe")
    scores = {}
    for who in dict.fromkeys(p.who for p in room.predictions):
        mine = [p for p in room.predictions if p.who == who and p.statement in happened]
        if mine:
            scores[who] = brier([p.probability for p in mine], [happened[p.statement] for p in mine])
    return scores
