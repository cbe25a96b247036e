"""Classification arms without a chat model: each rung's choice can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings

from playbook import classifiers
from playbook.classifiers import Task, by_definition, by_label_name, by_linear_probe, by_nearest_examples
from playbook.items import Code, Example

CODES = (
    Code(code="DLV", label="late delivery", definition="the van came after the promised day"),
    Code(code="BIL", label="wrong bill", definition="an amount was charged twice"),
)
TRAIN = (
    Example(id="1", text="van came late", label="DLV"),
    Example(id="2", text="no van today", label="DLV"),
    Example(id="3", text="charged twice again", label="BIL"),
    Example(id="4", text="amount is wrong", label="BIL"),
)


def task(*texts: str, train: tuple[Example, ...] = TRAIN, codes: tuple[Code, ...] = CODES) -> Task:
    return Task(train, texts, codes, HashEmbeddings().encode)


def test_label_name_takes_the_code_whose_name_is_nearest() -> None:
    assert by_label_name(task("my delivery is late", "the bill is wrong")) == ["DLV", "BIL"]


def test_definition_finds_what_the_name_alone_cannot() -> None:
    assert by_label_name(task("charged twice")) == ["DLV"], "no word in common with a name: the first code of the book"
    assert by_definition(task("charged twice", "after the promised day")) == ["BIL", "DLV"]


def test_definition_uses_the_name_where_there_is_no_definition() -> None:
    bare = tuple(Code(code=c.code, label=c.label, definition="") for c in CODES)
    texts = ("my delivery is late", "the bill is wrong", "charged twice")
    assert by_definition(task(*texts, codes=bare)) == by_label_name(task(*texts))


def test_nearest_examples_sum_the_cosines_of_the_five_nearest() -> None:
    """Cosines of 'a b' are 1 (A) and 0.5 (B). Among five: 1.0 against 2.0, then 3.0 against 1.0, whatever lies further."""
    near = [Example(id=f"b{n}", text=f"a x{n}", label="B") for n in range(7)]
    exact = [Example(id=f"a{n}", text="a b", label="A") for n in range(3)]
    assert by_nearest_examples(task("a b", train=(*near, exact[0]))) == ["B"]
    assert by_nearest_examples(task("a b", train=(*near, *exact))) == ["A"], "all seven B would have had 3.5"


def test_nearest_examples_break_a_tie_by_the_code_s_name() -> None:
    train = (Example(id="1", text="a", label="Z"), Example(id="2", text="a", label="B"))
    assert by_nearest_examples(task("a", train=train)) == ["B"]


def test_linear_probe_learns_its_own_training_texts() -> None:
    assert by_linear_probe(task(*[e.text for e in TRAIN])) == [e.label for e in TRAIN]


def test_probe_probabilities_add_up_to_one_and_agree_with_its_predictions() -> None:
    encode = HashEmbeddings().encode
    probe = classifiers.fit_probe(encode([e.text for e in TRAIN]), [e.label for e in TRAIN])
    vectors = encode(["van came", "charged amount"])
    labels, table = probe.probabilities(vectors)
    assert table.sum(axis=1) == pytest.approx([1, 1])
    assert [labels[n] for n in table.argmax(axis=1)] == probe.predict(vectors) == ["DLV", "BIL"]


def test_probe_needs_two_labels() -> None:
    with pytest.raises(ValueError, match="all 2 examples carry label 'A'"):
        classifiers.fit_probe(np.eye(2), ["A", "A"])


def test_cross_validated_labels_are_out_of_fold() -> None:
    """Text 8 lies among the A texts but is called B: a model that has seen it could memorise it, out of fold it cannot."""
    vectors = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4 + [[1.0, 0.0]])
    labels = ["A"] * 4 + ["B"] * 5
    predicted, confidence = classifiers.cross_validated(vectors, labels, folds=4, seed=0)
    assert predicted == ["A"] * 4 + ["B"] * 4 + ["A"]
    assert ((confidence > 0.5) & (confidence <= 1)).all()


def test_yes_no_fit_separates_and_needs_both_outcomes() -> None:
    weights, intercept = classifiers.fit_yes_no(np.array([[-1.0], [-2.0], [1.0], [2.0]]), [False, False, True, True])
    assert weights[0] > 0 and intercept == pytest.approx(0, abs=1e-3)
    with pytest.raises(ValueError, match="all 2 calibration cases have the same outcome"):
        classifiers.fit_yes_no(np.zeros((2, 1)), [True, True])


def test_only_the_similarity_rungs_are_proxies() -> None:
    assert set(classifiers.ARMS) - classifiers.PROXY_ARMS == {"linear_probe"}


class Parrot:
    """A chat model that remembers what it was asked and gives one fixed reply."""

    def __init__(self, reply: str) -> None:
        self.reply, self.asked = reply, []

    def invoke(self, prompt: str) -> object:
        self.asked.append(prompt)
        return type("Reply", (), {"text": self.reply})()


def test_with_a_chat_model_the_rungs_are_prompts_that_grow() -> None:
    codes = [
        Code(code="DLV", label="late van", definition="came late"),
        Code(code="BIL", label="wrong bill", definition=""),
    ]
    train = [Example(id="1", text="the van was late", label="DLV")]
    seen = {}
    for arm in ("label_name", "definition", "nearest_examples"):
        chat = Parrot("It is DLV.")
        task = Task(train, ["van late again"], codes, HashEmbeddings().encode, chat)
        assert classifiers.ARMS[arm](task) == ["DLV"]
        seen[arm] = chat.asked[0]
    assert "came late" not in seen["label_name"] and "came late" in seen["definition"]
    assert "the van was late" not in seen["definition"] and "the van was late" in seen["nearest_examples"]


def test_a_reply_that_names_no_code_or_two_counts_as_given() -> None:
    codes = [Code(code="DLV", label="late van", definition=""), Code(code="BIL", label="wrong bill", definition="")]
    for reply in ("I cannot say", "DLV or BIL"):
        task = Task([], ["x"], codes, HashEmbeddings().encode, Parrot(reply))
        assert classifiers.ARMS["label_name"](task) == [reply]
