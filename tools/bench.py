"""The product measured: on this machine, or on anybody's files. Prints; never gates a test.

`python tools/bench.py` times every notebook, the first cited answer and the import, on the sample client in a scratch
folder. Its subcommands (`--help`) measure retrieval, answers and classification on files of any client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BUDGET = {"00": 10, "01": 10, "02": 10, "03": 30, "04": 60, "05": 150, "06": 5, "07": 60, "08": 210, "09": 30}


def timed(command: list[str]) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@app.callback(invoke_without_command=True)
def machine(context: typer.Context) -> None:
    """Print seconds beside the budget for each notebook, for `playbook ask` on a new folder, and for the import."""
    if context.invoked_subcommand:
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PLAYBOOK_ENGAGEMENTS"] = scratch
        idle = min(timed([sys.executable, "-c", "pass"]) for _ in range(5))
        imported = min(timed([sys.executable, "-c", "import playbook"]) for _ in range(5))
        print(f"import playbook        {imported - idle:6.2f} s  (budget 0.3)")
        asked = timed(
            [sys.executable, "-m", "playbook", "ask", "sample", "What is the monthly rent of a Larkrest 300?"]
        )
        print(f"first cited answer     {asked:6.1f} s  (budget 60, nothing indexed before)")
        from playbook import runner
        from playbook.engagement import open_engagement

        for step in runner.walk(open_engagement("sample"), again=True):
            print(f"{step.notebook:22} {step.seconds:6.1f} s  (budget {BUDGET[step.notebook[:2]]})", flush=True)
    subprocess.run([sys.executable, str(ROOT / "tools" / "bench_index.py")], cwd=ROOT, check=True)


@app.command()
def retrieval(
    folder: Annotated[Path, typer.Argument(help="A folder in BEIR layout: corpus.jsonl, queries.jsonl, qrels.tsv.")],
    as_json: Json = False,
) -> None:
    """Keyword, meaning and hybrid search on a BEIR folder; the hybrid weight comes from the other half of the queries."""
    import bench_files

    report(bench_files.retrieval(folder), as_json)


@app.command()
def answers(
    documents: Annotated[Path, typer.Argument(help="A folder of files.")],
    questions: Annotated[Path, typer.Argument(help="JSON Lines: question, must_contain, source, answerable.")],
    as_json: Json = False,
) -> None:
    """Cited answers and refusals on any folder with questions, beside a plain three-sentences baseline."""
    import bench_files

    report(bench_files.answers(documents, questions), as_json)


@app.command()
def classify(
    train: Annotated[Path, typer.Argument(help="CSV with text and label, to learn from.")],
    test: Annotated[Path, typer.Argument(help="CSV with text and label, to be judged on.")],
    lora: Annotated[bool, typer.Option(help="Train an adapter too; minutes on a CPU.")] = True,
    as_json: Json = False,
) -> None:
    """Codes for texts: label names, nearest labelled texts, a linear classifier, an adapter; exact paired tests.

    Texts are embedded once for all arms, but an arm's seconds count the embedding of every text it needs, its learning
    and its coding of the whole test, as if it had run alone. Loading the embedder is left out; the adapter's own copy of
    it is counted.
    """
    import bench_classify

    figures = bench_classify.classification(train, test, lora)
    tests = figures.pop("tests")
    if as_json:
        named = ("accuracy", "macro_f1", "seconds")
        figures = {arm: found and {name: found[name] for name in named} for arm, found in figures.items()}
    report(figures, as_json)
    for t in [] if as_json else tests:
        print(f"{t.first} / {t.second}: {t.wins} wins, {t.losses} losses, p {t.p_adjusted:.2g} (Holm): {t.verdict}")


def report(figures: dict[str, Any], as_json: bool) -> None:
    """Print figures as one JSON object or as a table, one line a figure or group of figures."""
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        shown = "  ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name:24} {shown}")


if __name__ == "__main__":
    try:
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"playbook bench: {error}")
