"""Why an item failed, found by intervening and looking whether it recovers. No judge, nothing random.

Five causes: corpus gap, retrieval, reading, behaviour, refusal. Only behaviour failures count towards training. Which
pattern of recoveries means which cause is a table: playbook/tables/causes.yaml. Knows how to rerun an item with
something changed; does not know plans, gates or plots.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, Literal

from langchain_core.documents import Document

from playbook.answering import MAX_QUESTION, Answer, Answerer
from playbook.arms import NONE, Forms, Output, as_hits, holds_some, in_form, missing, without_refusal
from playbook.checked import TABLES, Frozen, read_yaml
from playbook.chunking import embedding_text
from playbook.evaluation import Proportion, contains, proportion
from playbook.items import Question

Cause = Literal["corpus gap", "retrieval", "reading", "behaviour", "refusal"]
Texts, Terms = Sequence[Document], Mapping[str, str]
CAUSE_TABLE: dict[str, Any] = read_yaml(TABLES / "causes.yaml")
FIX: dict[str, str] = CAUSE_TABLE["fix"]
CAUSES = tuple(FIX)


class Failure(Frozen):
    """One failed item: its cause, what was asked, given and missing, and which interventions recovered it.

    `pattern`: what each check and intervention came to; None, or not there: not applicable. `missing`: the key strings
    that were not shown. `disputed`: two people coded this text differently.
    """

    item: str
    cause: Cause
    asked: str
    given: str
    wanted: str
    recovered_by: tuple[str, ...]
    pattern: dict[str, bool | None] = {}
    missing: tuple[str, ...] = ()
    disputed: bool = False


class CauseMix(Frozen):
    """How many failures each cause explains, with the interval of its share; disputed ones are only counted."""

    failures: int
    shares: dict[str, Proportion]
    disputed: int = 0


def why_wrong(
    question: Question, answer: Answer, answerer: Answerer, sections: Texts, forms: Forms = NONE, terms: Terms = NONE
) -> Failure:
    """The cause of one knowledge answer that is wrong, or right but not in the form that was asked for.

    `terms`: what the client's own words mean; those that stand in the question are explained to the chat model.
    """
    keys, asked, store = question.must_contain, question.question, answerer.retriever.store
    given, free = store.get_by_ids(answer.passage_ids), without_refusal(answerer)
    source = [p for p in store.documents.values() if p.metadata["source"] == question.source]
    oracle = [p for p in source if contains(embedding_text(p), keys)]
    oracle = oracle or [p for p in source if holds_some(embedding_text(p), keys)]  # it takes more than one passage
    in_source = " ".join(s.page_content for s in sections if s.metadata["source"] == question.source)
    meant = "; ".join(f"{term}: {meaning}" for term, meaning in terms.items() if term.lower() in asked.lower())
    added = {"constrained": question.required_form, "glossary": meant} if answerer.chat else {}

    def recovers(passages: Texts, more: str = "", formed: bool = True) -> bool:
        text = free.ask(f"{asked} {more}"[:MAX_QUESTION], hits=as_hits(passages)).text
        return contains(text, keys) and not (formed and in_form(question, text, forms) is False)

    pattern: dict[str, bool | None] = {"answerable": question.answerable}
    if question.answerable:
        pattern["in the documents"] = contains(in_source, keys)
        pattern["right fact"] = contains(answer.text, keys)
        pattern["retrieved passages hold it"] = contains(" ".join(embedding_text(p) for p in given), keys)
        pattern["no refusal"] = recovers(given, formed=False) if answer.refused else None
        pattern["oracle passage"] = recovers(oracle)
        for name, words in CAUSE_TABLE["added"].items():
            pattern[name] = recovers(given, words.format(added[name])) if added.get(name) else None
    shown = {"asked": asked, "given": answer.text or f"(refused) {answer.draft}", "missing": missing(answer.text, keys)}
    return _failure("answers", pattern, item=question.id, wanted=question.expected_answer or "a refusal", **shown)


def _failure(kind: str, pattern: Mapping[str, bool | None], **shown: Any) -> Failure:
    """With the cause of the first row of the table that the pattern meets; what is not applicable meets no condition."""
    rows = [(row["cause"], row.get("when", {})) for row in CAUSE_TABLE[kind]]
    cause = next(cause for cause, when in rows if all(pattern.get(name) is want for name, want in when.items()))
    recovered = tuple(name for name, came in pattern.items() if came and name not in CAUSE_TABLE["checks"])
    return Failure(cause=cause, pattern=pattern, recovered_by=recovered, **shown)


def why_miscoded(
    outputs: Sequence[Output], texts: Mapping[str, str], arm: str, disputed: Collection[str] = ()
) -> list[Failure]:
    """Causes of one arm's wrong codes, from how the other arms did on the same item.

    `disputed`: ids of texts that two people coded differently; their failures are marked, and no cause is counted.
    """
    failures = []
    for row in (o for o in outputs if o.arm == arm and not o.correct):
        pattern = {o.arm: o.correct for o in outputs if o.item == row.item and o.arm != arm}
        shown = {"item": row.item, "asked": texts[row.item], "given": row.output, "wanted": row.expected}
        failures.append(_failure("codes", pattern, disputed=row.item in disputed, **shown))
    return failures


def cause_mix(failures: Sequence[Failure]) -> CauseMix:
    """Share of each cause among the undisputed failures, with Wilson intervals; no shares when nothing failed."""
    counts = Counter(f.cause for f in failures if not f.disputed)
    total = counts.total()
    shares = {c: proportion(counts[c], total) for c in CAUSES} if total else {}
    return CauseMix(failures=total, shares=shares, disputed=len(failures) - total)


def instructive(failures: Sequence[Failure], most: int = 10) -> list[Failure]:
    """The failures to read first: one of each cause in turn, those that exactly one intervention put right before others.

    Within that in the order given, so that the same ones are always chosen; disputed ones are left out.
    """
    agreed = sorted((f for f in failures if not f.disputed), key=lambda f: len(f.recovered_by) != 1)
    by_cause = [[f for f in agreed if f.cause == cause] for cause in CAUSES]
    return [f for f in chain.from_iterable(zip_longest(*by_cause)) if f][:most]
