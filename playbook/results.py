"""What each measuring notebook hands to the next: one pydantic model per artifact.

Only shapes. 01 and 02 have theirs beside the functions that make them (diagnosis, economics), 07's audit likewise.
"""

from typing import Annotated

from pydantic import Field

from playbook.arms import ArmScore, Output
from playbook.attribution import CauseMix, Failure
from playbook.checked import Frozen
from playbook.evaluation import Interval, PairedTest, Proportion
from playbook.gates import Gate
from playbook.plan import Plan, Provable
from playbook.refusal import RefusalModel
from playbook.training_data import Audit

Probability = Annotated[float, Field(ge=0, le=1)]


class _Result(Frozen):
    headline: str


class Prediction(Frozen):
    """What one participant expects of one statement, as a probability, written before anything is measured."""

    who: str
    statement: str
    probability: Probability


class RoomResult(_Result):
    """00: the checks of the machine that matter later, what inputs are there, and the prediction ledger."""

    checks: dict[str, str]
    inputs: dict[str, int]
    predictions: tuple[Prediction, ...]


class PlanResult(_Result):
    """03, first half: the frozen plan and its digest."""

    plan: Plan
    digest: str


class BaselineResult(_Result):
    """03, second half: what names, definitions and examples alone reach on the tuning split, and what can be proved."""

    plan_digest: str
    scores: tuple[ArmScore, ...]
    outputs: tuple[Output, ...]
    provable: tuple[Provable, ...] = ()
    gate: Gate | None = None


class RagResult(_Result):
    """04: what was indexed, which search weight the tuning questions chose, and the refusal decision.

    `settings`: each setting of the search on the tuning questions; `ceiling`: the best of them against the next ones.
    """

    plan_digest: str
    files: dict[str, int]
    rejected: dict[str, str]
    passages: int
    weight: float
    hit_rates: dict[str, float]
    refusal: RefusalModel
    certificate: str
    tune_scores: tuple[ArmScore, ...]
    drill: dict[str, str]
    settings: dict[str, Proportion] = {}
    ceiling: tuple[PairedTest, ...] = ()
    gate: Gate | None = None


class MeasurementResult(_Result):
    """05: every planned arm on the frozen test, planned comparisons, causes, and the count of looks at the test.

    `not_applicable`: why an arm could not run. `citations`: the audit of the hybrid arm. `also`: further findings, as said.
    `prompt_ceiling`: share of the gain that the cheap arms reached, with its interval; None without examples or a gain.
    """

    plan_digest: str
    looks: int
    knowledge: tuple[ArmScore, ...]
    knowledge_tests: tuple[PairedTest, ...]
    behaviour: tuple[ArmScore, ...]
    behaviour_tests: tuple[PairedTest, ...]
    knowledge_causes: CauseMix
    behaviour_causes: CauseMix
    failures: tuple[Failure, ...]
    refused_rightly: int
    unanswerable: int
    refused_wrongly: int
    answerable: int
    outputs: tuple[Output, ...]
    not_applicable: dict[str, str] = {}
    citations: dict[str, Proportion] = {}
    certificate: str = ""
    also: dict[str, str] = {}
    prompt_ceiling: Interval | None = None
    gate: Gate | None = None


class GateResult(_Result):
    """06: the gate on preparing training data."""

    gate: Gate


class TrainingDataResult(_Result):
    """07: the audit, the gate it gives, and whether 08 may run (with the override, if there was one)."""

    audit: Audit
    gate: Gate
    may_train: bool


class LoraResult(BaselineResult):
    """08: the adapter arm on the frozen test, beside the baselines that might win: scored like those of 03."""

    looks: int
    trained: dict[str, float | int | bool | str]
    tests: tuple[PairedTest, ...]


class DecisionResult(_Result):
    """09: the decision, its reasons, flip points and expiry, as the report states them.

    `diagnoses`: confirmed, overturned or untested, by use case; `because` says why. `lists`: sentences by section: context,
    drivers, consequences, could, could_not, collect, stale. `tables`: rows of finished text, whose keys are the columns in
    order, by section: options, confirmation, raci, roadmap, predictions, budget, sign_off.
    """

    why: tuple[str, ...]
    sure: str
    cost: str
    would_change: tuple[str, ...]
    expires: str
    looks: int
    diagnoses: dict[str, str]
    brier: dict[str, float]
    because: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    tables: dict[str, tuple[dict[str, str], ...]] = {}
