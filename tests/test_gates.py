"""Gates: what is not known cannot open one, a proxy opens one only provisionally, and an override is never hidden."""

from __future__ import annotations

from typing import Any

import pytest

from playbook.evaluation import gain_share
from playbook.gates import Check, Gate, adapter_gate, decide, require, training_gate

THRESHOLDS = {"good_enough": 0.9, "prompt_ceiling": 0.9, "behaviour_share": 0.25}
OPEN: dict[str, Any] = {
    "thresholds": THRESHOLDS,
    "diagnosis": "cheap_classifier",
    "best": ("linear_probe", 0.7),
    "ceiling": (0.5, 0.4, 0.6),
    "behaviour_share": (5, 10),
    "owner": True,
    "ceiling_evidence": "direct",
}
PERSON = {"name": "Odile Brandt", "reason": "pilot already paid"}


def check(passed: bool = True, evidence: str = "direct") -> Check:
    return Check(question="the figure", found="3", required="at least 2", passed=passed, evidence=evidence)


def failed(gate: Gate) -> list[str]:
    return [c.question for c in gate.checks if not c.passed]


# ----------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("checks", "state"),
    [
        ([check()], "open"),
        ([check(), check(evidence="client")], "open"),
        ([check(), check(evidence="proxy")], "provisional"),
        ([check(), check(passed=False)], "closed"),
        ([check(evidence="proxy"), check(passed=False)], "closed"),
        ([check(passed=False, evidence="proxy")], "closed"),
    ],
)
def test_state_of_a_gate(checks: list[Check], state: str) -> None:
    gate = decide("Gate?", checks, "run it with a chat model.")
    assert gate.state == state
    assert gate.lets_through == (state != "closed")


def test_a_closed_gate_says_what_was_found_and_what_is_required() -> None:
    assert decide("Gate?", [check(passed=False)]).sentence == "Closed: the figure 3, required at least 2."


def test_a_provisional_gate_names_the_run_that_would_settle_it() -> None:
    gate = decide("Gate?", [check(), check(evidence="proxy")], "run it with a chat model.")
    assert (
        gate.sentence
        == "Open provisionally: 1 of 2 checks rest on proxy evidence. To settle it: run it with a chat model."
    )


def test_a_gate_without_checks_is_refused() -> None:
    with pytest.raises(ValueError, match="gate 'Gate.' has no checks"):
        decide("Gate?", [])


def test_an_override_opens_a_closed_gate_and_keeps_who_why_and_what_failed() -> None:
    gate = decide("Gate?", [check(passed=False)], override=PERSON)
    assert (gate.state, gate.lets_through) == ("overridden", True)
    assert "Overridden by Odile Brandt: pilot already paid." in gate.sentence
    assert gate.sentence.startswith("Closed: the figure 3")
    assert "Overridden by Odile Brandt: pilot already paid" in gate.sentence
    assert failed(gate) == ["the figure"]


@pytest.mark.parametrize("checks", [[check()], [check(evidence="proxy")]])
def test_an_override_changes_nothing_on_a_gate_that_is_not_closed(checks: list[Check]) -> None:
    assert decide("Gate?", checks, override=PERSON) == decide("Gate?", checks)


@pytest.mark.parametrize(
    "override", [{"name": "Odile Brandt"}, {"reason": "because"}, {"name": "", "reason": "because"}]
)
def test_an_override_needs_a_name_and_a_reason(override: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="needs a name and a reason"):
        decide("Gate?", [check(passed=False)], override=override)


def test_require_passes_an_open_gate_and_stops_at_a_closed_one_with_its_sentence() -> None:
    require(decide("Gate?", [check()]))
    with pytest.raises(ValueError, match=r"Gate\? Closed: the figure 3.*adapter_override"):
        require(decide("Gate?", [check(passed=False)]))


# --------------------------------------------------------------------------------------------------- the gate of 06


def test_training_gate_opens_when_every_condition_holds_on_direct_evidence() -> None:
    gate = training_gate(**OPEN)
    assert (gate.state, failed(gate), len(gate.checks)) == ("open", [], 5)


def test_training_gate_on_proxy_prompts_opens_only_provisionally_and_says_what_settles_it() -> None:
    gate = training_gate(**OPEN | {"ceiling_evidence": "proxy"})
    assert gate.state == "provisional"
    assert "chat model" in gate.would_settle


@pytest.mark.parametrize(
    ("change", "broken", "found"),
    [
        ({"diagnosis": "rag"}, "diagnosis of the behaviour use case", "rag"),
        ({"diagnosis": "not diagnosed"}, "diagnosis of the behaviour use case", "not diagnosed"),
        ({"best": ("linear_probe", 0.9)}, "best arm without training", "linear probe 90% right"),
        ({"best": None}, "best arm without training", "not measured"),
        (
            {"ceiling": (0.95, 0.91, 0.98)},
            "share of the gain that cheap rungs already reached",
            "95% (95 % between 91% and 98%)",
        ),
        (
            {"ceiling": (0.78, 0.72, 0.9)},
            "share of the gain that cheap rungs already reached",
            "78% (95 % between 72% and 90%)",
        ),  # not proved to be below
        ({"ceiling": None}, "share of the gain that cheap rungs already reached", "not measured"),
        ({"behaviour_share": (2, 10)}, "share of failures that are behaviour", "2 of 10"),
        ({"behaviour_share": (0, 0)}, "share of failures that are behaviour", "0 of 0"),
        ({"behaviour_share": None}, "share of failures that are behaviour", "not measured"),
        ({"owner": False}, "a named person looks after it for two years", "no"),
        ({"owner": None}, "a named person looks after it for two years", "not answered"),
    ],
)
def test_one_broken_condition_closes_the_training_gate(change: dict[str, Any], broken: str, found: str) -> None:
    gate = training_gate(**OPEN | change)
    assert (gate.state, failed(gate)) == ("closed", [broken])
    assert f"{broken} {found}, required" in gate.sentence


@pytest.mark.parametrize(
    "change", [{"best": ("x", 0.899)}, {"ceiling": (0.8, 0.7, 0.899)}, {"behaviour_share": (1, 4)}]
)
def test_values_at_the_right_side_of_a_threshold_hold(change: dict[str, Any]) -> None:
    assert training_gate(**OPEN | change).state == "open"


def test_the_gate_shows_the_prompt_ceiling_with_its_interval() -> None:
    gate = training_gate(**OPEN | {"ceiling": (0.78, 0.72, 0.84)})
    (row,) = (c for c in gate.checks if c.question.startswith("share of the gain"))
    assert (row.found, row.passed) == ("78% (95 % between 72% and 84%)", True)
    assert row.required.startswith("provably below 90%")


def test_a_measured_ceiling_opens_or_closes_the_gate_by_its_upper_end() -> None:
    """Half of the gain reached, once on 400 texts and once on 8: the same share, but only the first proves anything."""
    many = gain_share([False] * 400, [True, False] * 200, [True] * 400)
    few = gain_share([False] * 8, [True, False] * 4, [True] * 8)
    assert many[0] == few[0] == 0.5
    limits = {"thresholds": THRESHOLDS | {"prompt_ceiling": 0.6}}
    assert training_gate(**OPEN | limits | {"ceiling": many}).state == "open"
    assert training_gate(**OPEN | limits | {"ceiling": few}).state == "closed"


# --------------------------------------------------------------------------------------------------- the gate of 07


def before(state: str = "open") -> Gate:
    return Gate(name="06", state=state, checks=(check(),), sentence="words", would_settle="run it with a chat model.")


def test_adapter_gate_opens_on_a_clean_audit_after_an_open_gate() -> None:
    assert adapter_gate(before(), [], ("GREYTAG", 5), 5, None).state == "open"


def test_adapter_gate_inherits_that_the_first_gate_was_only_provisional() -> None:
    gate = adapter_gate(before("provisional"), [], ("GREYTAG", 5), 5, None)
    assert (gate.state, gate.would_settle) == ("provisional", "run it with a chat model.")


@pytest.mark.parametrize(
    ("state", "blocked", "smallest", "broken"),
    [
        ("closed", [], ("GREYTAG", 5), "the gate of notebook 06"),
        ("open", ["personal data"], ("GREYTAG", 5), "blocking findings in the labelled texts"),
        ("open", [], ("GREYTAG", 4), "examples of the rarest code"),
        ("open", [], ("", 0), "examples of the rarest code"),
    ],
)
def test_one_broken_condition_closes_the_adapter_gate(
    state: str, blocked: list[str], smallest: tuple[str, int], broken: str
) -> None:
    gate = adapter_gate(before(state), blocked, smallest, 5, None)
    assert (gate.state, failed(gate)) == ("closed", [broken])
    assert adapter_gate(before(state), blocked, smallest, 5, PERSON).state == "overridden"
