"""Ways to put a text under one of the client's codes, and the logistic fit behind two features.

The only module that imports scikit-learn. The rungs (label name, definition, nearest examples, constrained output) ask
the chat model when there is one. Without one the first three are similarity methods: evidence by proxy, never called
prompting. The linear probe is a real classifier: direct evidence. Knows vectors, labels and a chat model; no files.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from playbook.checked import TABLES, read_yaml
from playbook.items import Code, Example

Encode = Callable[[list[str]], np.ndarray]
Near = list[tuple[Example, float]]  # labelled texts near one text, with their cosines
NEIGHBOURS = 5
WORDS: dict[str, Any] = read_yaml(TABLES / "arms.yaml")


@dataclass(frozen=True)
class Task:
    """What a classification arm gets: labelled texts, texts to code, the code book, an embedder, a chat model or None."""

    train: Sequence[Example]
    texts: Sequence[str]
    codes: Sequence[Code]
    encode: Encode
    chat: Any = None


def by_label_name(task: Task) -> Iterable[str]:
    """The code whose name is nearest to the text by cosine, or that the chat model picks from the names."""
    return _nearest_code(task, [c.label for c in task.codes])


def by_definition(task: Task) -> Iterable[str]:
    """The same with name and definition; the name alone where there is no definition."""
    return _nearest_code(task, _described(task))


def _nearest_code(task: Task, descriptions: list[str]) -> Iterable[str]:
    if task.chat is not None:
        return _asked(task, _prompts(task, descriptions, [[]] * len(task.texts)))
    similarity = task.encode(list(task.texts)) @ task.encode(descriptions).T
    return [task.codes[n].code for n in similarity.argmax(axis=1)]


def by_nearest_examples(task: Task) -> Iterable[str]:
    """The code with the largest summed cosine among the five nearest labelled texts; a chat model is shown the five."""
    neighbours = _neighbours(task)
    if task.chat is not None:
        return _asked(task, _prompts(task, _described(task), neighbours))
    return [_heaviest(near) for near in neighbours]


def _heaviest(near: Near) -> str:
    labels = sorted({e.label for e, _ in near})
    return max(labels, key=lambda label: sum(cosine for e, cosine in near if e.label == label))


def by_constrained_output(task: Task) -> Iterable[str]:
    """The same prompt as the nearest examples, to a chat model that can only write one of the codes.

    Uses LangChain's structured output: the model's server must support JSON schemas. What is not a code all the same
    is returned as it came and counts as wrong. Raises ValueError without a chat model: the rung is then n/a.
    """
    if task.chat is None:
        raise ValueError(WORDS["no_chat"])
    one = {"code": {"type": "string", "enum": [c.code for c in task.codes]}}
    schema = {"title": "chosen_code", "type": "object", "properties": one, "required": ["code"]}
    held = task.chat.with_structured_output(schema, method="json_schema", strict=True, include_raw=True)
    return (_held_code(held.invoke(p)) for p in _prompts(task, _described(task), _neighbours(task)))


def _held_code(reply: dict[str, Any]) -> str:
    parsed = reply["parsed"]
    return str(parsed["code"]) if isinstance(parsed, dict) and "code" in parsed else reply["raw"].text[:80]


def _neighbours(task: Task) -> list[Near]:
    """For each text its nearest labelled texts with their cosines, nearest first, equal ones in the order given."""
    similarity = task.encode(list(task.texts)) @ task.encode([e.text for e in task.train]).T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    return [[(task.train[n], float(row[n])) for n in near] for row, near in zip(similarity, order, strict=True)]


def _described(task: Task) -> list[str]:
    return [f"{c.label}: {c.definition}" if c.definition else c.label for c in task.codes]


def _prompts(task: Task, descriptions: list[str], neighbours: list[Near]) -> list[str]:
    shown = ["".join(f"Text: {e.text}\nCode: {e.label}\n\n" for e, _ in near) for near in neighbours]
    codes = "\n".join(f"{c.code} ({d})" for c, d in zip(task.codes, descriptions, strict=True))
    return [WORDS["prompt"].format(codes=codes, examples=e, text=t) for e, t in zip(shown, task.texts, strict=True)]


def _asked(task: Task, prompts: list[str]) -> Iterator[str]:
    """One by one, the code in the chat model's reply, or the reply when it does not name just one (it counts as wrong)."""
    longest_first = sorted(
        (re.escape(c.code) for c in task.codes), key=len, reverse=True
    )  # "refund status", not "refund"
    for prompt in prompts:
        reply = str(task.chat.invoke(prompt).text).strip()
        named = set(re.findall(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", reply))
        yield named.pop() if len(named) == 1 else reply[:80]


def by_linear_probe(task: Task) -> Iterable[str]:
    """Logistic regression on the frozen embeddings of the labelled texts."""
    probe = fit_probe(task.encode([e.text for e in task.train]), [e.label for e in task.train])
    return probe.predict(task.encode(list(task.texts))).tolist()


ARMS: dict[str, Callable[[Task], Iterable[str]]] = {
    "label_name": by_label_name,
    "definition": by_definition,
    "nearest_examples": by_nearest_examples,
    "constrained": by_constrained_output,
    "linear_probe": by_linear_probe,
}
PROXY_ARMS = frozenset({"label_name", "definition", "nearest_examples"})


def fit_probe(vectors: np.ndarray, labels: Sequence[str]) -> Any:
    """Fit a multinomial logistic regression (L2, C = 10, which suits unit vectors with few examples a class).

    Returns scikit-learn's fitted model: `predict` gives an array of labels, `predict_proba` has shape (n, classes_).
    Raises ValueError when all labels are the same.
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) < 2:
        raise ValueError(f"all {len(labels)} examples carry label '{''.join(labels[:1])}': two labels are needed.")
    return LogisticRegression(C=10.0, max_iter=2000).fit(vectors, list(labels))


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
