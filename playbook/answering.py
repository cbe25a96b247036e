"""From passages to an answer that quotes its source or refuses.

Two answerers give the same `Answer`: extractive (verbatim sentences, the offline default) and any LangChain chat
model, told to answer only from what it was given. A citation is checked against the stored passage before it is
shown. Knows a retriever; knows no files and no gold answers. The decision to refuse is `refusal`'s.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import Document

from playbook.checked import TABLES, Frozen, read_yaml
from playbook.chunking import embedding_text, sentence_spans
from playbook.refusal import RefusalModel
from playbook.retrieval import Hit, HybridRetriever, words

_WORDS = read_yaml(TABLES / "words.yaml")
MAX_SENTENCES, MAX_WORDS, MAX_QUESTION = 3, 80, 2000
SAME_TOPIC = 0.8  # cosine from which two sentences of different files are held to speak of the same thing
MARK = r"\[\d{1,3}(?:, ?\d{1,3})*\]"  # how a chat model cites passages: [2] or [2, 3]
INSTRUCTION = re.compile("|".join(_WORDS["instruction"]), re.IGNORECASE)
FEATURES = ("best_sentence", "best_passage", "words_in_passage", "fused_score", "names_and_numbers", "kind_of_answer")


class Citation(Frozen):
    """Where a quoted sentence stands: file, page or section, passage id, and its character span in the passage."""

    source: str
    place: str
    passage_id: str
    start: int
    end: int
    quote: str

    def __str__(self) -> str:
        return f"{self.source}, {self.place}" if self.place else self.source


class Answer(Frozen):
    """What is shown: text with citations, or a refusal with its reason; confidence is the calibrated 0 to 1.

    `conflicts` quotes other files that speak of the same thing with other figures. `dropped` counts statements of a
    chat model that were removed because no given passage supports them.
    """

    question: str
    text: str = ""
    citations: tuple[Citation, ...] = ()
    refused: bool
    reason: str
    confidence: float
    draft: str
    passage_ids: tuple[str, ...]
    tokens: int
    milliseconds: float
    conflicts: tuple[Citation, ...] = ()
    dropped: int = 0


class Draft(NamedTuple):
    """The chosen sentences before the decision to show them, with the support features behind that decision."""

    citations: tuple[Citation, ...]
    features: tuple[float, ...]
    conflicts: tuple[Citation, ...] = ()


def verify(citation: Citation, passages: Iterable[Any]) -> bool:
    """Whether the cited passage is among `passages` and holds the quote at exactly that span."""
    span = slice(citation.start, citation.end)
    return any(p.id == citation.passage_id and p.page_content[span] == citation.quote != "" for p in passages)


@dataclass
class Answerer:
    """Answers one question at a time from a retriever, by extraction or with a chat model.

    `dataclasses.replace` gives it another search or decision to refuse; sentences already embedded are shared.
    """

    retriever: HybridRetriever
    refusal: RefusalModel
    chat: Any = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def ask(self, question: str, without: str | None = None, hits: Sequence[Hit] | None = None) -> Answer:
        """Answer or refuse; `without` leaves one source out, `hits` are taken instead of a search.

        Raises ValueError for an empty or overlong question.
        """
        started = time.perf_counter()
        question = " ".join(question.split())
        if not question or len(question) > MAX_QUESTION:
            raise ValueError(f"the question has {len(question)} characters; ask with 1 to {MAX_QUESTION}.")
        hits = self.retriever.search(question, without=without) if hits is None else hits
        draft = self.draft(question, hits)
        confidence = self.refusal.confidence(draft.features) if draft.citations else 0.0
        reason = "" if confidence >= self.refusal.threshold else self._why(question, hits, confidence)
        text, citations, dropped = " ".join(c.quote for c in draft.citations), draft.citations, 0
        if self.chat is not None and not reason:
            text, citations, reason, dropped = self._chat(question, hits)
        said = {"question": question, "draft": text, "refused": bool(reason), "reason": reason, "dropped": dropped}
        shown = {} if reason else {"text": text, "citations": citations, "conflicts": draft.conflicts}
        passage_ids = tuple(h.passage.id for h in hits)
        tokens = sum(self.retriever.store.embedding.count_tokens([question, *(h.passage.page_content for h in hits)]))
        spent = {"tokens": tokens, "milliseconds": 1000 * (time.perf_counter() - started)}
        return Answer(**said, **shown, **spent, confidence=confidence, passage_ids=passage_ids)

    def prepare(self, hits: Iterable[Hit]) -> None:
        """Embed the sentences of many passages in one go, which is much faster than question by question."""
        self.encode([text for h in hits for text in _sentences(h.passage).values()])

    def draft(self, question: str, hits: Sequence[Hit]) -> Draft:
        """The best one to three verbatim sentences of the passages, at most 80 words together, each cited."""
        found = {c: text for h in hits for c, text in _sentences(h.passage).items() if not INSTRUCTION.search(c.quote)}
        if not found:
            return Draft((), (0.0,) * len(FEATURES))
        cited, rank = list(found), {h.passage.id: n for n, h in enumerate(hits)}
        vectors = self.encode(list(found.values()))
        similarity = vectors @ self.retriever.vector(question)
        coverage = np.array([self._coverage(question, text) for text in found.values()])
        fitting = np.array([_fits(question, c.quote) for c in cited])
        place = np.array([rank[c.passage_id] for c in cited])
        replaced = np.array([bool(hits[n].passage.metadata.get("replaced_by")) for n in place])
        score = similarity + 0.6 * coverage + 0.06 * fitting - 0.02 * place - 0.15 * replaced
        order = np.argsort(-np.round(score, 6), kind="stable")
        shown = {cited[order[0]].quote: cited[order[0]]}
        for c in (cited[n] for n in order):
            if len(shown) < MAX_SENTENCES and len(" ".join([*shown, c.quote]).split()) <= MAX_WORDS:
                shown.setdefault(c.quote, c)
        best, chosen = order[0], tuple(shown.values())
        hit, nearest = hits[place[best]], max(h.cosine for h in hits)
        passage = embedding_text(hit.passage)
        named = _share_held(names_and_numbers(question), " ".join([*(found[c] for c in chosen), passage]))
        features = (similarity[best], nearest, self._coverage(question, passage), hit.score, named, fitting[best])
        alike = [c for c, like in zip(cited, vectors @ vectors[best], strict=True) if like >= SAME_TOPIC]
        return Draft(chosen, tuple(map(float, features)), _conflicts(alike, chosen[0]))

    def summarise(self, source: str, sentences: int = 5) -> tuple[Citation, ...]:
        """The sentences of one file nearest to its middle, at most one a passage, in reading order, each cited.

        Centroid summarisation (Radev et al. 2004). Raises ValueError for a file that is not indexed.
        """
        passages = [p for p in self.retriever.keywords.passages if p.metadata.get("source") == source]
        found = {c: text for p in passages for c, text in _sentences(p).items() if len(c.quote.split()) > 5}
        if not found:
            raise ValueError(f"{source} has no sentences in the index: give the name of an indexed file.")
        cited, vectors = list(found), self.encode(list(found.values()))
        nearest = np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")
        _, first = np.unique([cited[n].passage_id for n in nearest], return_index=True)
        return tuple(cited[n] for n in sorted(nearest[np.sort(first)[:sentences]]))

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of texts, each embedded once in the life of this answerer, shape (n, dimension)."""
        if new := sorted(set(texts) - self.vectors.keys()):
            self.vectors |= zip(new, self.retriever.store.embedding.encode(new), strict=True)
        return np.array([self.vectors[t] for t in texts], np.float32)

    def _coverage(self, question: str, text: str) -> float:
        held, rarity = set(words(text)), {w: self.retriever.keywords.rarity(w) for w in words(question)}
        return sum(rare for word, rare in rarity.items() if word in held) / (sum(rarity.values()) or 1.0)

    def _why(self, question: str, hits: Sequence[Hit], confidence: float) -> str:
        if not hits:
            return "no passage was found"
        have = set(words(" ".join(embedding_text(h.passage) for h in hits)))
        missing = [w for w in dict.fromkeys(re.findall(r"\w[\w'-]*", question)) if not set(words(w)) <= have]
        named = f"; no passage mentions: {', '.join(missing[:4])}" if missing else ""
        return f"support {confidence:.2f} is below {self.refusal.threshold:.2f}{named}"

    def _chat(self, question: str, hits: Sequence[Hit]) -> tuple[str, tuple[Citation, ...], str, int]:
        """Supported statements, their citations, why there is no answer (empty if there is), statements dropped."""
        numbered = [f"[{n}] ({h.passage.metadata['source']}) {h.passage.page_content}" for n, h in enumerate(hits, 1)]
        prompt = _WORDS["prompt"].format(passages="\n".join(numbered), question=question)
        # control characters go; marks and links stay the text they are
        reply = "".join(c for c in str(self.chat.invoke(prompt).text) if c.isprintable() or c in "\n\t")
        if re.match(r"\W*REFUSE\b", reply):
            return reply, (), "the chat model found no answer in the passages", 0
        found = [(reply[a:b], self._support(reply[a:b], hits)) for a, b in sentence_spans(reply)]
        kept = [statement for statement, support in found if support]
        citations = dict.fromkeys(citation for _, support in found for citation in support)
        reason = "" if kept else "the chat model gave no statement that a passage supports"
        return " ".join(kept) or reply, tuple(citations), reason, len(found) - len(kept)

    def _support(self, statement: str, hits: Sequence[Hit]) -> list[Citation]:
        """The sentence of each passage cited, as [2] or [2, 3], that carries a statement; none unless all its numbers
        and half its words stand in the passages it cites."""
        marks, claim = " ".join(re.findall(MARK, statement)), re.sub(MARK, "", statement)
        numbers = {int(n) for n in re.findall(r"\d+", marks)}
        cited = [h.passage for n, h in enumerate(hits, 1) if n in numbers]
        text = " ".join(map(embedding_text, cited))
        if _numbers(claim) - _numbers(text) or self._coverage(claim, text) < 0.5:
            return []
        shares = [{c: self._coverage(claim, said) for c, said in _sentences(passage).items()} for passage in cited]
        return [max(share, key=share.__getitem__) for share in shares if any(share.values())]


def _sentences(passage: Document) -> dict[Citation, str]:
    """Each sentence of a passage, cited, and the same with the heading it stands under."""
    text, meta = passage.page_content, passage.metadata
    under = "".join(f"{heading}: " for heading in meta.get("heading", "").split(" > ")[-1:] if heading)
    where = {"source": meta["source"], "place": meta["place"], "passage_id": passage.id}
    cited = [Citation(**where, start=a, end=b, quote=text[a:b]) for a, b in sentence_spans(text)]
    return {citation: under + citation.quote for citation in cited}


def _conflicts(alike: Iterable[Citation], best: Citation) -> tuple[Citation, ...]:
    """Of sentences like the best one in meaning, the first of each other file whose figures all differ from its own."""
    own, others = _numbers(best.quote), dict[str, Citation]()
    for citation in alike:
        figures = _numbers(citation.quote)
        if own and figures and not own & figures:
            others.setdefault(citation.source, citation)
    return tuple(citation for source, citation in others.items() if source != best.source)


def _numbers(text: str) -> set[str]:
    return {n.rstrip(".,") for n in re.findall(r"\d[\d.,:/-]*", text)}


def _fits(question: str, sentence: str) -> float:
    """Share of the things the question asks for (a number, a price, a time, an address) that the sentence can give."""
    shapes = [kind["shape"] for kind in _WORDS["asks_for"] if re.search(kind["asked"], question, re.IGNORECASE)]
    return sum(bool(re.search(shape, sentence, re.IGNORECASE)) for shape in shapes) / len(shapes) if shapes else 0.5


def _share_held(asked: list[str], text: str) -> float:
    """Share of names and numbers that `text` holds, in any case of letters; 1 if none is asked for."""
    return sum(a.lower() in text.lower() for a in asked) / len(asked) if asked else 1.0


def names_and_numbers(question: str) -> list[str]:
    """The numbers, part numbers and capitalised words (not the first) of a question, in its order."""
    return re.findall(r"[A-Za-z]*\d[\w.-]*\w|\d|(?<=\s)[A-Z][a-z]{2,}", question)
