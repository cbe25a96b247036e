"""Ways to put a text under one of the client's codes, and the logistic fit behind two features.

The only module that imports scikit-learn. The rungs (label name, definition, nearest examples, constrained output) ask
the chat model when there is one. Without one the first three are similarity methods: evidence by proxy, never called
prompting. The linear probe is a real classifier: direct evidence. Knows vectors, labels and a chat model; no files.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from langchain_core.callbacks import UsageMetadataCallbackHandler

from playbook.checked import TABLES, read_yaml
from playbook.items import Code, Example

Encode = Callable[[list[str]], np.ndarray]
NEIGHBOURS = 5
PROBE = {"C": 10.0, "max_iter": 2000}  # L2; C suits unit vectors with few examples a class
WORDS: dict[str, Any] = read_yaml(TABLES / "arms.yaml")


class Task(NamedTuple):
    """What a classification arm gets: labelled texts, texts to code, the code book, an embedder, a chat model or None."""

    train: Sequence[Example]
    texts: Sequence[str]
    codes: Sequence[Code]
    encode: Encode
    chat: Any = None


def by_rung(task: Task, defined: bool = True, shown: bool = True) -> Iterable[str]:
    """What the chat model picks when it is told the codes' names, their definitions if `defined`, and examples if `shown`.

    Without one: the code with the largest summed cosine among the five nearest labelled texts if `shown`, else the one
    whose name (with its definition if `defined`) is nearest by cosine. A code without a definition goes by its name.
    """
    if task.chat is not None:
        return _asked(task, lambda prompt: str(task.chat.invoke(prompt).text).strip(), defined, shown)
    if shown:
        return [_heaviest(near) for near in _neighbours(task)]
    similarity = task.encode(list(task.texts)) @ task.encode(_described(task, defined)).T
    return [task.codes[n].code for n in similarity.argmax(axis=1)]


def _heaviest(near: list[tuple[Example, float]]) -> str:
    labels = sorted({e.label for e, _ in near})
    return max(labels, key=lambda label: sum(cosine for e, cosine in near if e.label == label))


def by_constrained_output(task: Task) -> Iterable[str]:
    """The same prompt as the nearest examples, to a chat model that can only write one of the codes.

    The model's server must support JSON schemas. What names no code all the same is returned as it came and counts as
    wrong. Raises ValueError without a chat model: the rung is then n/a.
    """
    one = {"chosen_code": {"type": "string", "enum": [c.code for c in task.codes]}}
    schema = {"title": "chosen_code", "type": "object", "properties": one, "required": ["chosen_code"]}
    held = held_to(task.chat, schema, method="json_schema", strict=True)
    return _asked(task, lambda prompt: held(prompt)[0])


def held_to(chat: Any, schema: dict[str, Any], **settings: Any) -> Callable[[Any], tuple[str, int]]:
    """A function from a prompt to a LangChain chat model's reply, an object of this JSON schema as text, and its tokens.

    Uses the provider's structured output, with its `settings`. A reply that is cut off or does not parse is kept as it is;
    an error of the connection is raised. Raises ValueError without a chat model.
    """
    if chat is None:
        raise ValueError(WORDS["no_chat"].format(schema["title"]))
    held = chat.with_structured_output(schema, **settings)

    def ask(prompt: Any) -> tuple[str, int]:
        used = UsageMetadataCallbackHandler()
        try:
            output = json.dumps(held.invoke(prompt, {"callbacks": [used]}), ensure_ascii=False)
        except Exception as error:  # each provider has errors of its own; those about a request say which one
            if isinstance(error, OSError) or hasattr(error, "request") or hasattr(error, "status_code"):
                raise
            output = getattr(error, "llm_output", f"(no reply: {error})")
        return output, sum(one["total_tokens"] for one in used.usage_metadata.values())

    return ask


def _neighbours(task: Task) -> list[list[tuple[Example, float]]]:
    """For each text its nearest labelled texts with their cosines, nearest first, equal ones in the order given."""
    similarity = task.encode(list(task.texts)) @ task.encode([e.text for e in task.train]).T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    return [[(task.train[n], float(row[n])) for n in near] for row, near in zip(similarity, order, strict=True)]


def _described(task: Task, defined: bool) -> list[str]:
    return [f"{c.label}: {c.definition}" if defined and c.definition else c.label for c in task.codes]


def _prompts(task: Task, defined: bool = True, shown: bool = True) -> list[str]:
    """One prompt a text."""
    codes = "\n".join(f"{c.code} ({d})" for c, d in zip(task.codes, _described(task, defined), strict=True))
    nearest = _neighbours(task) if shown else [[] for _ in task.texts]
    examples = ["".join(f"Text: {e.text}\nCode: {e.label}\n\n" for e, _ in near) for near in nearest]
    return [WORDS["prompt"].format(codes=codes, examples=e, text=t) for e, t in zip(examples, task.texts, strict=True)]


def _asked(task: Task, ask: Callable[[str], str], defined: bool = True, shown: bool = True) -> Iterator[str]:
    """One by one, the code in the chat model's reply, or the reply when it does not name just one (it counts as wrong)."""
    codes = sorted((re.escape(c.code) for c in task.codes), key=len, reverse=True)  # "refund status" before "refund"
    for prompt in _prompts(task, defined, shown):
        reply = ask(prompt)
        named = set(re.findall(rf"(?<!\w)(?:{'|'.join(codes)})(?!\w)", reply))
        yield named.pop() if len(named) == 1 else reply[:80]


def by_linear_probe(task: Task) -> Iterable[str]:
    """Logistic regression on the frozen embeddings of the labelled texts."""
    probe = fit_probe(task.encode([e.text for e in task.train]), [e.label for e in task.train])
    return probe.predict(task.encode(list(task.texts))).tolist()


ARMS: dict[str, Callable[[Task], Iterable[str]]] = {
    "label_name": partial(by_rung, defined=False, shown=False),
    "definition": partial(by_rung, shown=False),
    "nearest_examples": by_rung,
    "constrained": by_constrained_output,
    "linear_probe": by_linear_probe,
}
PROXY_ARMS = frozenset(WORDS["names"]["proxy"])  # without a chat model


def fit_probe(vectors: np.ndarray, labels: Sequence[str | bool], **settings: Any) -> Any:
    """Fit a multinomial logistic regression, with PROBE's settings unless others are given.

    Returns scikit-learn's fitted model: `predict` gives an array of labels, `predict_proba` has shape (n, classes_).
    Raises ValueError when all labels are the same.
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) < 2:
        raise ValueError(f"all {len(labels)} cases have the same label or outcome, {set(labels)}: two are needed.")
    return LogisticRegression(**settings or PROBE).fit(vectors, list(labels))


def cross_validated(vectors: np.ndarray, labels: Sequence[str], folds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels, sorted, and the linear probe's out-of-fold probabilities of them, shape (n, labels).

    Each label needs two examples, one of them as many as there are `folds`; one with fewer is in fewer folds.
    """
    from sklearn import linear_model, model_selection

    probe = linear_model.LogisticRegression(**PROBE)
    folded = model_selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # a label with fewer examples than folds
        given = (probe, vectors, list(labels))
        probability = model_selection.cross_val_predict(*given, cv=folded, method="predict_proba")
    return np.unique(labels), probability


def fit_yes_no(features: np.ndarray, right: Sequence[bool]) -> tuple[list[float], float]:
    """Weights and intercept of a balanced logistic regression on standardised features, shape (n, features).

    Strongly regularised (C = 0.03): with a hundred questions, features that say much the same would else get opposite signs.

    Raises ValueError when only one outcome occurs.
    """
    model = fit_probe(features, right, C=0.03, class_weight="balanced", max_iter=1000)
    return model.coef_[0].tolist(), float(model.intercept_[0])
