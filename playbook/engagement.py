"""One client's folder: settings, input files, artifacts, and where everything lies.

Knows file names and how to write a file so that it is never half there. It does not know what a diagnosis, a
question or a gate is: callers hand it pydantic models and get them back.
"""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, RootModel

from playbook.checked import TABLES, Frozen, Model, build, load, read_yaml

SAMPLE = "sample"
SAMPLE_FOLDER = "sample_client"
NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,39}"
Raw = RootModel[dict[str, Any]]  # an artifact's result as it stands, for whoever does not know its model
Read = Iterable[Path | str]  # what an artifact was made of: files and folders, or names of earlier artifacts
ROUTE: dict[str, str] = read_yaml(TABLES / "route.yaml")  # artifact -> the notebook that writes it, in order
Result = dict[str, Any]  # what is kept of one item
Progress = Callable[[Sequence], Iterable]  # for instance tqdm
PACKAGES = ("torch", "transformers", "peft", "sentence-transformers", "faiss-cpu", "langchain-core")


class EngagementError(ValueError):
    """Something about the client's folder is wrong; the message names the file and the fix."""


class MissingArtifact(EngagementError):
    """An earlier notebook has not been run yet; the message names it."""


class Settings(Frozen):
    """What is fixed for one engagement: its name, its date, its currency, its seed, its profile."""

    title: str = Field(min_length=1)
    as_of: date
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    seed: int = Field(default=0, ge=0)
    profile: str = "embedded"
    knowledge_use_case: str = "answers"
    behaviour_use_case: str = "ticket_codes"
    participants: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("everyone",)
    adapter_override: dict[str, str] | None = None


@dataclass(frozen=True)
class Engagement:
    """A client's folder: `inputs` is read, `work` is written (the same folder unless the client is the sample)."""

    name: str
    inputs: Path
    work: Path
    settings: Settings

    is_sample = property(lambda own: own.name == SAMPLE, doc="Whether the committed sample run fills in for it.")
    documents = property(lambda own: own.inputs / "documents", doc="Folder of the client's documents.")
    audiences = property(lambda own: own.inputs / "documents.yaml", doc="YAML of audiences, and of what replaces what.")
    questions = property(lambda own: own.inputs / "questions.csv", doc="CSV of frozen questions.")
    examples = property(lambda own: own.inputs / "examples.csv", doc="CSV of labelled texts.")
    codebook = property(lambda own: own.inputs / "codebook.csv", doc="CSV of codes with label and definition.")
    use_cases = property(lambda own: own.inputs / "use_cases.yaml", doc="YAML of use cases for the diagnosis.")
    economics = property(lambda own: own.inputs / "economics.yaml", doc="YAML of the client's volumes, costs, budget.")
    predictions = property(lambda own: own.inputs / "predictions.yaml", doc="YAML of what participants expect.")
    forms = property(lambda own: own.work / "forms", doc="Folder of answers saved from widgets.")
    artifacts = property(lambda own: own.work / "artifacts", doc="Folder of the JSON artifacts.")
    index = property(lambda own: own.work / "index", doc="Folder of the search index.")
    query_log = property(lambda own: own.work / "log/queries.jsonl", doc="What was asked, as hashes and ids.")
    adapters = property(lambda own: own.work / "adapters", doc="Folder of trained adapters.")
    report = property(lambda own: own.work / "report/decision_record.html", doc="The decision record as one HTML file.")

    def has(self, path: Path) -> bool:
        """Whether an input is there: a non-empty file, or a folder with at least one file."""
        return any(p.is_file() for p in path.rglob("*")) or (path.is_file() and path.stat().st_size > 0)

    def artifact_path(self, artifact: str) -> Path:
        """Where an artifact is read from; for the sample client the committed sample run fills in.

        Raises MissingArtifact naming the notebook to run.
        """
        for folder in (self.artifacts, *([home() / "data" / "sample_run"] if self.is_sample else [])):
            if (folder / f"{artifact}.json").is_file():
                return folder / f"{artifact}.json"
        fix = f"run notebooks/{ROUTE[artifact]}.ipynb for client '{self.name}' first (or `playbook run {self.name}`)"
        raise MissingArtifact(f"{artifact}.json is not there yet: {fix}.")

    def load(self, artifact: str, model: type[Model]) -> Model:
        """Read an earlier notebook's result as `model`; raises MissingArtifact or EngagementError."""
        path = self.artifact_path(artifact)
        try:
            return build(model, json.loads(path.read_text(encoding="utf-8"))["result"], artifact)
        except (ValueError, KeyError, TypeError) as error:
            fix = f"Run notebooks/{ROUTE[artifact]}.ipynb again."
            raise EngagementError(f"{path} does not fit this version of the playbook ({error}). {fix}") from error

    def inside(self, path: Path) -> str:
        """A path as recorded in an artifact: relative to the client's inputs or to what was written for the client."""
        return path.relative_to(self.inputs if path.is_relative_to(self.inputs) else self.work).as_posix()

    def input_hash(self, name: str) -> str:
        """SHA-256 of what an artifact recorded under `name`: a file, a folder, or an earlier artifact's `result`.

        Of an artifact, `result` is the part that counts as evidence.
        """
        if name in ROUTE:
            return digest(json.dumps(self.load(name, Raw).root, sort_keys=True))
        return fingerprint(self.inputs / name if (self.inputs / name).exists() else self.work / name)

    def save(self, name: str, result: BaseModel, inputs: Read = (), timings: dict[str, float] | None = None) -> Path:
        """Write one artifact atomically and return its path; `timings` (milliseconds) go into its `run` part.

        Its `result` is compared in tests; its `run` (time in UTC, system, versions) never is. `inputs` are files or folders of
        this engagement, or earlier artifacts' names; the settings always count.
        """
        if name not in ROUTE:
            raise EngagementError(f"'{name}' is not an artifact of the route; use one of {', '.join(ROUTE)}.")
        given = (self.inputs / "settings.yaml", *inputs)
        read = sorted(self.inside(i) if isinstance(i, Path) else i for i in given)
        installed = {found.name: found.version for found in importlib.metadata.distributions()}
        envelope = {
            "schema_version": 1,
            "artifact": name,
            "client": self.name,
            "as_of": self.settings.as_of.isoformat(),
            "inputs": {one: self.input_hash(one) for one in read},
            "result": rounded(result.model_dump(mode="json")),
            "run": {
                "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}",
                "versions": {package: installed.get(package, "not installed") for package in PACKAGES},
                **({"milliseconds": timings} if timings else {}),
            },
        }
        return write_atomic(self.artifacts / f"{name}.json", json.dumps(envelope, indent=1, ensure_ascii=False) + "\n")


def home() -> Path:
    """The project's folder: $PLAYBOOK_HOME, else the one that this package lies in (installed with `pip install -e`)."""
    chosen, beside = os.environ.get("PLAYBOOK_HOME"), Path(__file__).parents[1]
    if not chosen and not (beside / "data" / SAMPLE_FOLDER).is_dir():
        raise EngagementError(f"{beside} holds no data/{SAMPLE_FOLDER}: set PLAYBOOK_HOME to the project's folder.")
    return Path(chosen or beside).resolve()


def engagements_folder() -> Path:
    """Where engagements are kept: $PLAYBOOK_ENGAGEMENTS (tests write to a scratch folder), else `engagements/`."""
    return Path(os.environ.get("PLAYBOOK_ENGAGEMENTS") or home() / "engagements").resolve()


def open_engagement(name: str) -> Engagement:
    """Open a client's engagement by name; raises EngagementError listing the known ones, ValueError for bad settings."""
    base = home()
    inputs = base / "data" / SAMPLE_FOLDER if name == SAMPLE else engagements_folder() / name
    proper, settings = re.fullmatch(NAME_PATTERN, name), inputs / "settings.yaml"
    if not proper or not settings.is_file():
        fix = f"Create one: playbook new {name if proper else 'acme'} --documents FOLDER"
        raise EngagementError(f"There is no engagement '{name}'. Known: {', '.join(known_engagements())}. {fix}")
    return Engagement(name, inputs, engagements_folder() / name, load(Settings, settings))


def known_engagements() -> list[str]:
    """Names of the engagements on this machine, the sample first."""
    return [SAMPLE, *sorted(path.parent.name for path in engagements_folder().glob("*/settings.yaml"))]


def create_engagement(name: str, settings: Settings, files: dict[str, Path]) -> Engagement:
    """Make `engagements/<name>/` from checked inputs, whole or not at all.

    `files` maps a name inside the folder (`documents`, `questions.csv` ...) to what is copied there.
    Raises EngagementError for a bad or taken name, and for a folder that cannot be copied.
    """
    if not re.fullmatch(NAME_PATTERN, name) or name == SAMPLE:
        fix = f"use 1 to 40 small letters, digits, - or _, and not '{SAMPLE}'"
        raise EngagementError(f"'{name}' cannot be an engagement's name: {fix}.")
    target = engagements_folder() / name
    if target.exists():
        raise EngagementError(f"{target} exists already: choose another name or move that folder away.")
    for source in files.values():
        if target.is_relative_to(source.resolve()):  # copying it would copy the copy, and so on
            raise EngagementError(f"{source} holds the engagements folder: give one with only the client's documents.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as scratch:
        draft = Path(scratch) / name
        values = settings.model_dump(mode="json")
        write_atomic(draft / "settings.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        for inside, source in files.items():
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            try:
                copy(source, draft / inside)
            except shutil.Error as error:
                path, _, reason = error.args[0][0]
                raise EngagementError(f"{path} could not be copied ({reason}): repair it or move it away.") from error
        os.replace(draft, target)
    return open_engagement(name)


def digest(content: str | bytes) -> str:
    """SHA-256 of a text or of bytes, 64 characters; half a character (a lone surrogate) is hashed as it stands."""
    return sha256(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content).hexdigest()


def fingerprint(path: Path, endings: tuple[str, ...] = ("",)) -> str:
    """SHA-256 of a file, or of a folder's relative names and contents in sorted order; 'absent' if not there.

    `endings`: of a folder, only files whose names end so count.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(endings))
        entries = (p.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(fingerprint(p)) for p in files)
        return digest(b"".join(entries))
    if not path.is_file():
        return "absent"
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader or a crash sees the old or the new content, never a part; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        Path(scratch).unlink(missing_ok=True)  # still there only after a crash
    return path


def rounded(value: Any, digits: int = 4) -> Any:
    """A JSON value with every float rounded, so that two machines write the same `result`."""
    return json.loads(json.dumps(value), parse_float=lambda number: round(float(number), digits))


def remembered(
    folder: Path | None,
    setting: Any,
    items: Sequence[str],
    compute: Callable[[list[str]], Iterable[Result]],
    progress: Progress = iter,
) -> list[Result]:
    """The result of each item: the stored one where this `setting` has seen it, else from `compute`, in order.

    `setting`: everything but the item that decides a result, the code too; what is neither JSON-able nor
    LangChain's counts by its `repr`. `items`: texts, stored as hashes; equal ones are computed once. `compute` is given
    the missing ones and yields a JSON-able result for each, so that an interrupted run keeps what it has; each gets
    `milliseconds`, the time since the one before (the first bears what all share). A damaged file counts as none. Without
    a `folder` nothing is stored.
    """
    from langchain_core.load import dumps

    path = folder / f"{digest(dumps(setting, sort_keys=True))[:32]}.kept" if folder else None
    seal, _, body = (path.read_bytes() if path and path.is_file() else b"").decode(errors="replace").partition("\n")
    kept = json.loads(body) if seal == digest(body)[:32] else {}
    keys = {item: digest(item)[:32] for item in items}
    missing = {key: item for item, key in keys.items() if key not in kept}
    started = time.perf_counter()
    try:
        computed = zip(progress(list(missing)), compute(list(missing.values())), strict=True) if missing else ()
        for key, result in computed:  # one by one, in the order given
            kept[key] = {**result, "milliseconds": 1000 * (time.perf_counter() - started)}
            started = time.perf_counter()
    finally:
        if path and missing:
            body = json.dumps(kept)
            write_atomic(path, f"{digest(body)[:32]}\n{body}")
    return [kept[keys[item]] for item in items]
