"""Forms from messages and replies by the style guide: what is filled, what is refused, and that every measure can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda

from playbook import structured
from playbook.arms import StyleGuide, StyleRule, style_violations
from playbook.checked import load
from playbook.items import Example
from playbook.structured import FormRules

CLIENT = Path(__file__).parents[1] / "data" / "sample_client"
GUIDE = load(StyleGuide, CLIENT / "style_rules.yaml")
RULES = load(FormRules, CLIENT / "order_form.rules.yaml")
SCHEMA = json.loads((CLIENT / "order_form.schema.json").read_text(encoding="utf-8"))
SMALL = {
    "title": "Small form",
    "type": "object",
    "additionalProperties": False,
    "required": ["day", "number", "stairs"],
    "properties": {
        "day": {"type": "string", "format": "date"},
        "number": {"type": "integer"},
        "stairs": {"type": "boolean"},
    },
}
RIGHT = {"day": "2026-07-14", "number": 1, "stairs": True}
FORMS = [
    Example(id="f1", split="tune", text="one", label=json.dumps(RIGHT)),
    Example(id="f2", split="tune", text="two", label=json.dumps(RIGHT)),
]


def line(**changed: Any) -> str:
    pair = [{"role": "user", "content": "a bed please"}, {"role": "assistant", "content": json.dumps(RIGHT)}]
    return json.dumps({"id": "f1", "split": "train", "messages": pair, **changed})


# ------------------------------------------------------------------------------------------------------------- forms


def test_forms_are_read_and_without_a_file_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "forms.jsonl"
    assert structured.load_forms(path) == []
    path.write_text(line() + "\n", encoding="utf-8")
    assert structured.load_forms(path) == [
        Example(id="f1", split="train", text="a bed please", label=json.dumps(RIGHT))
    ]


@pytest.mark.parametrize(
    "damaged",
    [
        '{"id": "f2"',
        "[1]",
        "",
        line(messages=[]),
        line(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "[1, 2]"}]),
        line(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "not JSON"}]),
        line(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": "{}"}]),
        line(split=""),
        line(split="dev"),
        line(messages=[{"role": "user"}, {"role": "assistant", "content": "{}"}]),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "forms.jsonl"
    path.write_text(f"{line()}\n{damaged}\n{line()}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"forms\.jsonl line 2 is damaged .*write \{\"id\", \"split\""):
        structured.load_forms(path)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (json.dumps(RIGHT), []),
        ("the form is: {", ["not JSON: Expecting value: line 1 column 1 (char 0)"]),
        ("[]", ["$: [] is not of type 'object'"]),
        (json.dumps(RIGHT | {"day": "2026-02-30"}), ["$.day: '2026-02-30' is not a 'date'"]),
        (json.dumps(RIGHT | {"number": "1"}), ["$.number: '1' is not of type 'integer'"]),
        (json.dumps({"day": "2026-07-14", "number": 1}), ["$: 'stairs' is a required property"]),
    ],
)
def test_what_the_schema_refuses_is_listed(output: str, said: list[str]) -> None:
    assert structured.form_violations(output, SMALL) == said


def test_the_measures_of_a_form_can_fail_one_by_one() -> None:
    replies = {
        "all right": RIGHT,
        "one field": RIGHT | {"number": 2},
        "wrong types": {"day": "2026-07-14", "number": True, "stairs": 1},
        "one more": RIGHT | {"colour": "red"},
        "one less": {"day": "2026-07-14", "number": 1},
        "no form": None,
    }
    outputs = [
        row
        for arm, reply in replies.items()
        for row in structured.fill_forms(arm, FORMS, SMALL, lambda _, reply=reply: (json.dumps(reply), 7))
    ]
    found = {
        score["arm"]: tuple(score[part].hits for part in ("exact", "valid", "fields"))
        for score in structured.score_forms(outputs, SMALL)
    }
    assert found == {
        "all right": (2, 2, 6),
        "one field": (0, 2, 4),
        "wrong types": (0, 0, 2),
        "one more": (0, 0, 6),
        "one less": (0, 0, 4),
        "no form": (0, 0, 0),
    }
    first = structured.score_forms(outputs, SMALL)[1]
    assert {name: share.hits for name, share in first["by_field"].items()} == {"day": 2, "number": 0, "stairs": 2}
    share = first["fields"]
    assert share.n == 6 and 0 < share.low < share.share < share.high < 1
    assert (outputs[0].item, outputs[0].tokens, outputs[0].evidence, outputs[0].correct) == ("f1", 7, "direct", True)
    assert json.loads(outputs[0].expected) == RIGHT
    assert structured.score_forms([], SMALL) == []


# ----------------------------------------------------------------------------------------------------- pattern rules


Ways = list[tuple[Any, ...]]  # (pattern, value, unless)


def filled(text: str, written: str = "", **fields: Ways) -> dict[str, Any]:
    data = {"instructions": "", "words": {"july": 7, "two": 2}, "names": {"month": "(july)"}, "fields": fields}
    rules = FormRules.model_validate(data | {"written": dict.fromkeys(fields, written) if written else {}})
    output, tokens = structured.pattern_rules(rules)(text)
    assert tokens == 0
    return json.loads(output)


def test_the_first_way_that_matches_fills_the_field() -> None:
    ways: Ways = [("loan", "LOAN", "no loan"), ("rent", "RENT")]
    assert [filled(text, kind=ways)["kind"] for text in ("LOAN or rent", "no loan, rent", "no loan")] == [
        "LOAN", "RENT", None,
    ]  # fmt: skip


def test_groups_go_through_the_words_and_the_value() -> None:
    way = (r"(\d+) <month> (20\d\d)", "{3}-{2:0>2}-{1:0>2}")
    assert filled("on 8 July 2026", day=[way]) == {"day": "2026-07-08"}
    assert filled("two beds", "number", n=[("(two|three) beds", "{1}")]) == {"n": 2}
    assert filled("a cx-18", "upper", part=[(r"cx-\d\d", "{0}")]) == {"part": "CX-18"}
    assert filled("To The Door", "lower", note=[("to (the door)", "{1}")]) == {"note": "the door"}
    assert filled("no stairs", stairs=[("no stairs", False)]) == {"stairs": False}


def test_a_way_can_ask_for_a_field_filled_earlier_and_helpers_stay_out_of_the_form() -> None:
    fields: dict[str, Ways] = {"_bed": [("bed", "{0}")], "kind": [("^_bed: bed$", "RENT")]}
    assert filled("a cot please", **fields) == {"kind": None}
    assert filled("a bed please", **fields) == {"kind": "RENT"}


@pytest.mark.parametrize(
    ("way", "written"), [(("(bed", "x"), ""), (("bed", "{2}"), ""), (("<town>", "x"), ""), (("be(d)", "{1}"), "number")]
)
def test_a_way_that_cannot_work_is_named(way: tuple[Any, ...], written: str) -> None:
    with pytest.raises(ValueError, match="pattern '.+' fails .*correct it in the form's rules"):
        filled("a bed", written, part=[way])


@pytest.mark.parametrize("way", ["['bed']", "[5, RENT]", "[bed, RENT, none, more]", "{pattern: bed}"])
def test_a_way_of_another_shape_is_refused_with_its_line(tmp_path: Path, way: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f"instructions: ''\nwords: {{}}\nnames: {{}}\nfields:\n  kind:\n    - {way}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"rules\.yaml, line [56]: 'fields\.kind\.0"):
        load(FormRules, path)


def test_the_sample_rules_fill_the_fields_of_the_schema_in_its_order() -> None:
    message = (
        "wo-231999, twelfth of July 2026. Clinic C0041208 loans 2 cx-18, morning, stairs. attn front desk. Kestrel"
    )
    output, _ = structured.pattern_rules(RULES)(message)
    assert json.loads(output) == {
        "order_no": "WO-231999", "order_date": "2026-07-12", "depot": "KR", "customer_type": "CLIN",
        "contract_no": "C0041208", "part": "CX-18", "quantity": 2, "kind": "RENT", "window": "W1", "stairs": True,
        "note": "attn front desk",
    }  # fmt: skip
    assert list(json.loads(output)) == SCHEMA["required"]
    assert structured.form_violations(output, SCHEMA) == []


def test_the_sample_rules_are_a_serious_baseline_on_the_training_pairs() -> None:
    forms = [form for form in structured.load_forms(CLIENT / "order_forms.jsonl") if form.split == "train"]
    fill = structured.pattern_rules(RULES)
    (score,) = structured.score_forms(structured.fill_forms("pattern_rules", forms, SCHEMA, fill), SCHEMA)
    assert score["exact"].n == 248 and score["exact"].share > 0.8 and score["valid"].share > 0.95
    assert min(score["by_field"].values(), key=lambda share: share.share) == score["by_field"]["note"]


# -------------------------------------------------------------------------------------------------- schema, with chat


class ToolChat(BaseChatModel):
    """Answers with one call of the tool it was bound to, or with text; keeps what it was asked."""

    arguments: dict[str, Any] | None
    asked: list[Any] = []

    @property
    def _llm_type(self) -> str:
        return "tool"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable:
        self.asked.append(tools[0])
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        self.asked.append([(m.type, m.content) for m in messages])
        calls = [] if self.arguments is None else [{"name": "form", "args": self.arguments, "id": "1"}]
        used = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}
        known = {"usage_metadata": used, "response_metadata": {"model_name": "fake"}}
        message = AIMessage("" if calls else "I cannot say", tool_calls=calls, **known)
        return ChatResult(generations=[ChatGeneration(message=message)])


def test_a_chat_model_is_held_to_the_schema_and_told_the_instructions() -> None:
    chat = ToolChat(arguments=RIGHT)
    rows = structured.fill_forms(
        "schema_constrained", FORMS[:1], SMALL, structured.schema_constrained(chat, SMALL, "Fill it.")
    )
    assert [(row.correct, row.tokens, json.loads(row.output)) for row in rows] == [(True, 42, RIGHT)]
    held, asked = chat.asked
    assert held == {**SMALL, "title": "form"}
    assert asked == [("system", "Fill it."), ("human", "one")]


class TextChat:
    """Like a provider that parses the model's text itself; `says` is the text, or the error of the call."""

    def __init__(self, says: str | Exception) -> None:
        self.says = says

    def with_structured_output(self, schema: dict[str, Any], **_: Any) -> Runnable:
        def reply(_: Any) -> str:
            if isinstance(self.says, Exception):
                raise self.says
            return self.says

        return RunnableLambda(reply) | JsonOutputParser()


class LengthError(Exception):
    """What a provider may raise for a reply that was cut off."""


class ServerError(Exception):
    """What a provider may raise when the server refuses the call."""

    status_code = 404


@pytest.mark.parametrize(
    ("chat", "output"),
    [
        (ToolChat(arguments=None), "null"),
        (ToolChat(arguments=RIGHT | {"day": "14 July"}), '{"day": "14 July", "number": 1, "stairs": true}'),
        (TextChat("I cannot say"), "I cannot say"),
        (TextChat(LengthError("cut off")), "(no reply: cut off)"),
    ],
)
def test_what_the_chat_model_gets_wrong_is_kept_and_counts_as_wrong(chat: Any, output: str) -> None:
    fill = structured.schema_constrained(chat, SMALL, "")
    (row,) = structured.fill_forms("schema_constrained", FORMS[:1], SMALL, fill)
    assert (row.correct, row.output) == (False, output)
    assert structured.form_violations(row.output, SMALL)


@pytest.mark.parametrize("error", [ConnectionError("no server"), ServerError("no such model")])
def test_a_server_that_cannot_be_asked_is_no_wrong_answer(error: Exception) -> None:
    with pytest.raises(type(error)):
        structured.schema_constrained(TextChat(error), SMALL, "")("a bed")


def test_without_a_chat_model_the_arm_is_not_available() -> None:
    with pytest.raises(ValueError, match="'form' is n/a: .* Choose a profile with a chat"):
        structured.schema_constrained(None, SMALL, "")


# ------------------------------------------------------------------------------------------------------------- style

GOOD = (
    "Dear Ms. Hale,\n\nI am sorry that your father slept on a flat mattress last night. A pump was left on our van.\n\n"
    "Ruta, our technician, brings it on her first stop, planned for Wednesday, March 4. She fills the mattress and waits "
    "until it is firm.\n\nMarisol Achterberg looks after this, 614-555-0124. You will hear from her by noon, planned for "
    "the same day. Your number is CF-2207.\n\nKind regards,\nXimena Roldan\nFennmoor service desk, 614-555-0120"
)
HOUSE = GOOD.replace("Ms. Hale", "team at Harrow Glen").replace("A pump", "This is P2, picked up at 9:14. A pump")
CALM = GOOD.replace("I am sorry that your", "Your").replace(" Your number is CF-2207.", "")
LONG = "The van is late. " * 40
BROKEN = {  # rule -> (a reply that keeps every rule, what to replace, by what)
    "HV01": (CALM, "on our van", "on our van" + " and then on another van" * 4),
    "HV01-ES": (CALM, "A pump was left on our van.", "Gracias. " + "La bomba " * 14 + "llega."),
    "HV02": (CALM, "van.", "van. It is. It was. It is."),
    "HV03": (CALM, "on our van.", "on our van.\n\n" + "\n\n".join([LONG[:68].strip()] * 8)),
    "HV03-ORG": (HOUSE, "on our van.", "on our van.\n\n" + "\n\n".join([LONG[:68].strip()] * 11)),
    "HV05": (CALM, "firm.", "firm!"),
    "HV06": (CALM, "firm.", "firm? Right? Right?"),
    "HV07": (CALM, "flat", "FLAT"),
    "HV08a": (GOOD, "firm.", "firm. We are sorry."),
    "HV08b": (CALM, "firm.", "firm. We are sorry."),
    "HV09": (CALM, "stop, planned for", "stop on"),
    "HV10": (CALM, "614-555-0124", "614-555-0199"),
    "HV11a": (CALM, "firm.", "firm: my.fennmoor.example or my.fennmoor.example/pay."),
    "HV11b": (CALM, "firm.", "firm: https://shop.example/pay."),
    "HV12": (CALM, "firm.", "firm.\n\n- Open it."),
    "HV13": (CALM, "Ms. Hale", "Hale"),
    "HV14": (CALM, "Your father", "Hello there, your father"),
    "HV15": (CALM, "desk, 614-555-0120", "desk"),
    "HV16": (CALM, "Your father", "Most sincerely, your father"),
    "HV17": (CALM, "Your father", "Unfortunately your father"),
    "HV18": (CALM, "Your father", "The patient"),
    "HV19": (CALM, "firm.", "firm but soft but dry."),
    "HV20": (CALM, "Your father", "However, your father"),
    "HV21": (GOOD, "I am sorry that your father slept", "Hello. He is well. I am sorry that he slept"),
    "HV22": (GOOD, "You will hear from her by noon", "She calls you by noon"),
    "HV23": (GOOD, "last night.", "last night, CF-2207."),
    "HV24": (CALM, "firm.", "firm for $5."),
    "HV25": (CALM, "firm.", "firm by 3/4."),
    "HV26": (CALM, "firm.", "firm by 3 pm."),
    "HV27": (CALM, "firm.", "firm for 80 kg."),
    "HV28": (CALM, "firm.", "firm: 614 555-0120."),
    "HV29": (HOUSE, "P2, picked up at 9:14", "P2"),
}


@pytest.mark.parametrize("reply", [GOOD, HOUSE, CALM, f"Subject: the bed and its pump\n\n{CALM}"])
def test_a_good_reply_keeps_every_rule(reply: str) -> None:
    assert style_violations(reply, GUIDE) == []


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_of_the_house_voice_can_be_broken_alone(rule: str) -> None:
    reply, old, new = BROKEN[rule]
    assert old in reply
    spoilt = reply.replace(old, new, 1)
    if rule == "HV23":
        spoilt = spoilt.replace(" Your number is CF-2207.", "")
    assert style_violations(spoilt, GUIDE) == [rule]


def test_a_subject_line_has_a_rule_and_every_rule_is_tried_here() -> None:
    assert style_violations(f"Subject: bed\n\n{CALM}", GUIDE) == ["HV04"]
    assert {rule.id for rule in GUIDE.rules} == {*BROKEN, "HV04"}


def test_when_looks_at_the_whole_reply_and_patterns_at_the_scope() -> None:
    common = {"id": "R", "words": "", "scope": "sentence", "patterns": ["pump"]}

    def breaks(text: str, **more: Any) -> bool:
        guide = StyleGuide(around=r"\ADear .*\n+|\n+Bye\Z", rules=(StyleRule(**common | more),))
        return bool(style_violations(text, guide))

    text = "Dear A,\n\nThe bed is here. The pump is not.\n\nBye"
    assert breaks(text) and not breaks(text.replace("The pump", "It"))
    assert breaks(text, when="bed") and not breaks(text, when="cot")
    assert breaks(text, when=r"\A(?![\s\S]*cot)") and not breaks(text, when=r"\A(?![\s\S]*bed)")
    assert breaks(text.replace("pump", "Pump"))
    assert not breaks(text.replace("pump", "Pump"), patterns=["(?-i:pump)"])
    assert breaks(text, times=(2, 9)) and not breaks(text.replace("The bed", "The pump"), times=(1, 1))
    assert not breaks("Dear pump,\n\nThe bed is here.\n\nBye")


def test_different_counts_equal_wordings_once_and_a_sentence_is_a_line() -> None:
    twice = StyleRule(id="R", words="", scope="lines", patterns=["pump"], times=(2, 2))

    def breaks(text: str, **more: Any) -> bool:
        return bool(style_violations(text, StyleGuide(rules=(twice.model_copy(update=more),))))

    assert not breaks("A pump. A Pump.") and breaks("A pump. A Pump.", different=True)
    once = {"patterns": StyleRule(**twice.model_dump() | {"patterns": [r"^\S+ \S+ \S"]}).patterns}
    assert not breaks("The bed is\nhere. No. It is not.", **once) and breaks("The bed is here. No.", **once)
