"""The command line: new, run, index, ask, verify, recheck, bench. Thin: checks, calls, and one clear sentence when something is wrong.

Nothing is computed here that a notebook could not compute with the same functions.
"""

import errno
import subprocess
import sys
import traceback
from datetime import date, datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer

from playbook.checked import TABLES, build, read_yaml
from playbook.engagement import SAMPLE, Settings, create_engagement, home, open_engagement

if TYPE_CHECKING:
    from playbook.documents import Corpus

app = typer.Typer(add_completion=False, no_args_is_help=True, help="From 'should we fine-tune?' to a decision record.")


@app.command()
def run(
    client: Annotated[str, typer.Argument(help="An engagement's name.")] = SAMPLE,
    again: Annotated[bool, typer.Option(help="Redo every notebook, changed or not.")] = False,
) -> None:
    """Walk a client through every notebook and write the decision record."""
    from playbook import runner

    opened = open_engagement(client)
    print(f"{opened.settings.title}: {len(runner.WALK)} notebooks, as of {opened.settings.as_of}")
    for step in runner.walk(opened, again):
        said = shorten(step.headline, 110, placeholder=" ...")
        print(f"  {step.notebook:20} {step.action:9} {step.seconds:5.0f} s  {said}", flush=True)
    print(f"\nThe client's report: {opened.report}")
    print("To open the notebooks: make lab   (or: jupyter lab notebooks/00_start_here.ipynb)")


@app.command()
def new(
    client: Annotated[str, typer.Argument(help="Name of the new engagement: small letters, digits, - and _.")],
    documents: Annotated[Path, typer.Option(help="Folder with the client's documents.")],
    questions: Annotated[Path | None, typer.Option(help="CSV of questions with expected answers.")] = None,
    examples: Annotated[Path | None, typer.Option(help="CSV of labelled texts (text,label).")] = None,
    as_of: Annotated[str, typer.Option(help="Date of the engagement, YYYY-MM-DD; today when left out.")] = "",
) -> None:
    """Create an engagement from a client's files, check them, and say what was found and what is missing."""
    from playbook.documents import load_folder
    from playbook.items import load_examples, load_questions
    from playbook.room import count_inputs, missing_inputs

    corpus = load_folder(documents)
    load_questions(questions)
    load_examples(examples)
    settings = build(Settings, {"title": client, "as_of": as_of or date.today()}, "the new engagement's settings")
    given = {path.name.removeprefix("new_"): path for path in TABLES.glob("new_*.yaml")}
    given |= {"documents": documents, "questions.csv": questions, "examples.csv": examples}
    created = create_engagement(client, settings, {name: path for name, path in given.items() if path})
    print(f"Created {created.inputs}\nFound")
    print(*(f"  {what}: {n}" for what, n in count_inputs(created).items()), *_account(corpus), sep="\n")
    print("Missing", *missing_inputs(created, corpus.counts()), sep="\n  ")
    print(f'Next: playbook ask {client} "a question", then playbook run {client}')


def _account(corpus: "Corpus") -> list[str]:
    """The sum that accounts for every file, and a line for each file that was not simply read."""
    counts = corpus.counts()
    total = f"{counts['files']} files = " + " + ".join(f"{n} {s}" for s, n in counts.items() if s != "files")
    return [total, *(f"  {f.source}: {f.status} - {f.reason}" for f in corpus.files if f.reason != "read")]


@app.command()
def index(
    client: Annotated[str, typer.Argument(help="An engagement's name.")] = SAMPLE,
    purge: Annotated[bool, typer.Option(help="Forget files that are gone, even most of the index.")] = False,
) -> None:
    """Bring the index up to date with the client's documents, and account for every file."""
    from playbook.knowledge import index_folder

    indexed = index_folder(open_engagement(client), purge=purge)
    print(*_account(indexed.corpus), sep="\n")
    print(", ".join(f"{n} passages {what}" for what, n in indexed.changes.items()))
    print(f'Next: playbook ask {client} "a question"')


@app.command()
def ask(
    client: Annotated[str, typer.Argument(help="An engagement's name.")],
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    role: Annotated[list[str] | None, typer.Option(help="Who asks; decides which documents may be used.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Answer one question from the client's documents, with citations, or refuse and say why."""
    from playbook.knowledge import ask_logged, open_answerer

    opened = open_engagement(client)
    answerer = open_answerer(opened, tuple(role) if role else None)
    answer = ask_logged(opened, answerer, question)
    if as_json:
        print(answer.model_dump_json(indent=1))
    elif answer.refused:
        print(f"No answer: {answer.reason}.")
    else:
        said = [answer.text] if answerer.chat else []  # without one, the quoted sentences are the answer
        other = ["Another document gives other figures on the same thing:"] if answer.conflicts else []
        cited, conflicts = ([f"{c.quote}\n    [{c}]" for c in some] for some in (answer.citations, answer.conflicts))
        print(*said, *cited, *other, *conflicts, f"confidence {answer.confidence:.2f}", sep="\n")


@app.command()
def verify(
    record: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file of a decision record.")],
    client: Annotated[str, typer.Option(help="Its engagement; else that of the folder it lies in.")] = "",
) -> None:
    """Say whether a decision record, or what it rests on, was edited since it was written."""
    from playbook import report

    told = report.verify(open_engagement(client or record.resolve().parents[1].name), record)
    print("\n".join(told or [f"{record.name} and everything it rests on are as they were written."]))
    print(report.LIMIT)
    raise typer.Exit(min(len(told), 1))


@app.command()
def recheck(
    client: Annotated[str, typer.Argument(help="An engagement's name.")] = SAMPLE,
    as_of: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Date to check at; else today.")] = None,
) -> None:
    """Say which assumptions of a decision record no longer hold with today's price book."""
    from playbook.decision import broken_assumptions
    from playbook.economics import EconomicsResult, evaluate_economics
    from playbook.prices import load_client_economics, load_price_book
    from playbook.results import DecisionResult

    opened, today = open_engagement(client), as_of.date() if as_of else date.today()
    kept, record = opened.load("02_economics", EconomicsResult), opened.load("09_decision", DecisionResult)
    own = load_client_economics(opened.economics, load_price_book())
    fresh = evaluate_economics(own, today, kept.months, opened.settings.seed)
    broken = broken_assumptions(kept, fresh, date.fromisoformat(record.expires), today)
    print("\n".join(broken or ["Every assumption of the record still holds."]))
    raise typer.Exit(min(len(broken), 1))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Measure: this machine, or `retrieval FOLDER`, `answers DOCUMENTS QUESTIONS`, `classify TRAIN TEST` on any files."""
    raise typer.Exit(subprocess.call([sys.executable, str(home() / "tools" / "bench.py"), *context.args]))


def main() -> None:
    """Entry point: an expected error ends with its sentence and exit code 1, an unexpected one with its traceback."""
    try:
        app()
    except ValueError as error:
        sys.exit(f"playbook: {error}")
    except OSError as error:
        fix = read_yaml(TABLES / "room.yaml")["system_errors"].get(errno.errorcode.get(error.errno or 0, ""))
        if not fix:
            traceback.print_exc()
        sys.exit(f"playbook: {error.filename or ''} {fix or error}")
