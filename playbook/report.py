"""Artifacts to the client's decision record: one self-contained HTML file, readable without a script.

Renders what it is given through a Jinja2 template with escaping on; decides nothing and computes nothing. Client text
is data here: it can never become markup.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from playbook.engagement import write_atomic
from playbook.models import TABLES


def render(parts: Mapping[str, Any]) -> str:
    """The decision record as HTML from the artifacts' models; raises jinja2's UndefinedError for a missing part."""
    blanks = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(TABLES), autoescape=True, undefined=StrictUndefined, **blanks)
    environment.filters["words"] = _words
    environment.filters["p_value"] = lambda p: f"p {p:.3f}" if p >= 0.001 else "p below 0.001"
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    environment.filters["money"] = lambda amount: f"{amount:,.0f}"
    return environment.get_template("report.html.j2").render(**parts)


def _words(text: object) -> str:
    """Names of columns and options as a reader writes them."""
    plain = str(text).replace("_", " ")
    return re.sub(r"\b(rag|lora)\b", lambda m: {"rag": "RAG", "lora": "LoRA"}[m.group()], plain)


def write_report(path: Path, parts: Mapping[str, Any]) -> Path:
    """Render and write the record atomically; returns its path."""
    return write_atomic(path, render(parts))
