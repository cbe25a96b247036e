"""Written thresholds to a verdict: open, provisional, closed or overridden.

Pure; the words of the conditions are in tables/gates.yaml. Knows checks and verdicts; does not know where a figure
comes from, only what kind of evidence it is.
"""

from collections.abc import Sequence
from typing import Any, Literal

from playbook.checked import TABLES, Frozen, read_yaml

_TABLE = read_yaml(TABLES / "gates.yaml")
Evidence = Literal["direct", "proxy", "client"]
State = Literal["open", "provisional", "closed", "overridden"]


class Check(Frozen):
    """One written condition: what is asked, what was found, what is required, whether it holds, and on what evidence."""

    question: str
    found: str
    required: str
    passed: bool
    evidence: Evidence


class Gate(Frozen):
    """The verdict of a gate with its checks, in words a client reads."""

    name: str
    state: State
    checks: tuple[Check, ...]
    sentence: str
    would_settle: str

    @property
    def lets_through(self) -> bool:
        """Whether the next step may run."""
        return self.state != "closed"


def decide(name: str, checks: Sequence[Check], would_settle: str = "", override: dict[str, str] | None = None) -> Gate:
    """Open when every check passes on direct or client evidence; provisional when one rests on a proxy; else closed.

    A closed gate may be overridden by a person with a reason (`name`, `reason`); the sentence keeps both, and the
    recommendation is made as if it had stayed closed. Raises ValueError for no checks or an override without name and reason.
    """
    if not checks:
        raise ValueError(f"gate '{name}' has no checks: a gate without conditions decides nothing.")
    failed = "; ".join(f"{c.question} {c.found}, required {c.required}" for c in checks if not c.passed)
    by_proxy = f"{sum(c.evidence == 'proxy' for c in checks)} of {len(checks)} checks rest on proxy evidence"
    state: State = "open"
    sentence = f"Open: all {len(checks)} checks hold."
    if failed:
        state, sentence = "closed", f"Closed: {failed}."
    elif any(c.evidence == "proxy" for c in checks):
        state, sentence = "provisional", f"Open provisionally: {by_proxy}. To settle it: {would_settle}"
    if state == "closed" and override:
        who, why = override.get("name"), override.get("reason")
        if not who or not why:
            raise ValueError(f"override of gate '{name}' needs a name and a reason; got {override}.")
        state, sentence = "overridden", f"{sentence} Overridden by {who}: {why}."
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
    table = _TABLE["training"]
    found = dict.fromkeys(table["checks"], ("not measured", False))
    found["diagnosis"] = (diagnosis.replace("_", " "), diagnosis in table["behaviour_outcomes"])
    found["owner"] = ({True: "yes", False: "no", None: "not answered"}[owner], bool(owner))
    if best:
        found["best"] = (f"{best[0].replace('_', ' ')} {best[1]:.0%} right", best[1] < thresholds["good_enough"])
    if ceiling is not None:
        found["ceiling"] = (f"{ceiling:.0%}", ceiling < thresholds["prompt_ceiling"])
    if behaviour_share:
        count, of = behaviour_share
        found["failures"] = (f"{count} of {of}", count >= thresholds["behaviour_share"] * max(of, 1))
    return decide(table["name"], _checks(table, found, thresholds, ceiling_evidence), table["would_settle"])


def adapter_gate(
    before: Gate, blocked_by: Sequence[str], smallest: tuple[str, int], least: float, override: dict[str, str] | None
) -> Gate:
    """May notebook 08 train? Needs the gate of 06 and a clean audit; `override` is the stored one of the engagement."""
    table = _TABLE["adapter"]
    found = {
        "before": (before.state, before.lets_through),
        "blocked": (", ".join(blocked_by) or "none", not blocked_by),
        "rarest": (f"{smallest[1]} ({smallest[0]})" if smallest[0] else "no examples", smallest[1] >= least),
    }
    evidence: Evidence = "proxy" if before.state == "provisional" else "direct"
    return decide(table["name"], _checks(table, found, {"least": least}, evidence), before.would_settle, override)


def _checks(
    table: dict[str, Any], found: dict[str, tuple[str, bool]], limits: dict[str, float], evidence: Evidence
) -> list[Check]:
    """The table's conditions with what was found for each and whether it holds; `evidence` where the table has none."""
    checks = []
    for name, row in table["checks"].items():
        known = {"evidence": evidence, **row, "required": row["required"].format(**limits)}
        checks.append(Check(found=found[name][0], passed=found[name][1], **known))
    return checks


def require(gate: Gate) -> None:
    """Raise ValueError with the gate's own sentence when it is closed."""
    if not gate.lets_through:
        fix = "store an override with name and reason in settings.yaml (adapter_override)"
        raise ValueError(f"{gate.name} {gate.sentence} To run anyway, {fix}; the recommendation will not count it.")
