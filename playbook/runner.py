"""Walk a client through the notebooks without a browser, redoing only what changed.

Knows notebooks as files to execute and artifacts as JSON with recorded inputs. It does not know what a notebook is about.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from playbook.engagement import ROUTE, Engagement, Raw, digest, fingerprint, home, write_atomic

# Each notebook of the walk, with the artifacts that it writes.
WALK = {book: [artifact for artifact, by in ROUTE.items() if by == book] for book in ROUTE.values()}
QUIET = ["--IPKernelApp.log_level=40"]  # the kernel's remark on unencrypted loopback traffic is of no use to a client
SOURCE = (".py", ".yaml", ".j2", ".css", ".js", ".mplstyle")  # the files of the package that decide what a result is
TIMEOUT = 1800  # seconds one cell may take before the notebook is given up


class Step(NamedTuple):
    """One notebook of a walk: what was done with it, how long it took, and its headline."""

    notebook: str
    action: str  # "ran", "unchanged" or "skipped"
    seconds: float
    headline: str


class NotebookFailed(ValueError):
    """A cell raised; the message names the notebook and carries the error's own sentence."""


def walk(client: Engagement, again: bool = False) -> Iterator[Step]:
    """Execute the route in order for one client, yielding a Step a notebook; `again` redoes everything.

    Executed copies with their outputs are kept under the client's `notebooks` folder. Raises NotebookFailed.
    """
    state_path = client.work / "run_state.json"
    state = json.loads(state_path.read_text(encoding="utf-8")) if state_path.is_file() else {}
    for notebook, artifacts in WALK.items():
        started = time.perf_counter()
        if notebook == "08_lora_run" and not client.load("07_training_data", Raw).root["may_train"]:
            yield Step(notebook, "skipped", 0.0, "not run: the gates of 06 and 07 did not let it through")
            continue
        made_by, action = _code_digest(notebook), "unchanged"
        if again or state.get(notebook) != made_by or not is_fresh(client, notebook):
            execute(client, notebook)
            state[notebook], action = made_by, "ran"
            write_atomic(state_path, json.dumps(state, indent=1))
        headline = str(client.load(artifacts[-1], Raw).root.get("headline", ""))
        yield Step(notebook, action, time.perf_counter() - started, headline)


def execute(client: Engagement, notebook: str) -> Path:
    """Execute one notebook with CLIENT set, with a bar on a terminal, and keep the executed copy, whether it ended well.

    Returns the copy's path; raises NotebookFailed.
    """
    import nbclient
    import nbformat
    from nbclient.exceptions import CellExecutionError
    from tqdm import tqdm

    source = home() / "notebooks" / f"{notebook}.ipynb"
    kept, book = client.work / "notebooks" / source.name, nbformat.read(source, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    parameters = next(cell for cell in code if "parameters" in cell.metadata.get("tags", []))
    parameters.source += f"\nCLIENT = {client.name!r}"
    with tqdm(total=len(code), desc=notebook, unit="cell", leave=False, disable=None, ncols=78) as bar:
        how = {"timeout": TIMEOUT, "kernel_name": "python3", "extra_arguments": QUIET}
        try:
            nbclient.execute(book, str(source.parent), on_cell_executed=lambda **_: bar.update(), **how)
        except CellExecutionError as error:
            raise NotebookFailed(f"notebooks/{notebook}.ipynb stopped: {error.ename}: {error.evalue}") from error
        finally:
            write_atomic(kept, nbformat.writes(book))
    return kept


def is_fresh(client: Engagement, notebook: str) -> bool:
    """Whether every artifact of a notebook exists in the client's own folder and none of its recorded inputs changed."""
    paths = [client.artifacts / f"{name}.json" for name in WALK[notebook]]
    try:
        inputs = [json.loads(path.read_text(encoding="utf-8"))["inputs"] for path in paths]
        return all(client.input_hash(key) == then for one in inputs for key, then in one.items())
    except (FileNotFoundError, ValueError, KeyError):  # it is missing or damaged, or an earlier artifact is
        return False


def _code_digest(notebook: str) -> str:
    """Hash of a notebook's cells and of the package's source: what a result depends on beside its inputs."""
    book = json.loads((home() / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    return digest("".join([*code, fingerprint(Path(__file__).parent, SOURCE)]))
