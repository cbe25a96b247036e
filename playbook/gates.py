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
