"""Ways to put a text under one of the client's codes, and the logistic fit behind two features.

The only module that imports scikit-learn. The rungs (label name, definition, nearest examples) ask the chat model when
there is one. Without one they are similarity methods: evidence by proxy, never called prompting. The linear probe is a
real classifier: direct evidence. Knows vectors, labels and a chat model; no files.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from playbook.items import Code, Example

Encode = Callable[[list[str]], np.ndarray]
NEIGHBOURS = 5
PROMPT = (
    "Put the text under exactly one of these codes and reply with the code alone.\n\nCodes:\n{codes}\n\n{examples}"
    "Text: {text}\nCode:"
)


@dataclass(frozen=True)
class Task:
    """What a classification arm gets: labelled texts, texts to code, the code book, an embedder, a chat model or None."""

    train: Sequence[Example]
    texts: Sequence[str]
    codes: Sequence[Code]
    encode: Encode
    chat: Any = None


def by_label_name(task: Task) -> list[str]:
    """The code whose name is nearest to the text by cosine, or that the chat model picks from the names."""
    return _nearest_code(task, [c.label for c in task.codes])


def by_definition(task: Task) -> list[str]:
    """The same with name and definition; the name alone where there is no definition."""
    return _nearest_code(task, _described(task))


def _described(task: Task) -> list[str]:
    return [f"{c.label}: {c.definition}" if c.definition else c.label for c in task.codes]


def _prompted(task: Task, descriptions: list[str], examples: str, text: str) -> str:
    """The code in the chat model's reply, or the reply itself when it names none (then it counts as wrong)."""
    listed = "\n".join(f"{c.code} ({d})" for c, d in zip(task.codes, descriptions, strict=True))
    reply = str(task.chat.invoke(PROMPT.format(codes=listed, examples=examples, text=text)).text).strip()
    named = [c.code for c in task.codes if re.search(rf"(?<!\w){re.escape(c.code)}(?!\w)", reply)]
    return named[0] if len(named) == 1 else reply[:80]


def _nearest_code(task: Task, descriptions: list[str]) -> list[str]:
    if task.chat is not None:
        return [_prompted(task, descriptions, "", text) for text in task.texts]
    similarity = task.encode(list(task.texts)) @ task.encode(descriptions).T
    return [task.codes[n].code for n in similarity.argmax(axis=1)]


def by_nearest_examples(task: Task) -> list[str]:
    """The code with the largest summed cosine among the five nearest labelled texts; a chat model is shown the five."""
    similarity = task.encode(list(task.texts)) @ task.encode([e.text for e in task.train]).T
    chosen = []
    for text, row in zip(task.texts, similarity, strict=True):
        votes: dict[str, float] = {}
        nearest = np.argsort(-row, kind="stable")[:NEIGHBOURS]
        if task.chat is not None:
            shown = "".join(f"Text: {task.train[n].text}\nCode: {task.train[n].label}\n\n" for n in nearest)
            chosen.append(_prompted(task, _described(task), shown, text))
            continue
        for n in nearest:
            votes[task.train[n].label] = votes.get(task.train[n].label, 0.0) + float(row[n])
        chosen.append(max(sorted(votes), key=votes.__getitem__))
    return chosen


def by_linear_probe(task: Task) -> list[str]:
    """Logistic regression on the frozen embeddings of the labelled texts."""
    probe = fit_probe(task.encode([e.text for e in task.train]), [e.label for e in task.train])
    return list(probe.predict(task.encode(list(task.texts))))


ARMS: dict[str, Callable[[Task], list[str]]] = {
    "label_name": by_label_name,
    "definition": by_definition,
    "nearest_examples": by_nearest_examples,
    "linear_probe": by_linear_probe,
}
PROXY_ARMS = frozenset({"label_name", "definition", "nearest_examples"})


@dataclass(frozen=True)
class Probe:
    """A fitted logistic regression over vectors."""

    model: object

    def predict(self, vectors: np.ndarray) -> list[str]:
        """The likeliest label of each vector."""
        return [str(label) for label in self.model.predict(vectors)]

    def probabilities(self, vectors: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Labels and their probabilities, shape (n, labels)."""
        return [str(label) for label in self.model.classes_], self.model.predict_proba(vectors)


def fit_probe(vectors: np.ndarray, labels: Sequence[str]) -> Probe:
    """Fit a multinomial logistic regression (L2, C = 10, which suits unit vectors with few examples a class).

    Raises ValueError when all labels are the same.
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) < 2:
        raise ValueError(f"all {len(labels)} examples carry label '{''.join(labels[:1])}': two labels are needed.")
    return Probe(LogisticRegression(C=10.0, max_iter=2000).fit(vectors, list(labels)))


def cross_validated(vectors: np.ndarray, labels: Sequence[str], folds: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Out-of-fold label and its probability for each example, by the linear probe; `folds` at most the smallest class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    model = LogisticRegression(C=10.0, max_iter=2000)
    probability = cross_val_predict(model, vectors, list(labels), cv=splitter, method="predict_proba")
    names = sorted(set(labels))
    return [names[n] for n in probability.argmax(axis=1)], probability.max(axis=1)


def fit_yes_no(features: np.ndarray, right: Sequence[bool]) -> tuple[list[float], float]:
    """Weights and intercept of a balanced logistic regression on standardised features, shape (n, features).

    Strongly regularised (C = 0.03): with a hundred questions, features that say much the same would else get opposite signs.

    Raises ValueError when only one outcome occurs.
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(right)) < 2:
        raise ValueError(f"all {len(right)} calibration cases have the same outcome: nothing can be learned from them.")
    model = LogisticRegression(C=0.03, class_weight="balanced", max_iter=1000).fit(features, list(right))
    return [float(w) for w in model.coef_[0]], float(model.intercept_[0])
