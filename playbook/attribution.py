"""Why an item failed, found by intervening and looking whether it recovers. No judge, nothing random.

Five causes: corpus gap, retrieval, reading, behaviour, refusal. Only behaviour failures count towards training.
Knows how to rerun an item with something changed; does not know plans, gates or plots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from langchain_core.documents import Document

from playbook.answering import Answer, Answerer
from playbook.arms import Output
from playbook.checked import TABLES, Frozen, read_yaml
from playbook.chunking import embedding_text
from playbook.evaluation import Proportion, contains, proportion
from playbook.items import Question
from playbook.retrieval import Hit

Cause = Literal["corpus gap", "retrieval", "reading", "behaviour", "refusal"]
FIX: dict[str, str] = read_yaml(TABLES / "causes.yaml")  # cause -> what to fix
CAUSES = tuple(FIX)


class Failure(Frozen):
    """One failed item: its cause, what was asked, given and missing, and which interventions recovered it."""

    item: str
    cause: Cause
    asked: str
    given: str
    wanted: str
    recovered_by: tuple[str, ...]


class CauseMix(Frozen):
    """How many failures each cause explains, with the interval of its share."""

    failures: int
    shares: dict[str, Proportion]


def why_wrong(question: Question, answer: Answer, answerer: Answerer, sections: Sequence[Document]) -> Failure:
    """The cause of one wrong knowledge answer.

    Order of interventions: is it in the documents at all; was the answer there but held back; was the right passage
    given; does the reader get it right from the oracle passage alone.
    """
    store = answerer.retriever.store
    source = [p for p in store.documents.values() if p.metadata["source"] == question.source]
    oracle = [p for p in source if contains(embedding_text(p), question.must_contain)]
    given = " ".join(embedding_text(p) for p in store.get_by_ids(answer.passage_ids))
    from_oracle, from_given = _reads(answerer, question, oracle), contains(given, question.must_contain)
    held_back = answer.refused and contains(answer.draft, question.must_contain)
    tried = {"oracle passage": from_oracle, "retrieved passages hold it": from_given, "no refusal": held_back}
    in_source = " ".join(s.page_content for s in sections if s.metadata["source"] == question.source)
    if not question.answerable:
        cause: Cause = "refusal"
    elif not contains(in_source, question.must_contain):
        cause = "corpus gap"
    elif held_back:
        cause = "refusal"
    else:
        cause = "reading" if from_given else "retrieval"
    wanted, recovered = question.expected_answer or "a refusal", tuple(name for name, worked in tried.items() if worked)
    shown = {"asked": question.question, "given": answer.text or f"(refused) {answer.draft}", "wanted": wanted}
    return Failure(item=question.id, cause=cause, recovered_by=recovered, **shown)


def _reads(answerer: Answerer, question: Question, passages: Sequence[Document]) -> bool:
    if not passages:
        return False
    draft = answerer.draft(question.question, [Hit(p, 1.0, 1.0, 1.0) for p in passages])
    return contains(" ".join(c.quote for c in draft.citations), question.must_contain)


def why_miscoded(outputs: Sequence[Output], texts: dict[str, str], arm: str) -> list[Failure]:
    """Causes of one arm's wrong codes, from how the other arms did on the same item.

    Behaviour: wrong although definitions and nearest labelled examples were at hand, and the linear probe, which
    learned from all examples, is wrong too or is the only one that recovers it. Reading: definitions or nearest
    examples alone put it right, so the material was enough.
    """
    right = {(o.item, o.arm): o.correct for o in outputs}
    arms = list(dict.fromkeys(o.arm for o in outputs))
    cheap = [a for a in arms if a in ("definition", "nearest_examples")]
    failures = []
    for row in outputs:
        if row.arm == arm and not row.correct:
            recovered = tuple(a for a in arms if a != arm and right[row.item, a])
            cause: Cause = "reading" if any(a in recovered for a in cheap) else "behaviour"
            shown = {"asked": texts[row.item], "given": row.output, "wanted": row.expected}
            failures.append(Failure(item=row.item, cause=cause, recovered_by=recovered, **shown))
    return failures


def cause_mix(failures: Sequence[Failure]) -> CauseMix:
    """Share of each cause among the failures, with Wilson intervals; no shares when nothing failed."""
    counts = Counter(f.cause for f in failures)
    shares = {c: proportion(counts[c], len(failures)) for c in CAUSES} if failures else {}
    return CauseMix(failures=len(failures), shares=shares)
