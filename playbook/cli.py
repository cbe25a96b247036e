"""The command line: new, run, ask, lab, bench. Thin: checks, calls, and one clear sentence when something is wrong.

Nothing is computed here that a notebook could not compute with the same functions.
"""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import typer

from playbook.engagement import SAMPLE, EngagementError, Settings, create_engagement, home, open_engagement

app = typer.Typer(add_completion=False, no_args_is_help=True, help="From 'should we fine-tune?' to a decision record.")
OS_HELP = {
    errno.ENOSPC: "The disk is full: free some space (a run needs about 200 MB) and start again; nothing half-written was kept.",
    errno.EACCES: "No permission: start in a folder of your own, or change the rights of the file named here.",
    errno.EROFS: "This folder is read-only: copy the project to a folder of your own and start there.",
}


@app.command()
def run(
    client: Annotated[str, typer.Argument(help="An engagement's name.")] = SAMPLE,
    again: Annotated[bool, typer.Option(help="Redo every notebook, changed or not.")] = False,
) -> None:
    """Walk a client through every notebook and write the decision record."""
    from tqdm import tqdm

    from playbook import runner

    opened = open_engagement(client)
    print(f"{opened.settings.title}: {len(runner.WALK)} notebooks, as of {opened.settings.as_of}")
    with tqdm(total=len(runner.WALK), unit="notebook", leave=False, disable=not sys.stderr.isatty(), ncols=78) as bar:

        def progress(notebook: str, done: int, total: int) -> None:
            bar.set_description_str(f"{notebook} cell {done}/{total}")

        for step in runner.walk(opened, progress, again):
            said = shorten(step.headline, 110, placeholder=" ...")
            tqdm.write(f"  {step.notebook:20} {step.action:9} {step.seconds:5.0f} s  {said}", file=sys.stdout)
            sys.stdout.flush()
            bar.update()
    print(f"\nThe client's report: {opened.report}")
    print("To open the notebooks: make lab   (or: playbook lab)")


@app.command()
def new(
    client: Annotated[str, typer.Argument(help="Name of the new engagement: small letters, digits, - and _.")],
    documents: Annotated[Path, typer.Option(help="Folder with the client's documents.")],
    questions: Annotated[Path | None, typer.Option(help="CSV of questions with expected answers.")] = None,
    examples: Annotated[Path | None, typer.Option(help="CSV of labelled texts (text,label).")] = None,
    as_of: Annotated[str, typer.Option(help="Date of the engagement, YYYY-MM-DD; today when left out.")] = "",
) -> None:
    """Create an engagement from a client's files, check them, and say what was found and what is missing."""
    from datetime import date

    files: dict[str, Path] = {"documents": documents}
    found, missing = [], []
    for check in (_check_documents(documents), _check_questions(questions, documents), _check_examples(examples)):
        found += check[0]
        missing += check[1]
    files |= {name: path for name, path in (("questions.csv", questions), ("examples.csv", examples)) if path}
    tables = Path(__file__).parent / "tables"
    files |= {"use_cases.yaml": tables / "new_use_cases.yaml", "economics.yaml": tables / "new_economics.yaml"}
    missing.append("the client's answers to the diagnostic questions: fill in use_cases.yaml and economics.yaml")
    try:
        day = date.fromisoformat(as_of) if as_of else date.today()
    except ValueError:
        raise ValueError(f"'{as_of}' is not a date; write it as YYYY-MM-DD.") from None
    settings = Settings(title=client, as_of=day)
    created = create_engagement(client, settings, files)
    print(f"Created {created.inputs}\nFound")
    print("\n".join(f"  {line}" for line in found))
    print("Missing\n" + "\n".join(f"  {line}" for line in missing))
    print(f'Next: playbook ask {client} "a question", then playbook run {client}')


Check = tuple[list[str], list[str]]  # lines on what was found, lines on what is missing


def _check_documents(folder: Path) -> Check:
    from playbook.documents import load_folder

    corpus = load_folder(folder)
    left_out = [f"  {f.source}: {f.status} - {f.reason}" for f in corpus.files if f.status != "indexed"]
    missing = (
        [] if corpus.sections else ["a document that can be read: none of these could (convert or scan them again)"]
    )
    return [f"documents: {_counts(corpus.counts())}", *left_out], missing


def _check_questions(path: Path | None, documents: Path) -> Check:
    from playbook.items import load_questions

    if path is None:
        return [], ["questions with expected answers (30 or more, a third of them unanswerable): --questions FILE.csv"]
    asked = load_questions(_there(path))
    silent = sum(not q.answerable for q in asked)
    absent = sorted({q.source for q in asked if q.source and not (documents / q.source).is_file()})
    missing = [f"source file(s) that the questions name: {', '.join(absent[:5])}"] if absent else []
    if not silent:
        missing.append("unanswerable questions (10 or more): without them nobody knows whether it refuses")
    return [f"questions: {len(asked)}, of them {silent} unanswerable"], missing


def _check_examples(path: Path | None) -> Check:
    from playbook.items import load_examples, refuse_lone_labels

    if path is None:
        return [], ["labelled texts, if a behaviour is wanted (10 or more a code): --examples FILE.csv"]
    labelled = load_examples(_there(path))
    refuse_lone_labels(path)
    return [f"examples: {len(labelled)} in {len({e.label for e in labelled})} codes"], []


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is not there: check the path, or leave the option out.")
    return path


def _counts(counts: dict[str, int]) -> str:
    return f"{counts['files']} files = " + " + ".join(f"{n} {s}" for s, n in counts.items() if s != "files")


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def index(
    client: Annotated[str, typer.Argument(help="An engagement's name.")] = SAMPLE,
    purge: Annotated[
        bool, typer.Option(help="Forget files that are gone, even if they are most of the index.")
    ] = False,
) -> None:
    """Bring the index up to date with the client's documents, and account for every file."""
    from playbook.knowledge import index_folder

    indexed = index_folder(open_engagement(client), purge=purge)
    print(_counts(indexed.corpus.counts()))
    print("\n".join(f"  {f.source}: {f.status} - {f.reason}" for f in indexed.corpus.files if f.reason != "read"))
    print(", ".join(f"{n} passages {what}" for what, n in indexed.changes.items()))
    print(f'Next: playbook ask {client} "a question"')


@app.command()
def ask(
    client: Annotated[str, typer.Argument(help="An engagement's name.")],
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    role: Annotated[list[str] | None, typer.Option(help="Who asks; decides which documents may be used.")] = None,
    as_json: Json = False,
) -> None:
    """Answer one question from the client's documents, with citations, or refuse and say why."""
    from playbook.knowledge import log_query, open_answerer

    opened = open_engagement(client)
    answerer = open_answerer(opened, tuple(role) if role else None)
    answer = answerer.ask(question)
    log_query(opened, answer, answerer.retriever.store.generation)
    if as_json:
        print(json.dumps(answer.model_dump(mode="json"), ensure_ascii=False, indent=1))
    elif answer.refused:
        print(f"No answer: {answer.reason}.")
    else:
        print("" if answerer.chat is None else answer.text)
        print("\n".join(f"{c.quote}\n    [{c}]" for c in answer.citations))
        if answer.conflicts:
            print("Another document gives other figures on the same thing:")
            print("\n".join(f"{c.quote}\n    [{c}]" for c in answer.conflicts))
        print(f"confidence {answer.confidence:.2f}")


@app.command()
def lab(port: Annotated[int, typer.Option(help="Port of the local server.")] = 8888) -> None:
    """Open JupyterLab on notebook 00."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise EngagementError(
                f"Port {port} is in use: close the other JupyterLab, or start with playbook lab --port {port + 1}."
            )
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}", "notebooks/00_start_here.ipynb"]
    try:
        code = subprocess.call(command, cwd=home())
    except KeyboardInterrupt:
        code = 0
    if code:
        raise EngagementError("JupyterLab did not start: install it with pip install -c constraints.txt -e '.[lab]'.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Measure: this machine, or `retrieval FOLDER`, `answers DOCUMENTS QUESTIONS`, `classify TRAIN TEST` on any files."""
    raise typer.Exit(subprocess.call([sys.executable, str(home() / "tools" / "bench.py"), *context.args]))


def main() -> None:
    """Entry point: an expected error ends with its sentence and exit code 1, an unexpected one with its traceback."""
    from playbook.runner import NotebookFailed

    try:
        app()
    except (ValueError, NotebookFailed) as error:
        print(f"playbook: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in OS_HELP:
            traceback.print_exc()
        print(f"playbook: {error.filename or ''} {OS_HELP.get(error.errno, error)}", file=sys.stderr)
        sys.exit(1)
