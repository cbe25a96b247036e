"""Arms: every approach answers the same frozen items and returns rows of one table.

A row says item, arm, output, right or wrong, refused, milliseconds, tokens, and what kind of evidence it is. Knows how
to run an arm, and which written rules of form and style a text breaks; does not know statistics, plans or causes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from langchain_core.documents import Document
from pydantic import Field

from playbook.answering import Answer, Answerer, names_and_numbers, verify
from playbook.checked import TABLES, Frozen, build, read_yaml
from playbook.chunking import embedding_text, sentence_spans
from playbook.classifiers import ARMS, PROXY_ARMS, WORDS, Encode, Task
from playbook.engagement import Progress, Result, fingerprint, remembered
from playbook.evaluation import Proportion, contains, share_of
from playbook.items import Code, Example, Question
from playbook.refusal import Case, swapped
from playbook.retrieval import Hit, HybridRetriever
from playbook.store import FaissStore

Evidence = Literal["direct", "proxy"]
Scope = Literal["reply", "subject", "body", "lines", "paragraph", "last_paragraph", "sentence", "first_two_sentences"]
Examples, Questions = Sequence[Example], Sequence[Question]
NONE: Mapping[str, Any] = {}
_WORDS = read_yaml(TABLES / "words.yaml")
CODE = fingerprint(Path(__file__).parent, (".py",))  # as loaded: results of other code are computed anew
FLAGS = re.I | re.M  # of patterns that a client writes
TIMED = 10  # questions of each arm that are answered without what earlier ones have embedded, so that arms compare
KNOWLEDGE_ARMS = ("first_sentences", "keyword", "dense", "hybrid", "in_prompt", "closed_book")


class StyleRule(Frozen):
    """In every text of `scope`, one of `patterns` occurs so many `times`, least and most; `words` is the rule for people.

    It holds only for texts in which `when` matches. `different`: equal wordings are counted once.
    """

    id: str
    words: str
    scope: Scope
    patterns: tuple[re.Pattern[str], ...] = Field(min_length=1)
    times: tuple[int, int] = (0, 0)
    when: str = ""
    different: bool = False


class StyleGuide(Frozen):
    """The rules a program can check, and the pattern of what stands before and after the body of a reply."""

    around: str = ""
    rules: tuple[StyleRule, ...]


Forms = Mapping[str, StyleGuide]


def load_required_forms(path: Path) -> dict[str, StyleGuide]:
    """The client's forms, by their words in `required_form`; none without the file.

    Raises ValueError naming the form and the fix.
    """
    forms = read_yaml(path) if path.is_file() else {}
    return {name: build(StyleGuide, form, f"{path.name}: '{name}'") for name, form in forms.items()}


def in_form(question: Question, text: str, forms: Forms) -> bool | None:
    """Whether a shown answer has the form the question asks for; None: none is asked, nothing shown, not checkable.

    Marks like [2] are taken out.
    """
    form = forms.get(question.required_form)
    return not style_violations(re.sub(r"\s*\[[\d, ]+\]", "", text).strip(), form) if form and text else None


def style_violations(reply: str, guide: StyleGuide) -> list[str]:
    """Ids of the rules that a reply breaks, in the guide's order."""
    texts, broken = _texts(reply, guide), []
    for rule in guide.rules:
        if re.search(rule.when, reply, FLAGS):
            wanted = re.compile("|".join(pattern.pattern for pattern in rule.patterns), FLAGS)
            found = [[match[0].lower() for match in wanted.finditer(text)] for text in texts[rule.scope]]
            counts = [len(set(each) if rule.different else each) for each in found]
            broken += [] if all(rule.times[0] <= n <= rule.times[1] for n in counts) else [rule.id]
    return broken


def _texts(reply: str, guide: StyleGuide) -> dict[str, list[str]]:
    """Scope -> the texts of a reply it means; a paragraph and the lines hold one sentence a line, to be counted."""
    body = re.sub(guide.around, "", reply)
    split = [[part[a:b] for a, b in sentence_spans(part)] for part in re.split(r"\n\s*\n", body)]
    paragraphs, sentences = ["\n".join(part) for part in split if part], [s for part in split for s in part]
    return {
        "reply": [reply], "subject": re.findall(r"^Subject: *(.*)", reply, re.M), "body": [body], "paragraph": paragraphs,
        "last_paragraph": paragraphs[-1:], "lines": ["\n".join(" ".join(s.split()) for s in sentences)],
        "sentence": sentences, "first_two_sentences": [" ".join(sentences[:2])],
    }  # fmt: skip


class Output(Frozen):
    """One arm's answer to one item. `milliseconds` is not part of a `result`: it differs on every run.

    `citation_precision`: share of the cited spans that exist and stand in the right file or hold key strings.
    `citation_recall`: share of the key strings that the cited spans hold. Both None where nothing is cited or can be.
    """

    item: str
    arm: str
    output: str
    expected: str
    correct: bool
    refused: bool = False
    citation_precision: float | None = None
    citation_recall: float | None = None
    in_form: bool | None = None
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
        return WORDS["names"].get(self.evidence, {}).get(self.arm, self.arm.replace("_", " "))


def classify(
    arm: str, train: Examples, items: Examples, codes: Sequence[Code], encode: Encode, chat: Any = None,
    cache: Path | None = None, progress: Progress = iter,
) -> list[Output]:  # fmt: skip
    """Run one classification arm over labelled items; raises ValueError for an arm that does not exist or is n/a.

    `cache`: a folder that keeps each text's code until anything that decides it changes: the training texts, the code
    book, the embedder, the chat model, or the code. Milliseconds are those of when it was computed; what all
    texts share (embedding, learning) is booked on the first.
    `progress`, for instance tqdm, sees each text that a chat model is asked about; embedding has a bar of its own.
    """
    if arm not in ARMS:
        raise ValueError(f"'{arm}' is not an arm; use one of {', '.join(ARMS)}.")

    def run(texts: list[str]) -> Iterator[Result]:
        return ({"code": code} for code in ARMS[arm](Task(train, texts, codes, encode, chat)))

    embedder = np.round(encode(["Which embedder is this?"]), 3).tolist()
    taught = [(e.text, e.label) for e in train]
    setting = [CODE, arm, WORDS["prompt"], embedder, chat, taught, codes]
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
    untaught = [o for o in outputs if o.expected not in taught and not o.correct]
    found = [(o.arm, "not a code" if o.output else "empty output", o.item) for o in outputs if o.output not in book]
    return found + [(o.arm, "label unseen in training", o.item) for o in untaught]


def answer_arm(
    arm: str, answerer: Answerer, questions: Questions, progress: Progress = iter, forms: Forms = NONE,
    cache: Path | None = None,
) -> tuple[list[Output], list[Answer]]:  # fmt: skip
    """Run one knowledge arm and judge its answers; raises ValueError for an arm that is unknown or cannot run here.

    Answerable: right when the shown answer holds the key strings. Unanswerable: right when refused. Milliseconds are
    the mean of the first TIMED answers, computed with nothing embedded before. `progress`, for instance tqdm, sees each
    question that is asked.
    `cache`: a folder that keeps each question's answer until anything that decides it changes: the documents, the
    search, the refusal, the chat model, the reranker, or the code. Answers quote documents: give the folder
    `answers` inside the index, which `knowledge.index_folder` removes when a document changes.
    """
    if reason := not_applicable(arm, answerer):
        raise ValueError(reason)
    search, store = answerer.retriever, answerer.retriever.store
    search = search.varied(weight={"keyword": 0.0, "dense": 1.0}.get(arm, search.weight))
    reader = replace(answerer, retriever=search)
    fresh = replace(answerer, retriever=search.varied(asked={}), vectors={})  # nothing embedded yet, as for a newcomer
    special = {"first_sentences": first_sentences, "in_prompt": in_prompt, "closed_book": closed_book}
    ask = special.get(arm, Answerer.ask)

    def run(asked: list[str]) -> Iterator[Result]:
        yield from (ask(fresh, question).model_dump(mode="json") for question in asked[:TIMED])
        rest = asked[TIMED:]
        search.prepare(rest)  # all at once, which is much faster; so with the sentences, for the arms that read them
        if ask is Answerer.ask:
            reader.prepare(hit for question in rest for hit in search.search(question))
        yield from (ask(reader, question).model_dump(mode="json") for question in rest)

    settled = search.model_dump(include={"weight", "k", "roles", "fusion", "diversity"})
    reranker = search.rerank and np.round(search.rerank("Which is it?", ["This one.", "That?"]), 3).tolist()
    documents = [store.generation, store.fingerprint, list(store.documents.values())]
    setting = [CODE, arm, _WORDS, settled, reranker, answerer.refusal, answerer.chat, documents]
    kept = remembered(cache, setting, [q.question for q in questions], run, progress)
    usual = float(np.mean([given["milliseconds"] for given in kept[:TIMED]] or [0.0]))
    answers = [Answer(**{**given, "milliseconds": usual}) for given in kept]
    return [judge(arm, q, a, store, forms) for q, a in zip(questions, answers, strict=True)], answers


def not_applicable(arm: str, answerer: Answerer) -> str:
    """Why a knowledge arm cannot run here, as a sentence; empty when it can. Raises ValueError for an unknown arm."""
    if arm not in KNOWLEDGE_ARMS:
        raise ValueError(f"'{arm}' is not an arm; use one of {', '.join(KNOWLEDGE_ARMS)}.")
    if arm in ("in_prompt", "closed_book") and answerer.chat is None:
        return f"{arm} needs a chat model, and the profile names none."
    texts = [hit.passage.page_content for hit in everything(answerer)] if arm == "in_prompt" else []
    tokens, most = sum(answerer.retriever.store.embedding.count_tokens(texts)), _WORDS["prompt_limit"]
    return f"the documents hold about {tokens:,} tokens, and a prompt takes {most:,}." if tokens > most else ""


def as_hits(passages: Iterable[Document]) -> list[Hit]:
    """Passages that are handed over without a search, in their order, each as a perfect find."""
    return [Hit(passage, 1.0, 1.0, 1.0) for passage in passages]


def everything(answerer: Answerer) -> list[Hit]:
    """All passages that whoever asks may see, in the order of the store."""
    search = answerer.retriever
    return as_hits(compress(search.keywords.passages, search.store.mask(search.roles)))


def without_refusal(answerer: Answerer) -> Answerer:
    """The same answerer, which shows an answer at any confidence; a chat model may still refuse by itself."""
    return replace(answerer, refusal=answerer.refusal.model_copy(update={"threshold": 0.0}))


def hit_rates(tried: Mapping[Any, HybridRetriever], questions: Questions, k: int = 5) -> dict[Any, float]:
    """Setting -> share of answerable questions whose `k` best passages hold the key strings in the right file."""
    asked = [q for q in questions if q.answerable]
    for fused in tried.values():
        fused.prepare(q.question for q in asked)
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
    known, asked = answerer.retriever.keywords.document_frequency, list[tuple[Question, str, str | None, bool | None]]()
    for question in questions:
        asked.append((question, question.question, None, question.answerable))
        if question.answerable:
            twin = swapped(question.question, names_and_numbers(question.question), known)
            asked.append((question, question.question, question.source, None))
            asked += [(question, twin, None, None)] if twin else []
    answerer.retriever.prepare(text for _, text, _, _ in asked)
    found = [answerer.retriever.search(text, without=without) for _, text, without, _ in asked]
    answerer.prepare(hit for hits in found for hit in hits)
    cases = []
    for (question, text, _, answerable), hits in zip(asked, found, strict=True):
        draft = answerer.draft(text, hits)
        holds = contains(" ".join(c.quote for c in draft.citations), question.must_contain)
        cases.append(Case(draft.features, bool(answerable) and holds, answerable, question.source or question.id))
    return cases


def judge(arm: str, question: Question, answer: Answer, store: FaissStore, forms: Forms = NONE) -> Output:
    """Score one answer without a judge: key strings present, or refusal where nothing is to be found."""
    keys, cited = question.must_contain, answer.citations if question.answerable else ()
    right = contains(answer.text, keys) if question.answerable else answer.refused
    judged = answer.model_dump(include={"refused", "tokens", "milliseconds"})
    judged |= {"correct": right, "in_form": in_form(question, answer.text, forms)}
    if cited:
        apt = [c for c in cited if c.source == question.source or holds_some(c.quote, keys)]
        sound = sum(verify(c, store.get_by_ids([c.passage_id])) for c in apt)
        lacking = missing(" ".join(c.quote for c in cited), keys)
        judged["citation_precision"] = round(sound / len(cited), 4)
        judged["citation_recall"] = round(1 - len(lacking) / len(keys), 4)
    shown, wanted = answer.text or f"(refused: {answer.reason})", question.expected_answer or "(refusal)"
    return Output(item=question.id, arm=arm, output=shown, expected=wanted, **judged)


def missing(text: str, must_contain: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The groups of key strings that `text` does not hold, each by its first alternative."""
    return tuple(group[0] for group in must_contain if not contains(text, [group]))


def holds_some(text: str, must_contain: Sequence[Sequence[str]]) -> bool:
    """Whether `text` holds at least one group of key strings."""
    return len(missing(text, must_contain)) < len(must_contain)


def audit_citations(questions: Questions, answers: Sequence[Answer], store: FaissStore) -> dict[str, Proportion]:
    """Of all citations shown, the share whose span exists in the store (`exist`) and that holds key strings (`support`).

    A citation in an answer to an unanswerable question supports nothing. Empty when nothing is cited.
    """
    cited = [(q, citation) for q, answer in zip(questions, answers, strict=True) for citation in answer.citations]
    exist = [verify(citation, store.get_by_ids([citation.passage_id])) for _, citation in cited]
    support = [holds_some(citation.quote, q.must_contain) for q, citation in cited]
    return {"exist": share_of(exist), "support": share_of(support)} if cited else {}


def first_sentences(answerer: Answerer, question: str) -> Answer:
    """The baseline: the first three sentences of the best passage, never refusing. Not timed."""
    best = [hit.passage for hit in answerer.retriever.search(question, k=1)]
    text = " ".join(p.page_content[a:b] for p in best for a, b in sentence_spans(p.page_content)[:3])
    return _uncited(question, text, passage_ids=tuple(p.id for p in best))


def closed_book(answerer: Answerer, question: str) -> Answer:
    """What the chat model says to the question alone: no passage, so no citation; it may refuse. Not timed."""
    prompt = _WORDS["closed_book"].format(question=question)
    reply = str(answerer.chat.invoke(prompt).text).strip()
    tokens = sum(answerer.retriever.store.embedding.count_tokens([prompt]))
    return _uncited(question, "" if re.match(r"\W*REFUSE\b", reply) else reply, tokens=tokens)


def _uncited(question: str, text: str, tokens: int = 0, passage_ids: tuple[str, ...] = ()) -> Answer:
    said = {"text": text, "draft": text, "refused": not text, "reason": "" if text else "it said nothing"}
    return Answer(question=question, **said, confidence=1.0, tokens=tokens, passage_ids=passage_ids, milliseconds=0.0)


def in_prompt(answerer: Answerer, question: str) -> Answer:
    """What the chat model says when it is given every passage that whoever asks may see."""
    return without_refusal(answerer).ask(question, hits=everything(answerer))


def score(outputs: Sequence[Output]) -> list[ArmScore]:
    """The arms table, in the order the arms first occur."""
    table = []
    for arm, rows in by_arm(outputs).items():
        right = share_of(o.correct for o in rows)
        used = {"refused": sum(o.refused for o in rows), "tokens": sum(o.tokens for o in rows)}
        table.append(ArmScore(arm=arm, evidence=rows[0].evidence, right=right, **used))
    return table


def latency(outputs: Sequence[Output]) -> dict[str, float]:
    """Arm -> mean milliseconds an item, for the `run` part of an artifact."""
    return {arm: round(float(np.mean([o.milliseconds for o in rows])), 1) for arm, rows in by_arm(outputs).items()}


def correctness(outputs: Sequence[Output]) -> dict[str, list[bool]]:
    """Arm -> one truth value per item, for paired tests; every arm must have answered the same items in the same order."""
    arms = by_arm(outputs)
    if len({tuple(o.item for o in rows) for rows in arms.values()}) > 1:
        raise ValueError(f"the arms {', '.join(arms)} did not answer the same items: run them all on one split.")
    return {arm: [o.correct for o in rows] for arm, rows in arms.items()}


def by_arm(outputs: Sequence[Output]) -> dict[str, list[Output]]:
    """The rows of each arm, in the order the arms first occur."""
    return {arm: [o for o in outputs if o.arm == arm] for arm in dict.fromkeys(o.arm for o in outputs)}
