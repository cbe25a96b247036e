"""The sample client's behaviour examples, fact changes, erasure requests and raw exports say what they claim.

Each failure names file, row and rule.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

DATA = Path(__file__).parents[1] / "data"
CLIENT, SOURCES, RAW = DATA / "sample_client", DATA / "sources", DATA / "raw_exports"
SCHEMA = json.loads((CLIENT / "order_form.schema.json").read_text(encoding="utf-8"))


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CLIENT / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "least", "held_out"), [("order_forms.jsonl", 300, 60), ("house_voice.jsonl", 200, 60)]
)
def test_pairs_are_chat_messages_with_enough_held_out(name: str, least: int, held_out: int) -> None:
    pairs = lines(name)
    assert len(pairs) >= least and sum(p["split"] == "held_out" for p in pairs) >= held_out, f"{name}: too few pairs"
    assert len({p["id"] for p in pairs}) == len(pairs), f"{name}: repeated id"
    assert len({p["messages"][0]["content"].lower() for p in pairs}) == len(pairs), f"{name}: repeated message"
    for pair in pairs:
        roles = [m["role"] for m in pair["messages"]]
        assert roles == ["user", "assistant"], f"{name} {pair['id']}: roles {roles}"
        words = len(pair["messages"][0]["content"].split())
        assert 3 <= words <= 90, f"{name} {pair['id']}: the message has {words} words"


@pytest.mark.parametrize("pair", lines("order_forms.jsonl"), ids=lambda p: p["id"])
def test_order_forms_fit_the_schema(pair: dict[str, Any]) -> None:
    form = json.loads(pair["messages"][1]["content"])
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    problems = [f"{list(e.path)}: {e.message}" for e in validator.iter_errors(form)]
    assert not problems, f"order_forms.jsonl {pair['id']}: {problems[0]}"


def test_the_schema_refuses_what_the_old_system_would_refuse() -> None:
    form = json.loads(lines("order_forms.jsonl")[0]["messages"][1]["content"])
    for wrong in (form | {"colour": "red"}, {k: v for k, v in list(form.items())[1:]}):
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(wrong)


def test_house_voice_replies_keep_the_rules_that_need_no_context() -> None:
    rules = yaml.safe_load((CLIENT / "style_rules.yaml").read_text(encoding="utf-8"))["rules"]
    assert len({r["id"] for r in rules}) == len(rules) >= 15, "style_rules.yaml: ids"
    longest = next(r for r in rules if r["kind"] == "max_words_per_sentence")["limit"]
    for pair in lines("house_voice.jsonl"):
        reply = pair["messages"][1]["content"]
        assert "unfortunately" not in reply.lower(), f"house_voice.jsonl {pair['id']}: 'unfortunately'"
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", reply):
            assert len(sentence.split()) <= longest + 2, f"house_voice.jsonl {pair['id']}: long sentence: {sentence}"


def test_stale_facts_stand_once_in_their_source() -> None:
    facts = lines("stale_facts.jsonl")
    assert len(facts) >= 40, f"stale_facts.jsonl: {len(facts)} facts"
    for fact in facts:
        text = (SOURCES / fact["source"]).read_text(encoding="utf-8")
        assert text.count(fact["old_text"]) == 1, f"stale_facts.jsonl {fact['id']}: old_text not exactly once"
        assert fact["old_answer"] != fact["new_answer"] and fact["old_text"] != fact["new_text"]
        assert len(fact["paraphrases"]) >= 2, f"stale_facts.jsonl {fact['id']}: paraphrases"


def test_erasure_requests_name_every_source() -> None:
    requests = lines("erasure_requests.jsonl")
    assert len(requests) >= 15
    for request in requests:
        held = {
            path.name
            for path in SOURCES.iterdir()
            if any(word.lower() in path.read_text(encoding="utf-8").lower() for word in request["forbidden"])
        }
        assert held == set(request["sources"]) != set(), f"erasure_requests.jsonl {request['id']}: sources differ"


@pytest.mark.parametrize(("name", "encoding"), [("raw_export_a", "utf-8"), ("raw_export_b", "cp1252")])
def test_keys_of_the_raw_exports_point_at_rows_that_are_there(name: str, encoding: str) -> None:
    delimiter = "," if name.endswith("a") else ";"
    with (RAW / f"{name}.csv").open(encoding=encoding, newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter))[1:]
    with (RAW / f"{name}_key.csv").open(encoding="utf-8", newline="") as file:
        keys = list(csv.DictReader(file))
    assert len(rows) >= 400 and len({k["defect"] for k in keys}) >= 8
    for key in keys:
        assert 1 <= int(key["row"]) <= len(rows), f"{name}_key.csv: row {key['row']} does not exist"
    text = "\n".join(" ".join(r) for r in rows)
    for domain in re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", text):
        assert domain.endswith(".example"), f"{name}.csv: mail domain {domain}"
