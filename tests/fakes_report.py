"""What notebook 09 hands to the record, from the committed sample run, and the same with a hostile string everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from playbook.answering import Answer, Citation
from playbook.arms import Output
from playbook.attribution import FIX
from playbook.diagnosis import DiagnosisResult
from playbook.economics import EconomicsResult
from playbook.engagement import Settings
from playbook.results import (
    DecisionResult,
    GateResult,
    LoraResult,
    MeasurementResult,
    PlanResult,
    RagResult,
    TrainingDataResult,
)

RUN = Path(__file__).parents[1] / "data" / "sample_run"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
LISTS = "context drivers consequences could could_not collect".split()
PASSAGE = "Returns are easy. A bed goes back within 14 days. Bring the form."
CASE = {
    "tokens_saved": 600.0, "calls_per_month": 2600.0, "price_per_million": 1.25, "upfront": 700.0, "cadence_months": 3.5,
    "cost_per_base": 20.0, "prompt_tokens": 900.0, "premium": 0.5,
}  # fmt: skip
TABLES = {
    "options": {
        "use case": "answers",
        "option": "do nothing",
        "right": "not measured",
        "cost": "912 USD",
        "said": "As today.",
    },
    "confirmation": {"what": "right answers", "target": "60 %", "by": "2027-01-31", "who": "Odile Brandt"},
    "raci": {"task": "index", "responsible": "to be named", "accountable": "Odile", "consulted": "-", "informed": "-"},
    "roadmap": {
        "stage": "pilot",
        "what": "ten people",
        "time": "2 to 4 weeks",
        "cost": "5,000 USD",
        "source": "our estimate",
    },
    "predictions": {"statement": "It answers 60 %", "Odile Brandt": "90 %", "happened": "no"},
    "budget": {"after": "03", "said": "Spent 2,000 of 60,000 USD."},
    "sign_off": {"role": "pays", "name": "Odile Brandt"},
}


def _kept(name: str, model: type[BaseModel]) -> Any:
    result = json.loads((RUN / f"{name}.json").read_text(encoding="utf-8"))["result"]
    return model.model_validate({field: value for field, value in result.items() if field in model.model_fields})


def sample_parts() -> dict[str, Any]:
    """A whole record, short: few assumptions, one answer with its passage, every section filled."""
    measured, lora = _kept("05_measurements", MeasurementResult), _kept("08_lora", LoraResult)
    economics = _kept("02_economics", EconomicsResult)
    lists = {name: (f"About {name}: 7 things.",) for name in LISTS} | {"stale": ()}
    tables = {name: (row,) for name, row in TABLES.items()}
    update = {"lists": lists, "tables": tables, "because": {"answers": "the search won 59 of 73"}}
    cited = Citation(source="returns.md", place="Returns", passage_id="p1", start=18, end=49, quote=PASSAGE[18:49])
    answer = Answer(
        question="How long may a bed go back?", text=PASSAGE[18:49], citations=(cited,), refused=False, reason="", confidence=0.9,
        draft=PASSAGE[18:49], passage_ids=("p1",), tokens=9, milliseconds=1.0,
    )  # fmt: skip
    output = Output(item="q900", arm="hybrid", output=answer.text, expected="14 days", correct=True)
    return {
        "client": "acme",
        "seal": "",
        "settings": Settings(title="Acme", as_of="2026-11-01", participants=("Odile Brandt",)),
        "decision": _kept("09_decision", DecisionResult).model_copy(update=update),
        "diagnosis": _kept("01_diagnosis", DiagnosisResult),
        "economics": economics.model_copy(
            update={"assumptions": economics.assumptions[:8], "options": economics.options[:3]}
        ),
        "plan": _kept("03_plan", PlanResult),
        "rag": _kept("04_rag", RagResult),
        "measured": measured.model_copy(update={"outputs": ()}),
        "behaviour_scores": lora.scores,
        "behaviour_tests": (*measured.behaviour_tests, *lora.tests),
        "lora": lora.model_copy(update={"outputs": ()}),
        "gates": (_kept("06_gate", GateResult).gate, _kept("07_training_data", TrainingDataResult).gate),
        "fixes": FIX,
        "figures": {"arms": PIXEL, "costs": PIXEL, "causes": PIXEL},
        "evidence": ({"output": output, "answer": answer},),
        "passages": {"p1": PASSAGE},
        "waits": {"hybrid": 13.4, "linear_probe": 0.2},
        "break_even": {"ticket_codes": CASE},
    }


def poisoned(value: Any, evil: str) -> Any:
    """The same value with a hostile string after every string, keys of mappings included, so that look-ups still fit."""
    if isinstance(value, str):
        return value + evil
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return value.model_copy(update={name: poisoned(getattr(value, name), evil) for name in fields})
    if isinstance(value, dict):
        return {poisoned(key, evil): poisoned(item, evil) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(poisoned(item, evil) for item in value)
    return value


CLIENTS = tuple(
    "settings decision diagnosis economics rag measured behaviour_scores behaviour_tests lora gates evidence passages waits "
    "break_even".split()
)
CODE = {  # names that code looks up, which no file of a client can choose
    "decision": ("lists", "tables", "diagnoses", "expires"),
    "measured": ("knowledge_causes", "behaviour_causes"),
}


def hostile(parts: dict[str, Any], names: tuple[str, ...], evil: str) -> dict[str, Any]:
    """The parts with the named ones poisoned; what code looks up by name keeps its names."""
    changed = parts | {
        name: poisoned(parts[name], evil) for name in names if name not in ("evidence", "passages", "break_even")
    }
    for part, fields in CODE.items():
        changed[part] = changed[part].model_copy(update={f: getattr(parts[part], f) for f in fields})
    if "decision" in names:
        kept = parts["decision"]
        filled = {"lists": kept.lists | {"stale": ("The price changed.",)}, "tables": kept.tables}
        again = {field: {name: poisoned(rows, evil) for name, rows in held.items()} for field, held in filled.items()}
        changed["decision"] = changed["decision"].model_copy(update=again)
    word = f"untested{evil if 'decision' in names else ''}"
    marks = {v.use_case: word for v in changed["diagnosis"].verdicts}
    changed["decision"] = changed["decision"].model_copy(update={"diagnoses": marks, "because": marks})
    rag = {"files": parts["rag"].files, "rejected": {f"a{evil}": f"b{evil}"} if "rag" in names else {}}
    changed["rag"] = changed["rag"].model_copy(update=rag)
    if "evidence" in names:
        changed["evidence"] = tuple({k: poisoned(v, evil) for k, v in one.items()} for one in parts["evidence"])
    keyed = {poisoned(key, evil) if "evidence" in names else key: text for key, text in parts["passages"].items()}
    changed["passages"] = {key: text + evil if "passages" in names else text for key, text in keyed.items()}
    if "break_even" in names:
        changed["break_even"] = {poisoned(name, evil): case for name, case in parts["break_even"].items()}
    return changed
