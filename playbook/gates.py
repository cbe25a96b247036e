"""Written thresholds to a verdict: open, provisional, closed or overridden.

Pure. Knows checks and verdicts; does not know where a figure comes from, only what kind of evidence it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

Evidence = Literal["direct", "proxy", "client"]
State = Literal["open", "provisional", "closed", "overridden"]


class Check(BaseModel):
    """One written condition: what is asked, what was found, what is required, whether it holds, and on what evidence."""

    model_config = ConfigDict(frozen=True)
    question: str
    found: str
    required: str
    passed: bool
    evidence: Evidence


class Gate(BaseModel):
    """The verdict of a gate with its checks, in words a client reads."""

    model_config = ConfigDict(frozen=True)
    name: str
    state: State
    checks: tuple[Check, ...]
    sentence: str
    would_settle: str
    override_by: str = ""
    override_reason: str = ""

    @property
    def lets_through(self) -> bool:
        """Whether the next step may run."""
        return self.state != "closed"


def decide(name: str, checks: Sequence[Check], would_settle: str = "", override: dict[str, str] | None = None) -> Gate:
    """Open when every check passes on direct or client evidence; provisional when one rests on a proxy; else closed.

    A closed gate may be overridden by a person with a reason (`name`, `reason`); the record keeps both, and the
    recommendation is made as if it had stayed closed. Raises ValueError for no checks or an override without name and reason.
    """
    if not checks:
        raise ValueError(f"gate '{name}' has no checks: a gate without conditions decides nothing.")
    failed = [c for c in checks if not c.passed]
    by_proxy = [c for c in checks if c.evidence == "proxy"]
    if failed:
        state: State = "closed"
        sentence = f"Closed: {'; '.join(f'{c.question} {c.found}, required {c.required}' for c in failed)}."
    elif by_proxy:
        state = "provisional"
        sentence = f"Open provisionally: {len(by_proxy)} of {len(checks)} checks rest on proxy evidence. To settle it: {would_settle}"
    else:
        state, sentence = "open", f"Open: all {len(checks)} checks hold."
    if state == "closed" and override:
        if not override.get("name") or not override.get("reason"):
            raise ValueError(f"override of gate '{name}' needs a name and a reason; got {override}.")
        return Gate(
            name=name,
            state="overridden",
            checks=tuple(checks),
            sentence=f"{sentence} Overridden by {override['name']}: {override['reason']}.",
            would_settle=would_settle,
            override_by=override["name"],
            override_reason=override["reason"],
        )
    return Gate(name=name, state=state, checks=tuple(checks), sentence=sentence, would_settle=would_settle)


def prompt_ceiling(floor: float, cheap: float, best: float) -> float | None:
    """Share of the gain from `floor` to `best` that `cheap` reached, 0 to 1; None when there was no gain at all.

    All three are shares of right items on the same split (S1: how much of the improvement comes without training).
    """
    if best <= floor:
        return None
    return max(0.0, min(1.0, (cheap - floor) / (best - floor)))


def training_gate(
    thresholds: dict[str, float],
    diagnosis: str,
    best: tuple[str, float] | None,
    ceiling: float | None,
    behaviour_share: tuple[int, int] | None,
    owner: bool | None,
    ceiling_evidence: Evidence,
) -> Gate:
    """Is preparing training data worth it? The gate of notebook 06.

    `best` is (arm, share right) of the best arm without training, `behaviour_share` (behaviour failures, failures).
    Whatever was not measured fails its check: what is not known cannot open a gate.
    """
    behavioural = behaviour_share[0] / behaviour_share[1] if behaviour_share and behaviour_share[1] else 0.0
    limit = {name: f"{value:.0%}" for name, value in thresholds.items()}
    checks = _checks(
        ("diagnosis of the behaviour use case", diagnosis.replace("_", " "), "a behaviour outcome")
        + (diagnosis in BEHAVIOUR_OUTCOMES, "client"),
        ("best arm without training", f"{best[0].replace('_', ' ')} {best[1]:.0%} right" if best else NOT_MEASURED)
        + (f"below {limit['good_enough']}, or there is nothing to fix",)
        + (best is not None and best[1] < thresholds["good_enough"], "direct"),
        (
            "share of the gain that cheap rungs already reached",
            f"{ceiling:.0%}" if ceiling is not None else NOT_MEASURED,
        )
        + (f"below {limit['prompt_ceiling']}",)
        + (ceiling is not None and ceiling < thresholds["prompt_ceiling"], ceiling_evidence),
        (
            "share of failures that are behaviour",
            "{} of {}".format(*behaviour_share) if behaviour_share else NOT_MEASURED,
        )
        + (f"at least {limit['behaviour_share']}", behavioural >= thresholds["behaviour_share"], ceiling_evidence),
        ("a named person looks after it for two years", {True: "yes", False: "no", None: "not answered"}[owner], "yes")
        + (bool(owner), "client"),
    )
    return decide(
        "Is preparing training data worth it?",
        checks,
        "run notebooks 03 and 05 with a chat model (profile laptop), so that the cheap rungs are real prompts.",
    )


def _checks(*rows: tuple) -> list[Check]:
    """Checks from rows of (question, found, required, passed, evidence)."""
    return [Check(**dict(zip(Check.model_fields, row, strict=True))) for row in rows]


NOT_MEASURED = "not measured"
BEHAVIOUR_OUTCOMES = frozenset({"cheap_classifier", "lora", "smaller_tuned_model", "hybrid", "constrained_output"})


def adapter_gate(
    before: Gate, blocked_by: Sequence[str], smallest: tuple[str, int], least: float, override: dict[str, str] | None
) -> Gate:
    """May notebook 08 train? Needs the gate of 06 and a clean audit; `override` is the stored one of the engagement."""
    by_gate: Evidence = "proxy" if before.state == "provisional" else "direct"
    rarest = f"{smallest[1]} ({smallest[0]})" if smallest[0] else "no examples"
    blocked = ", ".join(blocked_by) or "none"
    checks = _checks(
        ("the gate of notebook 06", before.state, "open or provisional", before.lets_through, by_gate),
        ("blocking findings in the labelled texts", blocked, "none", not blocked_by, "direct"),
        ("examples of the rarest code", rarest, f"at least {least:.0f}", smallest[1] >= least, "direct"),
    )
    return decide("May an adapter be trained?", checks, before.would_settle, override)


def require(gate: Gate) -> None:
    """Raise ValueError with the gate's own sentence when it is closed."""
    if not gate.lets_through:
        raise ValueError(
            f"{gate.name} {gate.sentence} To run anyway, store an override with name and reason in settings.yaml "
            f"(adapter_override); the recommendation will not count it."
        )
