"""Artifacts to the client's decision record: one self-contained HTML file, readable without a script.

Renders what it is given through a Jinja2 template with escaping on; decides nothing and computes nothing. Client text
is data here: it can never become markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from playbook.engagement import write_atomic
from playbook.models import TABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_uri(figure: Figure) -> str:
    """A matplotlib figure as a PNG data URI (150 dpi), without the metadata that would differ between runs."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def render(parts: Mapping[str, Any]) -> str:
    """The decision record as HTML from the artifacts' models; raises jinja2's UndefinedError for a missing part."""
    environment = Environment(
        loader=FileSystemLoader(TABLES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    environment.filters["money"] = lambda amount: f"{amount:,.0f}"
    return environment.get_template("report.html.j2").render(**parts)


def write_report(path: Path, parts: Mapping[str, Any]) -> Path:
    """Render and write the record atomically; returns its path."""
    return write_atomic(path, render(parts))
