"""Arms: every approach answers the same frozen items and returns rows of one table.

A row says item, arm, output, right or wrong, refused, milliseconds, tokens, and what kind of evidence it is. Knows how
to run an arm; does not know statistics, plans or causes.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from langchain_core.load import dumpd
from pydantic import Field

from playbook import classifiers
from playbook.answering import Answer, Answerer, names_and_numbers
from playbook.checked import Frozen
from playbook.chunking import embedding_text, sentence_spans
from playbook.classifiers import PROXY_ARMS, WORDS, Encode, Task
from playbook.evaluation import Proportion, contains, proportion
from playbook.items import Code, Example, Question
from playbook.refusal import Case, swapped
from playbook.remembered import Progress, Result, remembered
from playbook.retrieval import HybridRetriever

Evidence = Literal["direct", "proxy"]
Examples, Questions = Sequence[Example], Sequence[Question]


class Output(Frozen):
    """One arm's answer to one item. `milliseconds` is not part of a `result`: it differs on every run."""

    item: str
    arm: str
    output: str
    expected: str
    correct: bool
    refused: bool = False
    cited_source: bool | None = None
    tokens: int = 0
    milliseconds: float = Field(default=0.0, exclude=True)
    evidence: Evidence = "direct"


class ArmScore(Frozen):
    """One line of the arms table."""

    arm: str
    evidence: Evidence
    right: Proportion
    refused: int
    tokens: int

    @property
    def name(self) -> str:
        """The arm as people read it: a similarity method is called one, and only a chat model is prompted."""
        return WORDS["names"][self.evidence].get(self.arm, self.arm.replace("_", " "))


def classify(
    arm: str, train: Examples, items: Examples, codes: Sequence[Code], encode: Encode, chat: Any = None,
    cache: Path | None = None, progress: Progress = iter,
) -> list[Output]:  # fmt: skip
    """Run one classification arm over labelled items; raises ValueError for an arm that does not exist or is n/a.

    `cache`: a folder that keeps each text's code until anything that decides it changes: the training texts, the code
    book, the embedder, the chat model, or how the arms work. Milliseconds are those of when it was computed.
    `progress`, for instance tqdm, sees each text that a chat model is asked about; embedding has a bar of its own.
    """
    if arm not in classifiers.ARMS:
        raise ValueError(f"'{arm}' is not an arm; use one of {', '.join(classifiers.ARMS)}.")

    def run(texts: list[str]) -> Iterator[Result]:
        started = time.perf_counter()
        codes_given = classifiers.ARMS[arm](Task(train, texts, codes, encode, chat))
        shared, started = (time.perf_counter() - started) / len(texts), time.perf_counter()
        for code in codes_given:  # a chat model is asked one by one, here
            yield {"code": code, "milliseconds": 1000 * (shared + time.perf_counter() - started)}
            started = time.perf_counter()

    models = [np.round(encode(["Which embedder is this?"]), 3).tolist(), dumpd(chat)]
    setting = [arm, inspect.getsource(classifiers), WORDS["prompt"], models]
    setting += [[(e.text, e.label) for e in train], [c.model_dump() for c in codes]]
    given = remembered(cache, setting, [i.text for i in items], run, progress if chat is not None else iter)
    evidence = "proxy" if arm in PROXY_ARMS and chat is None else "direct"
    return coded(arm, items, [g["code"] for g in given], [g["milliseconds"] for g in given], evidence)


def coded(
    arm: str, items: Examples, predicted: Sequence[Any], milliseconds: float | Sequence[float], evidence: Evidence
) -> list[Output]:
    """Rows of the table for codes an arm has already given; what is no text, for instance NaN, is an empty output."""
    given = [p.strip() if isinstance(p, str) else "" for p in predicted]
    each = np.broadcast_to(milliseconds, len(items)).tolist()
    same = {"arm": arm, "evidence": evidence}
    return [
        Output(item=i.id, output=code, expected=i.label, correct=code == i.label, milliseconds=ms, **same)
        for i, code, ms in zip(items, given, each, strict=True)
    ]


def irregular(outputs: Sequence[Output], train: Examples, codes: Sequence[Code]) -> list[tuple[str, str, str]]:
    """What no share shows, as (arm, what, item): empty outputs, outputs that are no code, labels no training text has.

    All of them count as wrong. An item with an untaught label is listed only where the arm missed it.
    """
    book, taught = {c.code for c in codes}, {e.label for e in train}
    odd = [o for o in outputs if o.output not in book]
    untaught = [o for o in outputs if o.expected not in taught and not o.correct]
    found = [(o.arm, "not a code" if o.output.strip() else "empty output", o.item) for o in odd]
    return found + [(o.arm, "label unseen in training", o.item) for o in untaught]


def answer_arm(
    arm: str, answerer: Answerer, questions: Questions, progress: Callable[[Sequence], Sequence] = lambda x: x
) -> tuple[list[Output], list[Answer]]:
    """Run one knowledge arm: keyword only, dense only, hybrid, or the unsifted first sentences of the best passage.

    Answerable: right when the shown answer holds the key strings. Unanswerable: right when refused.
    """
    settled = answerer.retriever.weight
    weights = {"keyword": 0.0, "dense": 1.0, "hybrid": settled, "first_sentences": settled}
    if arm not in weights:
        raise ValueError(f"'{arm}' is not an arm; use one of {', '.join(weights)}.")
    answerer = replace(answerer, retriever=answerer.retriever.varied(weight=weights[arm]))
    plain = arm == "first_sentences"
    answers = [first_sentences(answerer, q) if plain else answerer.ask(q.question) for q in progress(questions)]
    return [judge(arm, q, a) for q, a in zip(questions, answers, strict=True)], answers


def hit_rates(tried: Mapping[Any, HybridRetriever], questions: Questions, k: int = 5) -> dict[Any, float]:
    """Setting -> share of answerable questions whose `k` best passages hold the key strings in the right file."""
    asked = [q for q in questions if q.answerable]
    return {name: float(np.mean([hit(fused, q, k) for q in asked])) if asked else 0.0 for name, fused in tried.items()}


def hit(retriever: HybridRetriever, question: Question, k: int = 5) -> bool:
    """Whether the `k` best passages from the right file hold the key strings together."""
    found = [hit.passage for hit in retriever.search(question.question, k)]
    right = [embedding_text(passage) for passage in found if passage.metadata["source"] == question.source]
    return bool(right) and contains(" ".join(right), question.must_contain)


def best_weight(rates: dict[float, float]) -> float:
    """The search weight with the highest hit rate; among equals the one nearest to an even mix."""
    return min(rates, key=lambda weight: (-round(rates[weight], 6), abs(weight - 0.5), weight))


def support_cases(answerer: Answerer, questions: Questions) -> list[Case]:
    """What refusal is calibrated on: each question, and for an answerable one its twins that must be refused.

    One twin loses its source file, the other asks for a name or number that no document holds.
    """
    asked: list[tuple[Question, str, str | None, bool | None]] = []
    for question in questions:
        asked.append((question, question.question, None, question.answerable))
        if question.answerable:
            entities = names_and_numbers(question.question)
            twin = swapped(question.question, entities, answerer.retriever.keywords.document_frequency)
            asked.append((question, question.question, question.source, None))
            asked += [(question, twin, None, None)] if twin else []
    found = [answerer.search(text, without) for _, text, without, _ in asked]
    answerer.prepare(hit for hits in found for hit in hits)
    cases = []
    for (question, text, _, answerable), hits in zip(asked, found, strict=True):
        draft = answerer.draft(text, hits)
        right = bool(answerable) and contains(" ".join(c.quote for c in draft.citations), question.must_contain)
        cases.append(Case(draft.features, right, answerable, question.source or question.id))
    return cases


def judge(arm: str, question: Question, answer: Answer) -> Output:
    """Score one answer without a judge: key strings present, or refusal where nothing is to be found."""
    right = not answer.refused and contains(answer.text, question.must_contain)
    copied = answer.model_dump(include={"refused", "tokens", "milliseconds"})
    return Output(
        item=question.id,
        arm=arm,
        output=answer.text or f"(refused: {answer.reason})",
        expected=question.expected_answer or "(refusal)",
        correct=right if question.answerable else answer.refused,
        cited_source=any(c.source == question.source for c in answer.citations) if answer.citations else None,
        **copied,
    )


def first_sentences(answerer: Answerer, question: Question) -> Answer:
    """The baseline: the first three sentences of the best passage, never refusing."""
    started = time.perf_counter()
    best = answerer.retriever.search(question.question, k=1)
    text = best[0].passage.page_content if best else ""
    spans = sentence_spans(text)[:3]
    return Answer(
        question=question.question, text=" ".join(text[a:b] for a, b in spans), refused=not spans, reason="",
        confidence=1.0, draft=text, passage_ids=tuple(h.passage.id for h in best), tokens=0,
        milliseconds=1000 * (time.perf_counter() - started),
    )  # fmt: skip


def score(outputs: Sequence[Output]) -> list[ArmScore]:
    """The arms table, in the order the arms first occur."""
    table = []
    for arm, rows in _by_arm(outputs).items():
        right = proportion(sum(o.correct for o in rows), len(rows))
        used = {"refused": sum(o.refused for o in rows), "tokens": sum(o.tokens for o in rows)}
        table.append(ArmScore(arm=arm, evidence=rows[0].evidence, right=right, **used))
    return table


def latency(outputs: Sequence[Output]) -> dict[str, float]:
    """Arm -> mean milliseconds an item, for the `run` part of an artifact."""
    return {arm: round(float(np.mean([o.milliseconds for o in rows])), 1) for arm, rows in _by_arm(outputs).items()}


def correctness(outputs: Sequence[Output]) -> dict[str, list[bool]]:
    """Arm -> one truth value per item, for paired tests; every arm must have answered the same items in the same order."""
    arms = _by_arm(outputs)
    if len({tuple(o.item for o in rows) for rows in arms.values()}) > 1:
        raise ValueError(f"the arms {', '.join(arms)} did not answer the same items: run them all on one split.")
    return {arm: [o.correct for o in rows] for arm, rows in arms.items()}


def _by_arm(outputs: Sequence[Output]) -> dict[str, list[Output]]:
    return {arm: [o for o in outputs if o.arm == arm] for arm in dict.fromkeys(o.arm for o in outputs)}
