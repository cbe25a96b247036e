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

from playbook.checked import TABLES, Frozen, read_yaml
from playbook.chunking import embedding_text, sentence_spans
from playbook.refusal import RefusalModel
from playbook.retrieval import Hit, HybridRetriever, words

_WORDS = read_yaml(TABLES / "words.yaml")
MAX_SENTENCES, MAX_WORDS, MAX_QUESTION = 3, 80, 2000
SAME_TOPIC = 0.8  # cosine from which two sentences of different files are held to speak of the same thing
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


class _Sentence(NamedTuple):
    hit: Hit
    cited: Citation
    in_context: str  # with the heading it stands under


def verify(citation: Citation, passages: Sequence[Any]) -> bool:
    """Whether the cited passage is among `passages` and holds the quote at exactly that span."""
    found = {p.id: p.page_content for p in passages}.get(citation.passage_id)
    return found is not None and found[citation.start : citation.end] == citation.quote != ""


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
        given = [question, *(h.passage.page_content for h in hits)]
        shown = {} if reason else {"text": text, "citations": citations, "conflicts": draft.conflicts}
        return Answer(
            question=question,
            refused=bool(reason),
            reason=reason,
            confidence=confidence,
            draft=text,
            passage_ids=tuple(h.passage.id for h in hits),
            tokens=sum(self.retriever.store.embedding.count_tokens(given)),
            milliseconds=1000 * (time.perf_counter() - started),
            dropped=dropped,
            **shown,
        )

    def prepare(self, hits: Iterable[Hit]) -> None:
        """Embed the sentences of many passages in one go, which is much faster than question by question."""
        self.encode([s.in_context for hit in {h.passage.id: h for h in hits}.values() for s in _sentences(hit)])

    def draft(self, question: str, hits: Sequence[Hit]) -> Draft:
        """The best one to three verbatim sentences of the passages, at most 80 words together, each cited."""
        found = [s for hit in hits for s in _sentences(hit) if not INSTRUCTION.search(s.cited.quote)]
        if not found:
            return Draft((), (0.0,) * len(FEATURES))
        vectors = self.encode([s.in_context for s in found])
        similarity = vectors @ self.retriever.vector(question)
        coverage = np.array([self._coverage(question, s.in_context) for s in found])
        rank = np.array([hits.index(s.hit) for s in found])
        quotes = [s.cited.quote for s in found]
        fitting = np.array([_fits(question, quote) for quote in quotes])
        replaced = np.array([bool(s.hit.passage.metadata.get("replaced_by")) for s in found])
        score = similarity + 0.6 * coverage + 0.06 * fitting - 0.02 * rank - 0.15 * replaced
        chosen, room = list[int](), MAX_WORDS
        for n in np.argsort(-np.round(score, 6), kind="stable"):
            fresh = len(chosen) < MAX_SENTENCES and quotes[n] not in [quotes[c] for c in chosen]
            if not chosen or (fresh and len(quotes[n].split()) <= room):
                chosen.append(n)
                room -= len(quotes[n].split())
        best, shown = chosen[0], [found[n] for n in chosen]
        passage = embedding_text(shown[0].hit.passage)
        features = (
            float(similarity[best]),
            max(h.cosine for h in hits),
            self._coverage(question, passage),
            shown[0].hit.score,
            _names_and_numbers(question, " ".join([*(s.in_context for s in shown), passage])),
            float(fitting[best]),
        )
        conflicts = _conflicts(found, vectors @ vectors[best], shown[0].cited)
        return Draft(tuple(s.cited for s in shown), features, conflicts)

    def summarise(self, source: str, sentences: int = 5) -> tuple[Citation, ...]:
        """The sentences of one file nearest to its middle, at most one a passage, in reading order, each cited.

        Centroid summarisation (Radev et al. 2004). Raises ValueError for a file that is not indexed.
        """
        passages = [p for p in self.retriever.keywords.passages if p.metadata.get("source") == source]
        found = [s for p in passages for s in _sentences(Hit(p, 0.0, 0.0, 0.0)) if len(s.cited.quote.split()) > 5]
        if not found:
            raise ValueError(f"{source} has no sentences in the index: give the name of an indexed file.")
        vectors = self.encode([s.in_context for s in found])
        nearness = vectors @ vectors.mean(axis=0)
        best: dict[str, int] = {}
        for n in np.argsort(-nearness, kind="stable"):
            best.setdefault(found[n].cited.passage_id, int(n))
        return tuple(found[n].cited for n in sorted(list(best.values())[:sentences]))

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of texts, each embedded once in the life of this answerer, shape (n, dimension)."""
        new = sorted({t for t in texts if t not in self.vectors})
        if new:
            self.vectors |= dict(zip(new, self.retriever.store.embedding.encode(new), strict=True))
        return np.stack([self.vectors[t] for t in texts]) if texts else np.zeros((0, 0), np.float32)

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
        reply = str(self.chat.invoke(prompt).text)
        reply = "".join(c for c in reply if c.isprintable() or c in "\n\t")  # marks and links stay the text they are
        if re.match(r"\W*REFUSE\b", reply):
            return reply, (), "the chat model found no answer in the passages", 0
        kept, citations, dropped = [], [], 0
        for a, b in sentence_spans(reply):
            support = self._support(reply[a:b], [hits[n - 1] for n in _cited(reply[a:b]) if 0 < n <= len(hits)])
            kept += [reply[a:b]] if support else []
            citations += [s.cited for s in support]
            dropped += not support
        if not kept:
            return reply, (), "the chat model gave no statement that a passage supports", dropped
        return " ".join(kept), tuple(dict.fromkeys(citations)), "", dropped

    def _support(self, statement: str, cited: Sequence[Hit]) -> list[_Sentence]:
        """The sentence of each cited passage that carries a statement; none unless all its numbers and half its words
        stand in the passages it cites."""
        claim = re.sub(r"\[[\d, ]+\]", "", statement)
        text = " ".join(embedding_text(h.passage) for h in cited)
        if _numbers(claim) - _numbers(text) or self._coverage(claim, text) < 0.5:
            return []
        best = [max(_sentences(h), key=lambda s: self._coverage(claim, s.in_context), default=None) for h in cited]
        return [s for s in best if s and self._coverage(claim, s.in_context)]


def _sentences(hit: Hit) -> list[_Sentence]:
    text, meta = hit.passage.page_content, hit.passage.metadata
    under = "".join(f"{heading}: " for heading in meta.get("heading", "").split(" > ")[-1:] if heading)
    where = {"source": meta["source"], "place": meta["place"], "passage_id": hit.passage.id}
    cited = [Citation(**where, start=a, end=b, quote=text[a:b]) for a, b in sentence_spans(text)]
    return [_Sentence(hit, citation, under + citation.quote) for citation in cited]


def _conflicts(found: list[_Sentence], likeness: np.ndarray, best: Citation) -> tuple[Citation, ...]:
    """The first sentence of each other file that is like the best one in meaning, but whose figures differ from it."""
    own, others = _numbers(best.quote), dict[str, Citation]()
    for cited in (s.cited for s, like in zip(found, likeness, strict=True) if like >= SAME_TOPIC):
        figures = _numbers(cited.quote)
        if own and figures and not own & figures:
            others.setdefault(cited.source, cited)
    return tuple(cited for source, cited in others.items() if source != best.source)


def _cited(statement: str) -> list[int]:
    """The passage numbers in a statement, written [2] or [2, 3]."""
    return [int(n) for group in re.findall(r"\[(\d{1,3}(?:, ?\d{1,3})*)\]", statement) for n in group.split(",")]


def _numbers(text: str) -> set[str]:
    return {n.rstrip(".,") for n in re.findall(r"\d[\d.,:/-]*", text)}


def _fits(question: str, sentence: str) -> float:
    """Share of the things the question asks for (a number, a price, a time, an address) that the sentence can give."""
    shapes = [kind["shape"] for kind in _WORDS["asks_for"] if re.search(kind["asked"], question, re.IGNORECASE)]
    return sum(bool(re.search(shape, sentence, re.IGNORECASE)) for shape in shapes) / len(shapes) if shapes else 0.5


def _names_and_numbers(question: str, text: str) -> float:
    """Share of the question's numbers, part numbers and capitalised words (not the first) that `text` holds; 1 if none."""
    asked = names_and_numbers(question)
    return sum(a.lower() in text.lower() for a in asked) / len(asked) if asked else 1.0


def names_and_numbers(question: str) -> list[str]:
    """The numbers, part numbers and capitalised words (not the first) of a question, in its order."""
    return re.findall(r"[A-Za-z]*\d[\w.-]*\w|\d|(?<=\s)[A-Z][a-z]{2,}", question)
