"""Written thresholds to a verdict: open, provisional, closed or overridden.

Pure; the words of the conditions are in tables/gates.yaml. Knows checks and verdicts; does not know where a figure
comes from, only what kind of evidence it is.
"""

from collections.abc import Sequence
from typing import Literal

from playbook.checked import TABLES, Frozen, read_yaml

_TABLE = read_yaml(TABLES / "gates.yaml")
Evidence = Literal["direct", "proxy", "client"]
State = Literal["open", "provisional", "closed", "overridden"]
Interval = tuple[float, float, float]  # a figure with the lower and upper bound of its 95 % interval


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
    proxies = sum(c.evidence == "proxy" for c in checks)
    state: State = "closed" if failed else "provisional" if proxies else "open"
    if failed and override:
        if not override.get("name") or not override.get("reason"):
            raise ValueError(f"override of gate '{name}' needs a name and a reason; got {override}.")
        state = "overridden"
    known = {"failed": failed, "proxies": proxies, "all": len(checks), "settle": would_settle, "by": override}
    said = _TABLE["sentences"][state].format(**known)
    return Gate(name=name, state=state, checks=tuple(checks), sentence=said, would_settle=would_settle)


def training_gate(
    thresholds: dict[str, float], diagnosis: str, best: tuple[str, float] | None, ceiling: Interval | None,
    behaviour_share: tuple[int, int] | None, owner: bool | None, ceiling_evidence: Evidence,
) -> Gate:  # fmt: skip
    """Is preparing training data worth it? The gate of notebook 06.

    `best` is (arm, share right) of the best arm without training, `ceiling` the share of the gain that cheap arms reached
    with its 95 % interval (`evaluation.gain_share`), `behaviour_share` (behaviour failures, failures). Whatever was not
    measured fails its check, and so does a ceiling whose interval reaches the threshold: what is not known, or not proved,
    cannot open a gate.
    """
    table = _TABLE["training"]
    found = {
        "diagnosis": (diagnosis.replace("_", " "), diagnosis in table["behaviour_outcomes"]),
        "owner": ({True: "yes", False: "no", None: "not answered"}[owner], bool(owner)),
    }
    if best:
        found["best"] = (f"{best[0].replace('_', ' ')} {best[1]:.0%} right", best[1] < thresholds["good_enough"])
    if ceiling:
        found["ceiling"] = (_TABLE["interval"].format(*ceiling), ceiling[-1] < thresholds["prompt_ceiling"])
    if behaviour_share:
        count, of = behaviour_share
        found["failures"] = (f"{count} of {of}", count >= thresholds["behaviour_share"] * max(of, 1))
    return decide(table["name"], _checks("training", found, thresholds, ceiling_evidence), table["would_settle"])


def adapter_gate(
    before: Gate, blocked_by: Sequence[str], smallest: tuple[str, int], least: float, override: dict[str, str] | None
) -> Gate:
    """May notebook 08 train? Needs the gate of 06 and a clean audit; `override` is the stored one of the engagement."""
    found = {
        "before": (before.state, before.lets_through),
        "blocked": (", ".join(blocked_by) or "none", not blocked_by),
        "rarest": (f"{smallest[1]} ({smallest[0]})" if smallest[0] else "no examples", smallest[1] >= least),
    }
    checks = _checks("adapter", found, {"least": least}, "proxy" if before.state == "provisional" else "direct")
    return decide(_TABLE["adapter"]["name"], checks, before.would_settle, override)


def _checks(which: str, found: dict[str, tuple[str, bool]], limits: dict[str, float], evidence: str) -> list[Check]:
    """A gate's conditions with what was found for each and whether it holds; `evidence` where the table has none."""
    checks = []
    for name, row in _TABLE[which]["checks"].items():
        said, holds = found.get(name, ("not measured", False))
        required = row["required"].format(**limits)
        checks.append(Check(**{"evidence": evidence, **row, "found": said, "required": required, "passed": holds}))
    return checks


def require(gate: Gate) -> None:
    """Raise ValueError with the gate's own sentence when it is closed."""
    if not gate.lets_through:
        raise ValueError(f"{gate.name} {gate.sentence} {_TABLE['sentences']['to_run_anyway']}")
