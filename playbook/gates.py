"""Written thresholds to a verdict: go on, go on provisionally, fix first or stop; and what the way there has cost.

Pure; the conditions of each gate, their words and the hours are in tables/gates.yaml. Knows checks and verdicts; does not
know where a figure comes from, only what kind of evidence it is.
"""

from collections.abc import Mapping, Sequence
from operator import contains, ge, gt, le
from typing import Any, Literal

from playbook.checked import TABLES, Frozen, read_yaml
from playbook.economics import EconomicsResult

_TABLE = read_yaml(TABLES / "gates.yaml")
Evidence = Literal["direct", "proxy", "client"]
State = Literal["open", "provisional", "closed", "overridden"]
Interval = tuple[float, float, float]  # a figure with the lower and upper bound of its 95 % interval
Found = tuple[float | str | Interval | None, str]  # what was found and how a client reads it; None: not measured
Override = Mapping[str, str] | None  # who goes on in spite of a closed gate, and why: `name`, `reason`
HOLDS = {"at_least": le, "at_most": ge, "below": gt, "one_of": contains}  # called with the limit first


class Check(Frozen):
    """One written condition: what is asked, found and required, whether it holds, and on what evidence.

    If it does not hold: `so` says what to do, and `if_not` whether to stop for good or to repair and come back.
    """

    question: str
    found: str
    required: str
    passed: bool
    evidence: Evidence
    so: str = ""
    if_not: Literal["stop", "fix first"] = "fix first"


class Gate(Frozen):
    """The verdict of the gate at the end of a notebook ("03") with its checks, in words a client reads."""

    name: str
    state: State
    checks: tuple[Check, ...]
    sentence: str
    would_settle: str
    notebook: str = ""
    verdict: str = ""  # "go on", "go on, provisionally", "fix first" or "stop"; an override changes nothing here

    @property
    def lets_through(self) -> bool:
        """Whether the next step may run."""
        return self.state != "closed"


def decide(
    name: str, checks: Sequence[Check], would_settle: str = "", override: Override = None, notebook: str = ""
) -> Gate:
    """Open when every check passes on direct or client evidence; provisional when one rests on a proxy; else closed.

    A closed gate may be overridden by a person with a reason (`name`, `reason`); the sentence keeps both, and the
    recommendation is made as if it had stayed closed. Raises ValueError for no checks or an override without name and reason.
    """
    if not checks:
        raise ValueError(f"gate '{name}' has no checks: a gate without conditions decides nothing.")
    if override is not None and not all(override.get(part, "").strip() for part in ("name", "reason")):
        raise ValueError(f"override of gate '{name}' needs a name and a reason; got {dict(override)}.")
    failed, proxies = [c for c in checks if not c.passed], sum(c.evidence == "proxy" for c in checks)
    state: State = "overridden" if failed and override else "closed" if failed else "provisional" if proxies else "open"
    verdict = "stop" if any(c.if_not == "stop" for c in failed) else _TABLE["verdicts"][state]
    so = " ".join(c.so or f"{c.question}: {c.found}, required {c.required}." for c in failed)
    words = _TABLE["sentences"][verdict] + _TABLE["sentences"]["overridden"] * (state == "overridden")
    said = words.format(so=so, proxies=proxies, all=len(checks), settle=would_settle, by=override)
    known = {"name": name, "state": state, "checks": tuple(checks), "would_settle": would_settle}
    return Gate(**known, sentence=said, notebook=notebook, verdict=verdict)


def judge(
    notebook: str, thresholds: Mapping[str, float], found: Mapping[str, Found], evidence: Evidence = "direct",
    override: Override = None,
) -> Gate:  # fmt: skip
    """The gate at the end of a notebook ("03" to "07"): its conditions in the table against what was `found` for each.

    Of a figure with its interval the end that is against going on counts: what is not proved cannot open a gate. What is
    not known fails; a condition that the table calls optional is left out when nothing was handed over for it, because
    nobody asks for it here. `evidence` counts where a condition has none of its own. Raises ValueError for a name that the
    gate does not know, and for a threshold that the frozen plan lacks.
    """
    table = _TABLE["gates"][notebook]
    if unknown := found.keys() - table["checks"].keys():
        raise ValueError(f"gate {notebook} has no condition {min(unknown)}: use {', '.join(table['checks'])}.")
    checks = []
    for name, row in table["checks"].items():
        if name in found or not row.get("optional"):
            checks.append(_check({"evidence": evidence, **row}, thresholds, *found.get(name, (None, ""))))
    return decide(table["name"], checks, table["would_settle"], override, notebook)


def _check(row: Mapping[str, Any], thresholds: Mapping[str, float], value: Any, said: str) -> Check:
    """One condition of the table against the frozen thresholds."""
    limit = thresholds.get(row["limit"]) if isinstance(row["limit"], str) else row["limit"]
    if limit is None:
        raise ValueError(_TABLE["sentences"]["no_threshold"].format(name=row["limit"]))
    if isinstance(value, tuple):
        value = value[1 if row["holds"] == "at_least" else 2]
    if value is None:  # nobody knows, so nothing can be stopped for good either
        row, said = {**row, **_TABLE["unknown"]}, _TABLE["unknown"]["found"]
    passed = value is not None and bool(HOLDS[row["holds"]](limit, value))
    known = {"found": said, "limit": limit, "asked": row["question"]}
    words = {part: row[part].format(**known) for part in ("question", "required", "so")}
    return Check(**words, found=said, passed=passed, evidence=row["evidence"], if_not=row["if_not"])


def require(gate: Gate) -> None:
    """Raise ValueError with the gate's own sentence when it is closed."""
    if not gate.lets_through:
        raise ValueError(f"{gate.name} {gate.sentence} {_TABLE['sentences']['to_run_anyway']}")


def money_after(notebook: str, economics: EconomicsResult) -> tuple[float, str]:
    """Budget left when a notebook ("00" to "09") ends, negative when it is used up, and what was spent, in a sentence.

    The planned hours of the table so far, at the hourly rates of notebook 02.
    """
    rates = {figure.id: figure for figure in economics.assumptions}
    hours = [pair for book, some in _TABLE["hours"].items() if book <= notebook for pair in some.items()]
    cost = [(count, rates[f"{who}_cost_per_hour"]) for who, count in hours]
    spent = sum(count * rate.value for count, rate in cost)
    low, high = (sum(count * rate.range[end] for count, rate in cost) for end in (0, 1))
    left = economics.budget - spent
    known = {"spent": spent, "low": low, "high": high, "left": left, "over": -left, "budget": economics.budget}
    return left, _TABLE["money"]["left" if left >= 0 else "over"].format(currency=economics.currency, **known)
