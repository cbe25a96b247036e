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
import sample_rules as rules
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
    messages = {p["id"]: p["messages"][0]["content"] for p in pairs}
    violations = rules.length_violations(name, messages, 3, 90)
    assert not violations, violations


@pytest.mark.parametrize("name", ["order_forms.jsonl", "house_voice.jsonl"])
def test_no_held_out_message_stands_among_the_training_pairs(name: str) -> None:
    sides: dict[str, dict[str, str]] = {"train": {}, "held_out": {}}
    for pair in lines(name):
        assert pair["split"] in sides, f"{name} {pair['id']}: split is '{pair['split']}', wanted train or held_out"
        sides[pair["split"]][pair["id"]] = pair["messages"][0]["content"]
    violations = rules.copy_violations(name, sides["held_out"], sides["train"])
    assert not violations, violations


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
    assert len(requests) >= 15, f"erasure_requests.jsonl: {len(requests)} requests, 15 wanted"
    for request in requests:
        held = {
            path.name
            for path in SOURCES.iterdir()
            if any(word.lower() in path.read_text(encoding="utf-8").lower() for word in request["forbidden"])
        }
        assert held == set(request["sources"]) != set(), f"erasure_requests.jsonl {request['id']}: sources differ"


EXPORTS = {"raw_export_a": ("utf-8", ",", 2, 3), "raw_export_b": ("cp1252", ";", 1, 2)}  # ... column of text and code


@pytest.mark.parametrize("name", EXPORTS)
def test_keys_of_the_raw_exports_are_true(name: str) -> None:
    encoding, delimiter, text, code = EXPORTS[name]
    with (RAW / f"{name}.csv").open(encoding=encoding, newline="") as file:
        rows = [(cells[text], cells[code]) for cells in csv.reader(file, delimiter=delimiter)][1:]
    keys, tickets, codes = (
        rows_of(RAW / f"{name}_key.csv"),
        rows_of(CLIENT / "examples.csv"),
        rows_of(CLIENT / "codebook.csv"),
    )
    assert len(rows) >= 400, f"{name}.csv: {len(rows)} rows, 400 wanted"
    missing = set(rules.DEFECTS) - {key["defect"] for key in keys} - {"misspelt_code"}
    assert not missing, f"{name}_key.csv: no row with {sorted(missing)}"
    by_id, known = {row["id"]: row for row in tickets}, {row["code"] for row in codes}
    violations = rules.key_violations(f"{name}_key.csv", rows, keys, by_id, known)
    assert not violations, "\n".join([f"{len(violations)} violation(s)", *violations[:20]])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
