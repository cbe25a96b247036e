"""A client's folder to LangChain Documents, one per heading, with every file accounted for.

Walks the folder, hands each file to the reading process with time, memory and output limits, and puts the blocks
together. Knows no format, no chunk, no embedding, no question. Conservation law: files in = indexed + empty +
duplicate + rejected, each with a reason its owner understands.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Literal, NamedTuple, get_args

from langchain_core.documents import Document
from pydantic import Field

from playbook.checked import Frozen, load
from playbook.readers import FORMATS, MAX_BYTES, MAX_TEXT, MEMORY, SECONDS

Status = Literal["indexed", "empty", "duplicate", "rejected"]
MAX_LINE = 64_000_000
HIDDEN = (".", "~$")  # how the names of hidden files begin, and of the locks that Office leaves beside an open file


@dataclass(frozen=True)
class FileReport:
    """What became of one file: its status, why, how many sections and words it gave."""

    source: str
    status: Status
    reason: str
    sections: int = 0
    words: int = 0


class Corpus(NamedTuple):
    """All sections of a folder and the fate of every file in it."""

    sections: tuple[Document, ...]
    files: tuple[FileReport, ...]

    def counts(self) -> dict[str, int]:
        """Files in, and how many ended indexed, empty, duplicate or rejected; the four add up to `files`."""
        return {"files": len(self.files)} | {s: sum(f.status == s for f in self.files) for s in get_args(Status)}


class FileEntry(Frozen):
    """What documents.yaml says of one file: who may read it, and which files it replaces."""

    audience: tuple[str, ...] = Field(("everyone",), min_length=1)
    replaces: tuple[str, ...] = ()


class Manifest(Frozen):
    """documents.yaml: facts about single files that the files themselves do not hold."""

    files: dict[str, FileEntry] = {}


@dataclass
class ReaderProcess:
    """The process that reads files: started when first asked, killed after a fault, then restarted."""

    command: Sequence[str] = (sys.executable, "-P", "-m", "playbook.readers")
    seconds: float = SECONDS
    _process: Popen[str] | None = None
    _waiter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def read(self, path: Path) -> dict[str, Any]:
        """What `readers.answer` gives for a file, or {"error": reason} when the process died, hung or said too much."""
        if not self._process:
            paths = [str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)]
            own = {"env": {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, "start_new_session": True, "text": True}
            self._process = Popen(self.command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, **own)
        try:
            print(json.dumps(str(path)), file=self._process.stdin, flush=True)
            answer = self._waiter.submit(self._process.stdout.readline, MAX_LINE)
            reply = json.loads(answer.result(self.seconds))
        except (OSError, ValueError) as error:
            slow = f"took longer than {self.seconds:g} seconds to read: split it or save it anew"
            broke = "damaged or too large: the reader broke on it"
            reply = {"error": slow if isinstance(error, TimeoutError) else broke, "fatal": True}
        if reply.get("fatal"):
            self.close()
        return reply

    def close(self) -> None:
        """End the process and everything it started."""
        if self._process:
            with suppress(OSError, AttributeError):  # Windows has no process groups; there the reader alone is ended
                os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(OSError), self._process as process:  # closes the pipes and waits
                process.kill()
            self._process = None


def limits() -> str:
    """Which limits hold for each file on this system, as a sentence."""
    memory = f"{MEMORY // 2**30} GB of memory" if sys.platform == "linux" else "no limit of memory (not on this system)"
    return f"Each file: at most {SECONDS} seconds, {MAX_BYTES // 10**6} MB, {MAX_TEXT:,} characters, {memory}."


def load_folder(folder: Path, manifest: Path | None = None) -> Corpus:
    """Read every file under `folder` (sorted, recursive, hidden files left out); more than 100 files show a bar.

    `manifest` names a documents.yaml with each file's audience and what it replaces. A file that cannot be read costs
    only itself. Raises ValueError when the folder is missing or holds no file, or the manifest names what is not there.
    """
    from tqdm import tqdm

    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the folder that holds the client's documents.")
    found = {_source(path, folder): (path, fault) for path, fault in sorted(_walk(folder))}
    if not found:
        raise ValueError(f"{folder} holds no files: put at least one document into it.")
    entries = load_manifest(manifest, set(found))
    sections, files = list[Document](), list[FileReport]()
    seen: dict[tuple[str, FileEntry], str] = {}
    with closing(ReaderProcess()) as process:
        bar = tqdm(found.items(), "reading", leave=False, disable=len(found) <= 100, unit="file")
        for source, (path, fault) in bar:
            reply = {"error": fault} if fault else process.read(path.absolute())
            status, reason = _fate(source, reply, entries[source], seen)
            taken = list(_sections(source, reply, entries[source])) if status == "indexed" else []
            sections += taken
            words = sum(len(section.page_content.split()) for section in taken)
            files.append(FileReport(source, status, reason, len(taken), words))
    for about in (section.metadata for section in sections):
        about["replaced_by"] = [s for s in seen.values() if about["source"] in entries[s].replaces]
    return Corpus(tuple(sections), tuple(files))


def load_manifest(path: Path | None, sources: set[str]) -> dict[str, FileEntry]:
    """The entry of each source in documents.yaml. Raises ValueError naming file and entry for what does not fit."""
    files = load(Manifest, path).files if path and path.exists() else {}
    for name, entry in files.items():
        for other in (name, *entry.replaces):
            if other not in sources or name in entry.replaces:
                raise ValueError(f"{path}: files: {name}: {other} is no other file of the folder. Correct that entry.")
    return {source: files.get(source, FileEntry()) for source in sources}


def _source(path: Path, folder: Path) -> str:
    """A file's name in the corpus: its path in the folder, bytes that are no text escaped."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """(path, why it is not read or "") of everything in the folder but folders and hidden files."""
    locked: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=locked.append):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        for path in (Path(where, name) for name in [*folders, *names] if not name.startswith(HIDDEN)):
            if path.is_symlink():
                yield path, "a link: copy the file itself into the folder"
            elif not path.is_dir():
                yield path, "" if path.is_file() else "no file but a device or a pipe"
    yield from ((Path(error.filename), "a folder that could not be opened: check its rights") for error in locked)


def _fate(source: str, reply: dict[str, Any], entry: FileEntry, seen: dict[Any, str]) -> tuple[Status, str]:
    """What becomes of a file, and why; `seen` maps content to the first file that had it, and is added to."""
    if "error" in reply:
        return "rejected", reply["error"]
    if not reply["blocks"]:
        return "empty", "; ".join(reply["notes"]) or "no text found"
    first = seen.setdefault((reply["sha256"], entry), source)
    if first != source:
        return "duplicate", f"same content as {first}"
    return "indexed", "; ".join(["read", *reply["notes"]])


def _sections(source: str, reply: dict[str, Any], entry: FileEntry) -> Iterator[Document]:
    """Join neighbouring blocks under one heading into one Document; one block is one line of it."""
    ending = Path(source).suffix.lower()
    shared = {"source": source, "kind": ending[1:], "sha256": reply["sha256"], **entry.model_dump(mode="json")}
    for order, (heading, group) in enumerate(groupby(reply["blocks"], key=lambda block: block[0])):
        text, marks = "", list[list[int]]()
        for _, number, line in group:
            for page, part in enumerate(line.split("\f"), start=number):
                text += " " if page > number else "\n" if text else ""
                marks += [[len(text), page]] if not marks or marks[-1][1] != page else []
                text += part
        unit = FORMATS["units"].get(ending, "" if heading else "paragraph")
        own = {"heading": heading, "unit": unit, "marks": marks, "order": order}
        yield Document(page_content=text, metadata={**shared, **own})
