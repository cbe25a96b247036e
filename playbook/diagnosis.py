"""Know or act? Questions, rules and the verdict for each use case, with its reasons and what would change it.

Everything that is an opinion - wording, points, thresholds, sources - is in tables/diagnosis.yaml; this module only
applies it. It does not know what anything costs (economics), whether an approach works (evaluation) or where the
client's folder is (engagement). Taught in notebooks/01_diagnose.ipynb.
"""

from collections.abc import Collection, Iterable
from datetime import date
from operator import contains, eq, ge, gt, le, lt
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from playbook.checked import TABLES, Frozen, build, place, read_yaml
from playbook.rules import say

HYBRID, STOP = "hybrid", "do_not_build"  # the two outcomes that mean something to the code, not only to the reader
YES_NO = {True: "yes", False: "no", None: "unknown"}
# Called with the limit first; where the name ends in "_answer", the limit is the answer to another question.
COMPARE = {"is": eq, "one_of": contains, "at_least": le, "at_most": ge, "more_than": lt, "less_than": gt}
Seed = Literal["S0", "S1", "S2", "S3", "S4", "ours", "reconstruction"]  # "reconstruction": of a gap in a source
Answer = bool | int | float | str | None


class Question(Frozen):
    """One question to the client: one of `choices`, or without choices a number.

    `open` is the choice that means "not known yet"; `quick` asks it in 30 minutes too.
    """

    id: str
    group: Literal["need", "knowledge", "behaviour", "constraint", "readiness"]
    label: str
    text: str
    why: str
    choices: tuple[bool | str, ...] = ()
    open: str | None = None
    unit: str = ""
    low: float = 0
    high: float = -1  # below low: no number is an answer
    step: float = 1
    quick: bool = False

    def problem(self, answer: Answer) -> str:
        """What is wrong with an answer and how to fix it, or '' when it is fine (None means unknown: fine)."""
        words = isinstance(answer, bool | str)
        if answer is None or (answer in self.choices if words else self.low <= answer <= self.high):
            return ""
        if self.choices:
            return f"{answer!r} is not a choice; use one of {', '.join(YES_NO.get(c, c) for c in self.choices)}, or null for unknown"
        return f"{answer!r} does not fit; give {self.low:,.0f} to {self.high:,.0f} {self.unit}, or null for unknown"

    def show(self, answer: Answer) -> str:
        """An answer in plain words, with its unit."""
        if isinstance(answer, int | float) and not isinstance(answer, bool):
            return f"{answer:,}".removesuffix(".0") + f" {self.unit}"
        return YES_NO.get(answer, str(answer).replace("_", " "))


class Line(Frozen):
    """One line of a condition: `question op value`. A missing answer never fulfils it, here or in the other question."""

    question: str
    op: Literal[*COMPARE, "more_than_answer", "less_than_answer"]
    value: bool | int | float | str | tuple[str, ...]

    def limit(self, answers: dict[str, Answer]) -> Answer | tuple[str, ...]:
        """What the answer is compared with: `value`, or the answer to the question that it names."""
        return answers.get(str(self.value)) if self.op.endswith("_answer") else self.value

    def holds(self, answers: dict[str, Answer]) -> bool:
        """Whether the answers fulfil this line."""
        answer, limit = answers.get(self.question), self.limit(answers)
        return None not in (answer, limit) and bool(COMPARE[self.op.removesuffix("_answer")](limit, answer))


class Condition(Frozen):
    """Every line of `all` and, if `any` has lines, at least one of them."""

    all: tuple[Line, ...] = ()
    any: tuple[Line, ...] = ()

    def holds(self, answers: dict[str, Answer]) -> bool:
        """Whether the answers fulfil the condition."""
        return all(t.holds(answers) for t in self.all) and (not self.any or any(t.holds(answers) for t in self.any))


class Rule(Frozen):
    """If `when` holds: points for outcomes and for the portfolio's axes, outcomes ruled out, what must be said besides.

    `where` says where it may run; `source` holds who says so and what, in our words; `disputes` what the sources
    disagree on and what we do, by its number C1 to C24.
    """

    id: str
    when: Condition
    effects: dict[str, float] = {}
    excludes: tuple[str, ...] = ()
    plain: str
    note: str = ""
    where: str = ""
    source: dict[Seed, Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    disputes: dict[str, str] = {}


class Outcome(Frozen):
    """One possible verdict, its meaning, its first next step and the ids of its steps in order."""

    id: str
    name: str
    means: str
    next_step: str
    steps: tuple[str, ...]


class Contradiction(Condition):
    """Answers that cannot all be true, and what to ask the client."""

    id: str
    fix: str


class RuleTable(Frozen):
    """Everything in tables/diagnosis.yaml; outcomes stand in order of effort, cheapest first.

    `axes` are what the portfolio is ranked by, with their meaning; `headline` holds rules for the sentences to the room, on
    the `order` of the verdicts; `splits` are the answers set for each part of a mixed need.
    """

    as_of: date
    strength_means: str
    strength_words: dict[str, float]
    portfolio_means: str
    axes: dict[str, str]
    headline: tuple[dict[str, Any], ...]
    questions: tuple[Question, ...] = Field(min_length=1)
    contradictions: tuple[Contradiction, ...]
    steps: dict[str, str]
    outcomes: tuple[Outcome, ...]
    splits: dict[Literal["knowledge", "behaviour"], dict[str, str]]
    rules: tuple[Rule, ...]

    def outcome(self, outcome_id: str) -> Outcome:
        """The outcome with this id; raises ValueError listing the known ids."""
        _refuse_unknown("outcome", [outcome_id], [outcome.id for outcome in self.outcomes], "rules")
        return next(outcome for outcome in self.outcomes if outcome.id == outcome_id)


class UseCase(Frozen, allow_inf_nan=True):
    """One thing the client wants; `answers` maps question ids to yes/no (bool), number, choice or None (unknown).

    Its owner signs the diagnosis (`signed_by`, `signed_on`) before anything is trained for it. A practice case also names
    the verdict `expected` of it and the `rules` that it is the worked case of.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str = Field(min_length=1)
    owner: str
    description: str
    answers: dict[str, Answer] = {}
    signed_by: str = ""
    signed_on: date | None = None
    expected: str = ""
    rules: tuple[str, ...] = ()

    def answered(self, **changes: Answer) -> "UseCase":
        """A copy with some answers changed."""
        return self.model_copy(update={"answers": self.answers | changes})


class _UseCases(Frozen):
    use_cases: tuple[UseCase, ...] = Field(min_length=1)


class FlipPoint(Frozen):
    """One changed answer that changes the outcome; Question.show puts it in plain words."""

    question: str
    answer: Answer
    outcome: str


class Standing(Frozen):
    """The best outcome, the next best with any points, and how sure; `strength_means` defines the strength."""

    outcome: str
    runner_up: str | None
    strength: float = Field(ge=0, le=1)
    strength_word: str


class Part(Standing):
    """One half of a mixed need with its own outcome."""

    kind: Literal["knowledge", "behaviour"]


class Verdict(Standing):
    """What the rules say about one use case, why, what is not known yet and what would change it.

    `where` says where it may run, never which method; `portfolio` holds points per axis, those for risk negative.
    """

    use_case: str
    name: str
    need: str
    outcome_name: str
    scores: dict[str, float]
    fired: tuple[Rule, ...]
    missing: tuple[str, ...]
    flips: tuple[FlipPoint, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    where: tuple[str, ...]
    portfolio: dict[str, float]

    @property
    def state(self) -> str:
        """'complete', or how provisional: an answer that is missing may still change the verdict."""
        return f"provisional: {len(self.missing)} answer(s) missing" if self.missing else "complete"


class DiagnosisResult(Frozen):
    """All verdicts, the order in which to take them up (use-case ids), and one sentence for the room."""

    verdicts: tuple[Verdict, ...]
    portfolio: tuple[str, ...]
    headline: str


def diagnose(use_case: UseCase, rules: RuleTable) -> Verdict:
    """The verdict on one use case: points of all fired rules are added, the most points win, ties go to the cheaper.

    Flip points come from running the rules again with one answer changed. Raises ValueError for answers that
    check_answers refuses.
    """
    check_answers(use_case.answers, rules, f"use case '{use_case.id}'")
    answers = use_case.answers
    _, scores, fired = _rank(answers, rules)
    standing = _standing(answers, rules)
    outcome = rules.outcome(standing["outcome"])
    mixed = outcome.id == HYBRID or (answers.get("need") == "both" and outcome.id != STOP)
    return Verdict(
        **standing,
        use_case=use_case.id,
        name=use_case.name,
        need=str(answers.get("need") or "unknown"),
        outcome_name=outcome.name,
        scores=scores,
        fired=fired,
        missing=_missing(answers, rules.questions),
        flips=_flips(answers, rules, outcome.id),
        parts=tuple(Part(kind=kind, **_standing(answers, rules, kind)) for kind in rules.splits if mixed),
        notes=tuple(rule.note for rule in fired if rule.note),
        where=tuple(rule.where for rule in fired if rule.where),
        portfolio=_points(fired, rules.axes),
    )


def diagnose_all(use_cases: Iterable[UseCase], rules: RuleTable) -> DiagnosisResult:
    """Verdicts for all use cases and their order: most portfolio points first, ties to the cheaper outcome.

    What is not to be built comes last, whatever its points. Raises ValueError when there is no use case.
    """
    verdicts = tuple(diagnose(case, rules) for case in use_cases)
    if not verdicts:
        raise ValueError("there are no use cases; add at least one to use_cases.yaml")
    by_effort = sorted(verdicts, key=lambda v: list(v.scores).index(v.outcome))  # the table's order, cheapest first
    order = sorted(by_effort, key=lambda v: (v.outcome == STOP, -sum(v.portfolio.values())))
    headline = " ".join(say(rules.headline, {"order": order}))
    return DiagnosisResult(verdicts=verdicts, portfolio=[v.use_case for v in order], headline=headline)


def check_answers(answers: dict[str, Answer], rules: RuleTable, where: str) -> None:
    """Raise ValueError naming `where`, the question and the fix: unknown question, bad value, contradiction."""
    known = {question.id: question for question in rules.questions}
    _refuse_unknown("question", answers, known, where)
    for key, answer in answers.items():
        if problem := known[key].problem(answer):
            raise ValueError(f"{where}: {key}: {problem}.")
    for clash in (c for c in rules.contradictions if c.holds(answers)):
        facts = " and ".join(f"{t.question} is {known[t.question].show(answers[t.question])}" for t in clash.all)
        raise ValueError(f"{where}: {facts} cannot all be true. {clash.fix}")


def load_rules(path: Path = TABLES / "diagnosis.yaml") -> RuleTable:
    """Read the rule table (default: the one that ships); raises ValueError naming file, line, id and fix."""
    raw = read_yaml(path)
    table = build(RuleTable, raw, str(path))
    outcomes = [outcome.id for outcome in table.outcomes]
    for number, rule in enumerate(table.rules):
        where = place(path, raw, "rules", number)
        _refuse_unknown("outcome", (*rule.effects, *rule.excludes), (*outcomes, *table.axes), where)
        for test in rule.when.all + rule.when.any:
            for value in test.value if isinstance(test.value, tuple) else (test.value,):
                known = {value: None} if test.op.endswith("_answer") else {test.question: value}
                check_answers({test.question: None} | known, table, where)
    for number, outcome in enumerate(table.outcomes):
        _refuse_unknown("step", outcome.steps, table.steps, place(path, raw, "outcomes", number))
    return table


def load_use_cases(path: Path, rules: RuleTable | None = None) -> tuple[UseCase, ...]:
    """Read and check a client's use cases (a YAML list under `use_cases`); raises ValueError as load_rules does."""
    rules, raw = rules or load_rules(), read_yaml(path)
    cases = build(_UseCases, raw, str(path)).use_cases
    for number, case in enumerate(cases):
        for key, answer in case.answers.items():  # one by one, so that the message has the answer's own line
            check_answers({key: answer}, rules, place(path, raw, "use_cases", number, "answers", key))
        check_answers(case.answers, rules, place(path, raw, "use_cases", number))
    return cases


def _rank(answers: dict[str, Answer], rules: RuleTable) -> tuple[list[str], dict[str, float], list[Rule]]:
    """Outcomes that are not ruled out (best first, ties in the table's order), points of all, rules that fired."""
    fired = [rule for rule in rules.rules if rule.when.holds(answers)]
    scores = _points(fired, [outcome.id for outcome in rules.outcomes])
    # Not to build is a finding of its own, never just the last one left: it is out unless a rule speaks of it.
    excluded = {STOP}.difference(*(rule.effects for rule in fired)).union(*(rule.excludes for rule in fired))
    return sorted((o for o in scores if o not in excluded), key=scores.get, reverse=True), scores, fired


def _points(fired: list[Rule], names: Iterable[str]) -> dict[str, float]:
    return {name: sum(rule.effects.get(name, 0) for rule in fired) for name in names}


def _standing(answers: dict[str, Answer], rules: RuleTable, part: str = "") -> dict[str, Any]:
    """The fields of a Standing, of the whole need or of one part, which leaves the other part's questions out."""
    asked = [q for q in rules.questions if part in ("", q.group) or q.group not in rules.splits]
    kept = {q.id: answers.get(q.id) for q in asked} | rules.splits.get(part, {})
    order, scores, _ = _rank(kept, rules)
    best, runner_up = order[0], next((o for o in order[1:] if scores[o] > 0), None)
    lead = (scores[best] - scores.get(runner_up, 0)) / scores[best] if scores[best] > 0 else 0.0
    strength = round(lead * (1 - len(_missing(kept, asked)) / len(asked)), 4)
    word = next(word for word, least in rules.strength_words.items() if strength >= least)
    return {"outcome": best, "runner_up": runner_up, "strength": strength, "strength_word": word}


def _missing(answers: dict[str, Answer], questions: Iterable[Question]) -> tuple[str, ...]:
    return tuple(q.id for q in questions if answers.get(q.id) in (None, q.open))


def _flips(answers: dict[str, Answer], rules: RuleTable, outcome: str) -> tuple[FlipPoint, ...]:
    """Every single answer that changes the outcome; for numbers the nearest one for each new outcome."""
    flips: dict[tuple[str, str], FlipPoint] = {}
    for question in rules.questions:
        for then in _candidates(question, rules, answers):
            changed = answers | {question.id: then}
            other = _rank(changed, rules)[0][0]
            if other != outcome and not any(clash.holds(changed) for clash in rules.contradictions):
                flips.setdefault((question.id, other), FlipPoint(question=question.id, answer=then, outcome=other))
    return tuple(flips.values())


def _candidates(asked: Question, rules: RuleTable, answers: dict[str, Answer]) -> list[Answer]:
    """The answers worth trying: all choices, or the numbers at and beside each threshold, nearest first."""
    if asked.choices:
        return [choice for choice in asked.choices if choice != asked.open]
    now, lines = answers.get(asked.id), [line for rule in rules.rules for line in rule.when.all + rule.when.any]
    limits = {line.limit(answers) for line in lines if line.question == asked.id} - {None}
    near = {round(limit + side * asked.step, 6): side for side in (-1, 1, 0) for limit in limits}
    tried = [number for number in near if not asked.problem(number)]
    return sorted(tried, key=lambda n: (abs(near[n] if now is None else n - now), n))


def _refuse_unknown(what: str, named: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise ValueError naming `where`, the first name that is not known, and those that are."""
    if unknown := [name for name in named if name not in known]:
        raise ValueError(f"{where}: there is no {what} '{unknown[0]}'; use one of {', '.join(known)}.")
