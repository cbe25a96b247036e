"""Written thresholds to a verdict: go on, go on provisionally, fix first or stop; and what the way there has cost.

Pure; the conditions of each gate, the rules for a verdict, their words and the hours are in tables/gates.yaml. Does not know
where a figure comes from, only what kind of evidence it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from playbook import rules
from playbook.checked import TABLES, Frozen, read_yaml
from playbook.economics import EconomicsResult
from playbook.evaluation import Interval

_TABLE = read_yaml(TABLES / "gates.yaml")
Evidence = Literal["direct", "proxy", "client"]
Found = tuple[float | str | Interval | None, str]  # what was found and how a client reads it; None: not measured
Override = Mapping[str, str] | None  # who goes on in spite of a closed gate, and why: `name`, `reason`


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
    state: Literal["open", "provisional", "closed", "overridden"]
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
    known = {"checks": checks, "settle": would_settle, "by": override}
    known["so"] = " ".join(rules.say(_TABLE["to_do"], known))
    verdict = rules.first(_TABLE["verdicts"], rules.facts(_TABLE["counted"], known))
    return Gate(name=name, checks=tuple(checks), would_settle=would_settle, notebook=notebook, **verdict)


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
    asked = {name: row for name, row in table["checks"].items() if name in found or not row.get("optional")}
    known = {name: found.get(name, (None, "")) for name in asked}
    checks = [_check({"evidence": evidence, **row}, thresholds, *known[name]) for name, row in asked.items()]
    return decide(table["name"], checks, table["would_settle"], override, notebook)


def _check(row: Mapping[str, Any], thresholds: Mapping[str, float], value: Any, said: str) -> Check:
    """One condition of the table against the frozen thresholds."""
    limit = thresholds.get(row["limit"]) if isinstance(row["limit"], str) else row["limit"]
    if limit is None:
        raise ValueError(_TABLE["no_threshold"].format(name=row["limit"]))
    if value is None:
        row, said = {**row, **_TABLE["unknown"]}, _TABLE["unknown"]["found"]
    figure, low, high = value if isinstance(value, tuple) else (value, value, value)
    known = {"figure": figure, "low": low, "high": high, "limit": limit, "said": said, "asked": row["question"]}
    words = rules.say({part: row[part] for part in ("question", "required", "evidence", "so", "if_not")}, known)
    return Check(**words, found=said, passed=rules.value(row["holds"], known))


def require(gate: Gate) -> None:
    """Raise ValueError with the gate's own sentence when it is closed."""
    if not gate.lets_through:
        raise ValueError(f"{gate.name} {gate.sentence} {_TABLE['to_run_anyway']}")


def money_after(notebook: str, economics: EconomicsResult) -> tuple[float, str]:
    """Budget left when a notebook ("00" to "09") ends, negative when it is used up, and what was spent, in a sentence.

    The planned hours of the table so far, at the hourly rates of notebook 02.
    """
    rates = {figure.id: (figure.value, *figure.range) for figure in economics.assumptions}
    hours = [pair for book, some in _TABLE["hours"].items() if book <= notebook for pair in some.items()]
    spent = [sum(count * rates[f"{who}_cost_per_hour"][end] for who, count in hours) for end in range(3)]
    known = {"spent": spent, "left": economics.budget - spent[0], "economics": economics}
    return known["left"], rules.first(_TABLE["money"], known)
