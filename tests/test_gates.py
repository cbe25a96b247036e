"""Gates: what is not known cannot open one, a proxy opens one only provisionally, and an override is never hidden."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from playbook.checked import TABLES, read_yaml
from playbook.economics import EconomicsResult
from playbook.evaluation import gain_share
from playbook.gates import Check, Gate, decide, judge, money_after, require
from playbook.prices import Figure

LIMITS = read_yaml(TABLES / "plan.yaml")["thresholds"]
GATES = read_yaml(TABLES / "gates.yaml")["gates"]
OPEN: dict[str, Any] = {  # everything that notebook 06 asks of a use case that only acts
    "diagnosis": ("cheap_classifier", "Small classifier"),
    "signed": (True, "Marisol Achterberg, 2026-10-30"),
    "best": (0.7, "linear classifier"),
    "ceiling": ((0.5, 0.4, 0.6), "50%"),
    "failures": (0.5, "5 of 10"),
    "owner": (True, "yes"),
    "money": (100, "100 there"),
}
KNOWS: dict[str, Any] = {"settings": (8, "8"), "rag_ceiling": (True, "a against b: 3 won, 2 lost")}
PERSON = {"name": "Odile Brandt", "reason": "pilot already paid"}


def check(passed: bool = True, evidence: str = "direct", **more: Any) -> Check:
    return Check(question="the figure", found="3", required="at least 2", passed=passed, evidence=evidence, **more)


def failed(gate: Gate) -> list[str]:
    return [c.question for c in gate.checks if not c.passed]


# ----------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("checks", "state", "verdict"),
    [
        ([check()], "open", "go on"),
        ([check(), check(evidence="client")], "open", "go on"),
        ([check(), check(evidence="proxy")], "provisional", "go on, provisionally"),
        ([check(), check(passed=False)], "closed", "fix first"),
        ([check(evidence="proxy"), check(passed=False)], "closed", "fix first"),
        ([check(passed=False, evidence="proxy")], "closed", "fix first"),
        ([check(passed=False), check(passed=False, if_not="stop")], "closed", "stop"),
        ([check(if_not="stop")], "open", "go on"),  # what holds stops nobody
    ],
)
def test_state_and_verdict_of_a_gate(checks: list[Check], state: str, verdict: str) -> None:
    gate = decide("Gate?", checks, "run it with a chat model.")
    assert (gate.state, gate.verdict) == (state, verdict)
    assert gate.lets_through == (state != "closed")


def test_a_closed_gate_says_what_to_do_or_else_what_was_found_and_what_is_required() -> None:
    assert decide("Gate?", [check(passed=False)]).sentence == "Fix first. the figure: 3, required at least 2."
    told = decide("Gate?", [check(passed=False, so="Collect more."), check(passed=False, so="Do not build it.", if_not="stop")])
    assert told.sentence == "Stop. Collect more. Do not build it."


def test_a_provisional_gate_names_the_run_that_would_settle_it() -> None:
    gate = decide("Gate?", [check(), check(evidence="proxy")], "run it with a chat model.")
    assert gate.sentence == (
        "Go on, but sign nothing yet: 1 of 2 conditions rest on a stand-in for a chat model. "
        "To settle it: run it with a chat model."
    )


def test_a_gate_without_checks_is_refused() -> None:
    with pytest.raises(ValueError, match="gate 'Gate.' has no checks"):
        decide("Gate?", [])


@pytest.mark.parametrize(("if_not", "verdict"), [("fix first", "fix first"), ("stop", "stop")])
def test_an_override_opens_a_closed_gate_and_keeps_who_why_and_what_failed(if_not: str, verdict: str) -> None:
    gate = decide("Gate?", [check(passed=False, if_not=if_not)], override=PERSON)
    assert (gate.state, gate.lets_through, gate.verdict) == ("overridden", True, verdict)
    assert gate.sentence.endswith(
        "Odile Brandt went on all the same: pilot already paid. The recommendation does not count that."
    )
    assert failed(gate) == ["the figure"]


@pytest.mark.parametrize("checks", [[check()], [check(evidence="proxy")]])
def test_an_override_changes_nothing_on_a_gate_that_is_not_closed(checks: list[Check]) -> None:
    assert decide("Gate?", checks, override=PERSON) == decide("Gate?", checks)


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize(
    "override",
    [{"name": "Odile Brandt"}, {"reason": "because"}, {"name": "", "reason": "because"}, {"name": " ", "reason": "b"}, {}],
)
def test_an_override_needs_a_name_and_a_reason_even_where_it_is_not_needed(override: dict[str, str], passed: bool) -> None:
    with pytest.raises(ValueError, match="needs a name and a reason"):
        decide("Gate?", [check(passed=passed)], override=override)


def test_require_passes_an_open_gate_and_stops_at_a_closed_one_with_its_sentence() -> None:
    require(decide("Gate?", [check()]))
    with pytest.raises(ValueError, match=r"Gate\? Fix first. the figure: 3.*adapter_override"):
        require(decide("Gate?", [check(passed=False)]))


# ------------------------------------------------------------------------------------------------ limits and the plan


@pytest.mark.parametrize("notebook", GATES)
def test_every_limit_is_a_threshold_of_the_plan_or_a_figure_and_every_condition_says_what_to_do(notebook: str) -> None:
    for name, row in GATES[notebook]["checks"].items():
        assert not isinstance(row["limit"], str) or row["limit"] in LIMITS, name
        assert row["so"] and row["if_not"] in ("stop", "fix first"), name


@pytest.mark.parametrize("notebook", GATES)
def test_a_gate_to_which_nothing_is_handed_stays_closed(notebook: str) -> None:
    gate = judge(notebook, LIMITS, {})
    assert gate.state == "closed"
    assert {c.found for c in gate.checks} == {"not known yet"}
    assert gate.verdict == "fix first"  # what nobody knows is to be found out; it stops nothing for good
    assert len(gate.checks) == sum(not row.get("optional") for row in GATES[notebook]["checks"].values())


def test_a_threshold_that_an_old_plan_lacks_names_the_notebook_to_run_again() -> None:
    old = {name: limit for name, limit in LIMITS.items() if name != "files_read"}
    with pytest.raises(ValueError, match="no threshold 'files_read'.*Run notebook 03 again"):
        judge("04", old, {"files": (1.0, "all"), "drills": (0, "none"), "passage": (0.6, "60%")})


def test_a_condition_that_the_gate_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="gate 06 has no condition owners: use diagnosis,"):
        judge("06", LIMITS, OPEN | {"owners": (True, "yes")})


@pytest.mark.parametrize(
    ("notebook", "name", "holds", "fails"),
    [
        ("03", "items", 20, 19),
        ("03", "provable", 15, 15.1),
        ("03", "leaks", 0, 1),
        ("03", "good_enough", 0.89, 0.9),
        ("04", "files", 0.9, 0.89),
        ("04", "drills", 0, 1),
        ("04", "passage", 0.5, 0.49),
        ("05", "looks", 3, 4),
        ("05", "proved", True, False),
        ("05", "useful", (0.6, 0.5, 0.7), (0.6, 0.49, 0.7)),
        ("05", "citations", 1.0, 0.99),
        ("05", "left", 0.89, 0.9),
        ("07", "blocked", 0, 1),
        ("07", "rarest", 5, 4),
    ],
)
def test_each_limit_has_two_sides(notebook: str, name: str, holds: Any, fails: Any) -> None:
    question = GATES[notebook]["checks"][name]["question"]
    assert question not in failed(judge(notebook, LIMITS, {name: (holds, "found")}))
    assert question in failed(judge(notebook, LIMITS, {name: (fails, "found")}))
    assert question in failed(judge(notebook, LIMITS, {name: (float("nan"), "found")}))


# --------------------------------------------------------------------------------------------------- the gate of 06


def test_the_gate_of_06_opens_when_every_condition_holds_on_direct_evidence() -> None:
    gate = judge("06", LIMITS, OPEN)
    assert (gate.state, failed(gate), len(gate.checks), gate.notebook) == ("open", [], 7, "06")
    assert len(judge("06", LIMITS, OPEN | KNOWS).checks) == 9  # where knowledge is involved


def test_on_proxy_evidence_it_opens_only_provisionally_and_says_what_settles_it() -> None:
    gate = judge("06", LIMITS, OPEN, "proxy")
    assert gate.state == "provisional"
    assert "with a chat model" in gate.sentence and "with a chat model" in gate.would_settle


@pytest.mark.parametrize(
    ("change", "broken", "verdict"),
    [
        ({"diagnosis": ("rag", "Retrieval (RAG)")}, "diagnosis of the use case", "stop"),
        ({"diagnosis": ("do_not_build", "Do not build")}, "diagnosis of the use case", "stop"),
        ({"diagnosis": (None, "")}, "diagnosis of the use case", "fix first"),
        ({"signed": (False, "nobody")}, "diagnosis signed by", "fix first"),
        ({"best": (0.9, "linear classifier")}, "best way without training a model", "stop"),
        ({"best": (None, "")}, "best way without training a model", "fix first"),
        ({"ceiling": ((0.95, 0.91, 0.98), "")}, "share of the gain that the cheap ways already reached", "stop"),
        ({"ceiling": ((0.78, 0.72, 0.9), "")}, "share of the gain that the cheap ways already reached", "stop"),
        ({"ceiling": (None, "")}, "share of the gain that the cheap ways already reached", "fix first"),
        ({"settings": (4, "4")}, "settings of the document search that were tried", "fix first"),
        ({"rag_ceiling": (False, "a against b: 9 won")}, "best setting of the document search against the next", "fix first"),
        ({"failures": (0.24, "24 of 100")}, "failures that are behaviour", "stop"),
        ({"failures": (None, "")}, "failures that are behaviour", "fix first"),
        ({"owner": (False, "no")}, "a named person looks after it for two years", "fix first"),
        ({"owner": (None, "")}, "a named person looks after it for two years", "fix first"),
        ({"money": (-1, "1 too little")}, "money left for it after preparing and training once", "fix first"),
    ],
)
def test_one_broken_condition_closes_the_gate_of_06(change: dict[str, Any], broken: str, verdict: str) -> None:
    gate = judge("06", LIMITS, OPEN | KNOWS | change)
    assert (gate.state, failed(gate), gate.verdict) == ("closed", [broken], verdict)
    assert verdict == "fix first" or "Do not build this" in gate.sentence
    assert next(iter(change.values()))[0] is not None or f"Not known yet: {broken}." in gate.sentence


def test_a_measured_ceiling_opens_or_closes_the_gate_by_its_upper_end() -> None:
    """Half of the gain reached, once on 400 texts and once on 8: the same share, but only the first proves anything."""
    many = gain_share([False] * 400, [True, False] * 200, [True] * 400)
    few = gain_share([False] * 8, [True, False] * 4, [True] * 8)
    assert many and few and many[0] == few[0] == 0.5
    limits = LIMITS | {"prompt_ceiling": 0.6}
    assert judge("06", limits, OPEN | {"ceiling": (many, "half")}).state == "open"
    assert judge("06", limits, OPEN | {"ceiling": (few, "half")}).state == "closed"


# --------------------------------------------------------------------------------------------------- the gate of 07


def audited(before: str = "open", blocked: int = 0, rarest: int = 5, override: dict[str, str] | None = None) -> Gate:
    """As notebook 07 asks: what 06 said, the findings that forbid training, and the rarest code."""
    found = {"before": (before != "closed", before), "blocked": (blocked, "findings"), "rarest": (rarest, "GREYTAG")}
    return judge("07", LIMITS, found, "proxy" if before == "provisional" else "direct", override)


def test_training_needs_the_gate_of_06_and_a_clean_audit() -> None:
    assert audited().state == "open"
    assert audited("provisional").state == "provisional"
    assert "chat model" in audited("provisional").would_settle
    for closed in (audited("closed"), audited(blocked=1), audited(rarest=4)):
        assert closed.state == "closed" and len(failed(closed)) == 1
    assert audited("closed").verdict == "stop"
    assert audited(blocked=1, override=PERSON).state == "overridden"


# -------------------------------------------------------------------------------------------------------- the money


def economics(budget: float) -> EconomicsResult:
    def rate(id: str, value: float, low: float, high: float) -> Figure:
        return Figure(id=id, value=value, low=low, high=high, origin="client", as_of=date(2026, 11, 1), source="asked")

    rates = (rate("specialist_cost_per_hour", 100, 50, 200), rate("staff_cost_per_hour", 10, 10, 10))
    return EconomicsResult.model_construct(budget=budget, currency="USD", assumptions=rates)


def test_money_spent_adds_the_hours_of_each_notebook_so_far() -> None:
    # 00 to 03: 1 + 2 + 2 + 4 specialist hours, 3 + 6 + 3 + 20 staff hours
    left, said = money_after("03", economics(2000))
    assert left == 2000 - 9 * 100 - 32 * 10
    assert said == "About 1,220 USD spent so far (770 to 2,120); 780 of the budget of 2,000 left."
    assert [money_after(n, economics(0))[0] for n in ("03", "04", "05")] == [-1220, -1860, -2500]


def test_an_exceeded_budget_is_said_as_that() -> None:
    left, said = money_after("03", economics(1000))
    assert left == -220
    assert said.endswith("220 more than the budget of 1,000. Stop here until somebody agrees to pay more.")
