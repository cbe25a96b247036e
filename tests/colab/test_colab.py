"""What Colab has preinstalled stays as it is: the project resolves for its Python within a list of its versions.

Needs the network (a package index) and uv, so it is run by `make colab`, not by the unit tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FREEZE = Path(__file__).with_name("freeze.txt")  # Colab's list of 2026-08-19, Python 3.13
OF_TORCH = re.compile("nvidia-|cuda-|triton")  # what torch brings; Colab has a build of its own
IPYTHON = {"jedi"}  # asked for by the preinstalled ipython itself


def versions(text: str) -> dict[str, str]:
    rows = (line.strip().lower().replace("_", "-").split("==") for line in text.splitlines() if "==" in line)
    return {name: version for name, version in rows}


@pytest.fixture(scope="module")
def resolved() -> dict[str, str]:
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--python-version", "3.13"]
    where = ["--python-platform", "x86_64-manylinux_2_28", "-c", str(FREEZE), "--no-header", "--no-annotate", "-q"]
    done = subprocess.run([*command, *where], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return versions(done.stdout)


def test_nothing_preinstalled_changes(resolved: dict[str, str]) -> None:
    there = versions(FREEZE.read_text())
    assert len(there) > 600 and len(resolved) > 100
    assert {name: version for name, version in resolved.items() if there.get(name, version) != version} == {}


def test_the_set_up_cell_installs_exactly_what_is_missing(resolved: dict[str, str]) -> None:
    there = versions(FREEZE.read_text())
    missing = {name for name in resolved if name not in there and not OF_TORCH.match(name)} - IPYTHON
    lines = (ROOT / "requirements-colab.txt").read_text().splitlines()
    listed = {re.match("[a-z0-9-]+", line)[0] for line in lines if line and not line.startswith("#")}
    assert missing - listed <= {"pytrec-eval-terrier", "xlsxwriter"}, "these come as dependencies of listed ones"
    assert listed <= missing
