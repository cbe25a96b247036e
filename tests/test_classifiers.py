"""Classification arms without a chat model: each rung's choice can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings
from langchain_core.runnables import Runnable, RunnableLambda

from playbook import classifiers
from playbook.chat import chat_model
from playbook.classifiers import ARMS, Task, by_constrained_output, by_linear_probe
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
    assert ARMS["label_name"](task("my delivery is late", "the bill is wrong")) == ["DLV", "BIL"]


def test_definition_finds_what_the_name_alone_cannot() -> None:
    assert ARMS["label_name"](task("charged twice")) == ["DLV"], (
        "no word in common with a name: the first code of the book"
    )
    assert ARMS["definition"](task("charged twice", "after the promised day")) == ["BIL", "DLV"]


def test_definition_uses_the_name_where_there_is_no_definition() -> None:
    bare = tuple(Code(code=c.code, label=c.label, definition="") for c in CODES)
    texts = ("my delivery is late", "the bill is wrong", "charged twice")
    assert ARMS["definition"](task(*texts, codes=bare)) == ARMS["label_name"](task(*texts))


def test_nearest_examples_sum_the_cosines_of_the_five_nearest() -> None:
    """Cosines of 'a b' are 1 (A) and 0.5 (B). Among five: 1.0 against 2.0, then 3.0 against 1.0, whatever lies further."""
    near = [Example(id=f"b{n}", text=f"a x{n}", label="B") for n in range(7)]
    exact = [Example(id=f"a{n}", text="a b", label="A") for n in range(3)]
    assert ARMS["nearest_examples"](task("a b", train=(*near, exact[0]))) == ["B"]
    assert ARMS["nearest_examples"](task("a b", train=(*near, *exact))) == ["A"], "all seven B would have had 3.5"


def test_nearest_examples_break_a_tie_by_the_code_s_name() -> None:
    train = (Example(id="1", text="a", label="Z"), Example(id="2", text="a", label="B"))
    assert ARMS["nearest_examples"](task("a", train=train)) == ["B"]


def test_linear_probe_learns_its_own_training_texts() -> None:
    assert by_linear_probe(task(*[e.text for e in TRAIN])) == [e.label for e in TRAIN]


def test_probe_probabilities_add_up_to_one_and_agree_with_its_predictions() -> None:
    encode = HashEmbeddings().encode
    probe = classifiers.fit_probe(encode([e.text for e in TRAIN]), [e.label for e in TRAIN])
    vectors = encode(["van came", "charged amount"])
    table = probe.predict_proba(vectors)
    assert table.sum(axis=1) == pytest.approx([1, 1])
    assert [probe.classes_[n] for n in table.argmax(axis=1)] == probe.predict(vectors).tolist() == ["DLV", "BIL"]


def test_probe_needs_two_labels() -> None:
    with pytest.raises(ValueError, match="all 2 cases have the same label or outcome, {'A'}: two are needed"):
        classifiers.fit_probe(np.eye(2), ["A", "A"])


def test_cross_validated_labels_are_out_of_fold() -> None:
    """Text 8 lies among the A texts but is called B: a model that has seen it could memorise it, out of fold it cannot."""
    vectors = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4 + [[1.0, 0.0]])
    labels = ["A"] * 4 + ["B"] * 5
    codes, probability = classifiers.cross_validated(vectors, labels, folds=4, seed=0)
    assert codes[probability.argmax(axis=1)].tolist() == ["A"] * 4 + ["B"] * 4 + ["A"]
    assert probability.sum(axis=1) == pytest.approx(np.ones(9)) and (probability.max(axis=1) > 0.5).all()


@pytest.mark.filterwarnings("error")
def test_cross_validated_takes_labels_with_fewer_examples_than_folds() -> None:
    labels = ["A"] * 6 + ["B"] * 2
    codes, probability = classifiers.cross_validated(np.eye(8), labels, folds=5, seed=0)
    assert codes.tolist() == ["A", "B"] and probability.shape == (8, 2)


def test_yes_no_fit_separates_and_needs_both_outcomes() -> None:
    weights, intercept = classifiers.fit_yes_no(np.array([[-1.0], [-2.0], [1.0], [2.0]]), [False, False, True, True])
    assert weights[0] > 0 and intercept == pytest.approx(0, abs=1e-3)
    with pytest.raises(ValueError, match="all 2 cases have the same label or outcome, {True}: two are needed"):
        classifiers.fit_yes_no(np.zeros((2, 1)), [True, True])


def test_only_the_similarity_rungs_are_proxies() -> None:
    assert set(classifiers.ARMS) - classifiers.PROXY_ARMS == {"constrained", "linear_probe"}


def test_every_arm_has_a_name_and_no_similarity_method_is_called_a_prompt() -> None:
    proxy, direct = (classifiers.WORDS["names"][evidence] for evidence in ("proxy", "direct"))
    assert set(proxy) == classifiers.PROXY_ARMS and set(classifiers.ARMS) <= set(direct)
    assert all("similarity" in name and "prompt" not in name for name in proxy.values())


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
        assert list(classifiers.ARMS[arm](task)) == ["DLV"]
        seen[arm] = chat.asked[0]
    assert "came late" not in seen["label_name"] and "came late" in seen["definition"]
    assert "the van was late" not in seen["definition"] and "the van was late" in seen["nearest_examples"]


@pytest.mark.parametrize(
    ("reply", "given"),
    [
        ("I cannot say", "I cannot say"),
        ("refund or bill", "refund or bill"),
        ("refund status", "refund status"),
        ("It is refund status.", "refund status"),
        (" refund\n", "refund"),
        ("refund, clearly refund", "refund"),
        ("refunds", "refunds"),
        ("", ""),
        ("no " * 50, ("no " * 50)[:80]),
    ],
)
def test_the_code_is_taken_from_a_reply_that_names_just_one(reply: str, given: str) -> None:
    codes = [Code(code=c, label=c, definition="") for c in ("refund", "bill", "refund status")]
    task = Task([], ["x"], codes, HashEmbeddings().encode, Parrot(reply))
    assert list(classifiers.ARMS["label_name"](task)) == [given]


# ------------------------------------------------------------------------------------------------- constrained output


class Server(BaseHTTPRequestHandler):
    """Speaks the OpenAI protocol: remembers what it was sent and replies from a list."""

    sent: list[dict[str, Any]]
    replies: list[str]

    def do_POST(self) -> None:
        self.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        message = {"role": "assistant", "content": self.replies[len(self.sent) - 1]}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        body |= {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    """A server on this machine; chat models find it by OPENAI_BASE_URL."""
    handler = type("Handler", (Server,), {"sent": [], "replies": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_constrained_output_sends_the_codes_as_a_schema_and_names_what_is_no_code(served: type[Server]) -> None:
    """A server that ignores the schema must not break the arm: what it wrote is kept and counts as wrong."""
    pytest.importorskip("langchain_openai")
    served.replies = ['{"chosen_code": "BIL"}', '{"chosen_code": "LOST"}', "the van", '["BIL", "DLV"]', '{"other": 1}', ""]
    texts = [f"the van was late {n}" for n in range(len(served.replies))]
    chat = chat_model("openai:some-model")
    given = list(by_constrained_output(Task(TRAIN, texts, CODES, HashEmbeddings().encode, chat)))
    assert given == ["BIL", '{"chosen_code": "LOST"}', "the van", '["BIL", "DLV"]', '{"other": 1}', ""]
    assert len(served.sent) == len(texts)
    wanted = served.sent[0]["response_format"]["json_schema"]
    assert wanted["strict"] is True and wanted["schema"]["additionalProperties"] is False
    assert wanted["schema"]["properties"]["chosen_code"]["enum"] == ["DLV", "BIL"]
    prompt = served.sent[0]["messages"][0]["content"]
    assert "the van came after the promised day" in prompt and "Text: van came late\nCode: DLV" in prompt


def test_constrained_output_is_not_applicable_without_a_chat_model() -> None:
    with pytest.raises(
        ValueError, match="'chosen_code' is n/a: .* Choose a profile with a chat model in settings.yaml"
    ):
        by_constrained_output(task("the van"))


class Held:
    """A chat model whose structured replies come from a list; an error is raised."""

    def __init__(self, *replies: object) -> None:
        self.replies = list(replies)

    def with_structured_output(self, schema: dict[str, Any], **_: Any) -> Runnable:
        def reply(_: object) -> object:
            said = self.replies.pop(0)
            if isinstance(said, Exception):
                raise said
            return said

        return RunnableLambda(reply)


def test_a_code_of_any_spelling_is_found_and_one_reply_cut_off_does_not_stop_the_arm() -> None:
    codes = [Code(code=c, label=c, definition="") for c in ("code", "R\u00fcckgabe")]
    chat = Held({"chosen_code": "code"}, RuntimeError("cut off"), {"chosen_code": "R\u00fcckgabe"})
    given = by_constrained_output(Task(TRAIN, ["a", "b", "c"], codes, HashEmbeddings().encode, chat))
    assert list(given) == ["code", "(no reply: cut off)", "R\u00fcckgabe"]
    with pytest.raises(ConnectionError):
        list(by_constrained_output(Task(TRAIN, ["a"], codes, HashEmbeddings().encode, Held(ConnectionError("gone")))))
