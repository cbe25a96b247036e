"""Know or act? Questions, rules and the verdict for each use case, with its reasons and what would change it.

Everything that is an opinion - wording, points, thresholds, sources - is in tables/diagnosis.yaml; this module only
applies it. It does not know what anything costs (economics), whether an approach works (evaluation) or where the
client's folder is (engagement). Taught in notebooks/01_diagnose.ipynb.
"""

import operator
from collections.abc import Collection, Iterable
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from playbook.checked import TABLES, Frozen, build, place, read_yaml

HYBRID, STOP = "hybrid", "do_not_build"  # the two outcomes that mean something to the code, not only to the reader
COMPARE = {"is": operator.eq, "at_least": operator.ge, "more_than": operator.gt}
COMPARE |= {"one_of": lambda answer, values: answer in values, "at_most": operator.le, "less_than": operator.lt}
Answer = bool | int | float | str | None


class Question(Frozen):
    """One question to the client; `open` is the choice that means "not known yet"."""

    id: str
    group: Literal["need", "knowledge", "behaviour", "constraint", "readiness"]
    label: str
    text: str
    type: Literal["choice", "yes_no", "number"]
    why: str
    choices: tuple[str, ...] = ()
    open: str | None = None
    unit: str = ""
    low: float = 0
    high: float = 0
    step: float = 1

    @property
    def options(self) -> tuple[bool | str, ...]:
        """The answers to choose from; none for a number."""
        return (True, False) if self.type == "yes_no" else self.choices

    def problem(self, answer: Answer) -> str:
        """What is wrong with an answer and how to fix it, or '' when it is fine (None means unknown: fine)."""
        words = isinstance(answer, bool | str)
        if answer is None or (words and answer in self.options):
            return ""
        if self.options:
            return f"{answer!r} is not a choice; use one of {', '.join(self.choices) or 'yes, no'}, or null for unknown"
        if words:
            return f"{answer!r} is not a number; give {self.unit} as a number or null"
        fits = self.low <= answer <= self.high
        return "" if fits else f"{answer} is out of range; give {self.low:,.0f} to {self.high:,.0f} {self.unit}"

    def show(self, answer: Answer) -> str:
        """An answer in plain words, with its unit."""
        if isinstance(answer, bool | None):
            return {True: "yes", False: "no", None: "unknown"}[answer]
        number = isinstance(answer, int | float)
        return f"{answer:,}".removesuffix(".0") + f" {self.unit}" if number else answer.replace("_", " ")


class Test(Frozen):
    """One line of a condition: `question op value`. A missing answer never fulfils it."""

    __test__ = False  # not a test case, whatever its name says
    question: str
    op: Literal["is", "one_of", "at_least", "more_than", "at_most", "less_than"]
    value: bool | int | float | str | tuple[str, ...]

    def holds(self, answers: dict[str, Answer]) -> bool:
        """Whether the answers fulfil this line."""
        answer = answers.get(self.question)
        return answer is not None and bool(COMPARE[self.op](answer, self.value))


class Condition(Frozen):
    """Every line of `all` and, if `any` has lines, at least one of them."""

    all: tuple[Test, ...] = ()
    any: tuple[Test, ...] = ()

    def holds(self, answers: dict[str, Answer]) -> bool:
        """Whether the answers fulfil the condition."""
        return all(t.holds(answers) for t in self.all) and (not self.any or any(t.holds(answers) for t in self.any))


class Source(Frozen):
    """Who says so: one of the five sources, our own addition, or our reconstruction of a gap in a source."""

    seed: Literal["S0", "S1", "S2", "S3", "S4", "ours", "reconstruction"]
    says: str = Field(min_length=1)


class Rule(Frozen):
    """If `when` holds: points for outcomes, outcomes ruled out, a note; with its sources and their dispute, if any."""

    id: str
    when: Condition
    effects: dict[str, float] = {}
    excludes: tuple[str, ...] = ()
    plain: str
    note: str = ""
    source: tuple[Source, ...] = Field(min_length=1)
    dispute: str = ""


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


class Split(Frozen):
    """How one part of a mixed need is judged: drop the other part's questions, set the need."""

    id: Literal["knowledge", "behaviour"]
    drops: str
    sets: dict[str, str]


class RuleTable(Frozen):
    """Everything in tables/diagnosis.yaml; outcomes stand in order of effort, cheapest first."""

    as_of: date
    strength_means: str
    strength_words: dict[str, float]
    questions: tuple[Question, ...] = Field(min_length=1)
    contradictions: tuple[Contradiction, ...]
    steps: dict[str, str]
    outcomes: tuple[Outcome, ...]
    splits: tuple[Split, ...]
    rules: tuple[Rule, ...]

    def outcome(self, outcome_id: str) -> Outcome:
        """The outcome with this id; raises ValueError listing the known ids."""
        known = {outcome.id: outcome for outcome in self.outcomes}
        _refuse_unknown("outcome", [outcome_id], known, "rules")
        return known[outcome_id]


class UseCase(Frozen, allow_inf_nan=True):
    """One thing the client wants; `answers` maps question ids to yes/no (bool), number, choice or None (unknown)."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    owner: str
    description: str
    answers: dict[str, Answer] = {}

    def answered(self, **changes: Answer) -> "UseCase":
        """A copy with some answers changed."""
        return self.model_copy(update={"answers": self.answers | changes})


class _UseCases(Frozen):
    use_cases: tuple[UseCase, ...] = Field(min_length=1)


class FlipPoint(Frozen):
    """One changed answer that changes the outcome; `now` and `then` are shown as text."""

    question: str
    now: str
    then: str
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
    """What the rules say about one use case, why, what is not known yet and what would change it."""

    use_case: str
    name: str
    owner: str
    need: str
    outcome_name: str
    scores: dict[str, float]
    fired: tuple[Rule, ...]
    missing: tuple[str, ...]
    flips: tuple[FlipPoint, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> tuple[tuple[float, Rule], ...]:
        """The fired rules that gave this outcome points or ruled another one out, with their points, strongest first."""
        points = [(rule.effects.get(self.outcome, 0), rule) for rule in self.fired]
        return tuple(sorted((p for p in points if p[0] or p[1].excludes), key=lambda p: -abs(p[0])))


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
    return Verdict(
        **standing,
        **use_case.model_dump(include={"name", "owner"}),
        use_case=use_case.id,
        need=str(answers.get("need") or "unknown"),
        outcome_name=outcome.name,
        scores=scores,
        fired=fired,
        missing=_missing(answers, rules.questions),
        flips=_flips(answers, rules, outcome.id),
        parts=_parts(answers, rules, outcome.id),
        notes=tuple(dict.fromkeys(rule.note for rule in fired if rule.note)),
    )


def diagnose_all(use_cases: Iterable[UseCase], rules: RuleTable) -> DiagnosisResult:
    """Verdicts for all use cases and their order: cheaper outcome first, then more volume; do_not_build comes last."""
    cases = list(use_cases)
    if not cases:
        raise ValueError("there are no use cases; add at least one to use_cases.yaml")
    verdicts = tuple(diagnose(case, rules) for case in cases)
    volume = {case.id: float(case.answers.get("monthly_volume") or 0) for case in cases}
    effort = [outcome.id for outcome in rules.outcomes]
    order = sorted(verdicts, key=lambda v: (effort.index(v.outcome), -volume[v.use_case], v.use_case))
    portfolio = tuple(v.use_case for v in order)
    return DiagnosisResult(verdicts=verdicts, portfolio=portfolio, headline=_headline(order))


def check_answers(answers: dict[str, Answer], rules: RuleTable, where: str) -> None:
    """Raise ValueError naming `where`, the question and the fix: unknown question, bad value, contradiction."""
    known = {question.id: question for question in rules.questions}
    _refuse_unknown("question", answers, known, where)
    for key, answer in answers.items():
        if problem := known[key].problem(answer):
            raise ValueError(f"{where}: {key}: {problem}.")
    if clash := _contradiction(answers, rules):
        facts = " and ".join(f"{t.question} is {known[t.question].show(answers[t.question])}" for t in clash.all)
        raise ValueError(f"{where}: {facts} cannot all be true. {clash.fix}")


def load_rules(path: Path = TABLES / "diagnosis.yaml") -> RuleTable:
    """Read the rule table (default: the one that ships); raises ValueError naming file, line, id and fix."""
    raw = read_yaml(path)
    table = build(RuleTable, raw, str(path))
    outcomes = [outcome.id for outcome in table.outcomes]
    for number, rule in enumerate(table.rules):
        where = place(path, raw, "rules", number)
        _refuse_unknown("outcome", (*rule.effects, *rule.excludes), outcomes, where)
        for test in rule.when.all + rule.when.any:
            for value in test.value if isinstance(test.value, tuple) else (test.value,):
                check_answers({test.question: value}, table, where)
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
    scores = {o.id: sum(rule.effects.get(o.id, 0) for rule in fired) for o in rules.outcomes}
    excluded = {outcome for rule in fired for outcome in rule.excludes}
    if not any(STOP in rule.effects for rule in fired):
        excluded.add(STOP)  # it is a finding of its own, never just the last one left
    return sorted(scores.keys() - excluded, key=lambda o: (-scores[o], list(scores).index(o))), scores, fired


def _standing(answers: dict[str, Answer], rules: RuleTable, dropped: str = "") -> dict[str, Any]:
    """The fields of a Standing; strength as defined in the table, over the questions not in the dropped group."""
    order, scores, _ = _rank(answers, rules)
    asked = [q for q in rules.questions if q.group != dropped]
    share_answered = 1 - len(_missing(answers, asked)) / len(asked)
    best, rivals = scores[order[0]], [o for o in order[1:] if scores[o] > 0]
    lead = (best - scores[rivals[0]] if rivals else best) / best if best > 0 else 0.0
    strength = round(lead * share_answered, 4)
    return {
        "outcome": order[0],
        "runner_up": rivals[0] if rivals else None,
        "strength": strength,
        "strength_word": next(word for word, least in rules.strength_words.items() if strength >= least),
    }


def _missing(answers: dict[str, Answer], questions: Iterable[Question]) -> tuple[str, ...]:
    return tuple(q.id for q in questions if answers.get(q.id) in (None, q.open))


def _contradiction(answers: dict[str, Answer], rules: RuleTable) -> Contradiction | None:
    return next((c for c in rules.contradictions if c.holds(answers)), None)


def _flips(answers: dict[str, Answer], rules: RuleTable, outcome: str) -> tuple[FlipPoint, ...]:
    """Every single answer that changes the outcome; for numbers the nearest one for each new outcome."""
    flips = []
    for question in rules.questions:
        found: dict[str, FlipPoint] = {}
        for then in _candidates(question, rules, answers.get(question.id)):
            changed = answers | {question.id: then}
            other = _rank(changed, rules)[0][0]
            if other == outcome or other in found or _contradiction(changed, rules):
                continue
            now, new = question.show(answers.get(question.id)), question.show(then)
            found[other] = FlipPoint(question=question.id, now=now, then=new, answer=then, outcome=other)
        flips += found.values()
    return tuple(flips)


def _candidates(question: Question, rules: RuleTable, now: Answer) -> list[Answer]:
    """Other answers worth trying: all choices, or the numbers at and beside each threshold, nearest first."""
    if question.type != "number":
        return [o for o in question.options if o not in (now, question.open)]
    tests = [t for rule in rules.rules for t in rule.when.all + rule.when.any if t.question == question.id]
    near = {round(t.value + side * question.step, 6): side for side in (-1, 1, 0) for t in tests}
    tried = [n for n in near if question.low <= n <= question.high and n != now]
    return sorted(tried, key=lambda n: (abs(near[n] if now is None else n - now), n))


def _parts(answers: dict[str, Answer], rules: RuleTable, outcome: str) -> tuple[Part, ...]:
    """For a mixed need, the outcome of each half judged alone; empty for a single need or a case not to build."""
    if outcome == STOP or (answers.get("need") != "both" and outcome != HYBRID):
        return ()
    parts = []
    for split in rules.splits:
        dropped = {q.id for q in rules.questions if q.group == split.drops}
        kept = {key: answer for key, answer in answers.items() if key not in dropped} | split.sets
        parts.append(Part(kind=split.id, **_standing(kept, rules, split.drops)))
    return tuple(parts)


def _headline(order: list[Verdict]) -> str:
    """One sentence with counts, then the first use case to take up, and those not to build."""
    know, act, both = (sum(v.need == need for v in order) for need in ("know", "act", "both"))
    training = sum(v.outcome in ("lora", "smaller_tuned_model") for v in order)
    stopped = "; ".join(v.name for v in order if v.outcome == STOP)
    words = f"Use cases: {len(order)}, of which {know} to know something, {act} to act differently, {both} to do both. "
    words += f"May come to training, after cheaper steps and the gate: {training}."
    if order[0].outcome != STOP:
        words += f" First: {order[0].name} ({order[0].outcome_name})."
    return words + (f" Not to be built as described: {stopped}." if stopped else "")


def _refuse_unknown(what: str, named: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise ValueError naming `where`, the first name that is not known, and those that are."""
    if unknown := [name for name in named if name not in known]:
        raise ValueError(f"{where}: there is no {what} '{unknown[0]}'; use one of {', '.join(known)}.")
