"""One client's folder: settings, input files, artifacts, and where everything lies.

Knows file names and how to write a file so that it is never half there. It does not know what a diagnosis, a
question or a gate is: callers hand it pydantic models and get them back.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

SAMPLE = "sample"
SCHEMA_VERSION = 1
ROUTE = {
    "00_room": "00_start_here",
    "01_diagnosis": "01_diagnose",
    "02_economics": "02_economics",
    "03_plan": "03_prompt_baseline",
    "03_prompt_baseline": "03_prompt_baseline",
    "04_rag": "04_rag_prototype",
    "05_measurements": "05_measure",
    "06_gate": "06_gate",
    "07_training_data": "07_training_data",
    "08_lora": "08_lora_run",
    "09_decision": "09_decide",
}
Model = TypeVar("Model", bound=BaseModel)


class EngagementError(ValueError):
    """Something about the client's folder is wrong; the message names the file and the fix."""


class MissingArtifact(EngagementError):
    """An earlier notebook has not been run yet; the message names it."""


class Settings(BaseModel):
    """What is fixed for one engagement: its name, its date, its currency, its seed, its profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str = Field(min_length=1)
    as_of: date
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    seed: int = Field(default=0, ge=0)
    profile: str = "embedded"
    knowledge_use_case: str = "answers"
    behaviour_use_case: str = "ticket_codes"
    participants: tuple[str, ...] = ()
    adapter_override: dict[str, str] | None = None


class Artifact(BaseModel):
    """One notebook's hand-over: `result` is compared in tests, `run` (time, host, versions) never is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int
    artifact: str
    client: str
    as_of: date
    inputs: dict[str, str]
    result: dict[str, Any]
    run: dict[str, Any]


@dataclass(frozen=True)
class Engagement:
    """A client's folder: `inputs` is read, `work` is written (the same folder unless the client is the sample)."""

    name: str
    inputs: Path
    work: Path
    settings: Settings

    @property
    def is_sample(self) -> bool:
        """Whether this is the sample client, for which the committed sample run fills in."""
        return self.name == SAMPLE

    @property
    def documents(self) -> Path:
        """Folder of the client's documents."""
        return self.inputs / "documents"

    @property
    def questions(self) -> Path:
        """CSV of frozen questions."""
        return self.inputs / "questions.csv"

    @property
    def examples(self) -> Path:
        """CSV of labelled texts."""
        return self.inputs / "examples.csv"

    @property
    def codebook(self) -> Path:
        """CSV of codes with label and definition."""
        return self.inputs / "codebook.csv"

    @property
    def use_cases(self) -> Path:
        """YAML of use cases for the diagnosis."""
        return self.inputs / "use_cases.yaml"

    @property
    def economics(self) -> Path:
        """YAML of the client's own volumes, costs and budget."""
        return self.inputs / "economics.yaml"

    @property
    def predictions(self) -> Path:
        """YAML of what the participants expect, written before anything is measured."""
        return self.inputs / "predictions.yaml"

    @property
    def forms(self) -> Path:
        """Folder of answers saved from widgets."""
        return self.work / "forms"

    @property
    def artifacts(self) -> Path:
        """Folder of the JSON artifacts."""
        return self.work / "artifacts"

    @property
    def index(self) -> Path:
        """Folder of the search index."""
        return self.work / "index"

    @property
    def adapters(self) -> Path:
        """Folder of trained adapters."""
        return self.work / "adapters"

    @property
    def report(self) -> Path:
        """The decision record as one HTML file."""
        return self.work / "report" / "decision_record.html"

    def has(self, path: Path) -> bool:
        """Whether an input is there: a non-empty file, or a folder with at least one file."""
        if path.is_dir():
            return any(p.is_file() for p in path.rglob("*"))
        return path.is_file() and path.stat().st_size > 0

    def artifact_path(self, artifact: str) -> Path:
        """Where an artifact is read from; for the sample client the committed sample run fills in.

        Raises MissingArtifact naming the notebook to run.
        """
        own = self.artifacts / f"{artifact}.json"
        if own.is_file():
            return own
        sample = home() / "data" / "sample_run" / f"{artifact}.json"
        if self.is_sample and sample.is_file():
            return sample
        raise MissingArtifact(
            f"{artifact}.json is not there yet: run notebooks/{ROUTE[artifact]}.ipynb for client "
            f"'{self.name}' first (or `playbook run {self.name}`)."
        )

    def load(self, artifact: str, model: type[Model]) -> Model:
        """Read an earlier notebook's result as `model`; raises MissingArtifact or EngagementError."""
        path = self.artifact_path(artifact)
        try:
            stored = Artifact.model_validate_json(path.read_text(encoding="utf-8"))
            return model.model_validate(stored.result)
        except ValidationError as error:
            raise EngagementError(
                f"{path} does not fit this version of the playbook ({error.error_count()} problem(s), first: "
                f"{error.errors()[0]['loc']}). Run notebooks/{ROUTE[artifact]}.ipynb again."
            ) from error

    def result_hash(self, artifact: str) -> str:
        """SHA-256 of an artifact's `result`, the part that counts as evidence."""
        result = self.load(artifact, RootModel[dict[str, Any]]).root
        return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()

    def inside(self, path: Path) -> str:
        """A path as recorded in an artifact: relative to the client's inputs or to what was written for the client."""
        base = self.inputs if path.is_relative_to(self.inputs) else self.work
        return path.relative_to(base).as_posix()

    def input_hash(self, name: str) -> str:
        """Hash of what an artifact recorded under `name`: an earlier artifact's result, a file or a folder."""
        if name in ROUTE:
            return self.result_hash(name)
        given = self.inputs / name
        return fingerprint(given if given.exists() else self.work / name)

    def save(
        self,
        artifact: str,
        result: BaseModel,
        inputs: Iterable[Path | str] = (),
        timings: dict[str, float] | None = None,
    ) -> Path:
        """Write one artifact atomically and return its path; `timings` (milliseconds) go into its `run` part.

        `inputs` are files or folders of this engagement, or earlier artifacts' names; the settings always count.
        """
        if artifact not in ROUTE:
            raise EngagementError(f"'{artifact}' is not an artifact of the route; use one of {', '.join(ROUTE)}.")
        hashes = {
            name: self.input_hash(name)
            for name in (self.inside(i) if isinstance(i, Path) else i for i in (self.inputs / "settings.yaml", *inputs))
        }
        envelope = Artifact(
            schema_version=SCHEMA_VERSION,
            artifact=artifact,
            client=self.name,
            as_of=self.settings.as_of,
            inputs=dict(sorted(hashes.items())),
            result=rounded(result.model_dump(mode="json")),
            run=run_facts() | ({"milliseconds": timings} if timings else {}),
        )
        text = json.dumps(envelope.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        return write_atomic(self.artifacts / f"{artifact}.json", text)


def home() -> Path:
    """The project's folder: $PLAYBOOK_HOME, else the nearest folder upwards that holds data/sample_client."""
    if os.environ.get("PLAYBOOK_HOME"):
        return Path(os.environ["PLAYBOOK_HOME"]).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "data" / SAMPLE_FOLDER).is_dir():
            return folder
    raise EngagementError(
        "The playbook's data/ folder was not found from here. Start in the project's folder, or set PLAYBOOK_HOME to it."
    )


SAMPLE_FOLDER = "sample_client"


def engagements_folder() -> Path:
    """Where engagements are kept: $PLAYBOOK_ENGAGEMENTS (tests write to a scratch folder), else `engagements/`."""
    return Path(os.environ.get("PLAYBOOK_ENGAGEMENTS") or home() / "engagements").resolve()


def open_engagement(name: str) -> Engagement:
    """Open a client's engagement by name; raises EngagementError listing the known ones."""
    base = home()
    inputs = base / "data" / SAMPLE_FOLDER if name == SAMPLE else engagements_folder() / name
    settings_path = inputs / "settings.yaml"
    if not re.fullmatch(NAME_PATTERN, name) or not settings_path.is_file():
        known = ", ".join(known_engagements())
        raise EngagementError(
            f"There is no engagement '{name}'. Known: {known}. Create one: "
            f"playbook new {name if re.fullmatch(NAME_PATTERN, name) else 'acme'} --documents FOLDER"
        )
    try:
        settings = Settings.model_validate(yaml.safe_load(settings_path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        first = (
            error.errors()[0]
            if isinstance(error, ValidationError)
            else {"loc": (), "msg": " ".join(str(error).split())}
        )
        where = ".".join(map(str, first["loc"]))
        raise EngagementError(f"{settings_path}: {where}: {first['msg']}. Correct that line.") from error
    return Engagement(name, inputs, engagements_folder() / name, settings)


NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,39}"


def known_engagements() -> list[str]:
    """Names of the engagements on this machine, the sample first."""
    folder = engagements_folder()
    found = sorted(p.parent.name for p in folder.glob("*/settings.yaml")) if folder.is_dir() else []
    return [SAMPLE, *found]


def create_engagement(name: str, settings: Settings, files: dict[str, Path]) -> Engagement:
    """Make `engagements/<name>/` from checked inputs, whole or not at all.

    `files` maps a name inside the folder (`documents`, `questions.csv` ...) to what is copied there.
    Raises EngagementError for a bad or taken name, and for a folder that cannot be copied.
    """
    if not re.fullmatch(NAME_PATTERN, name) or name == SAMPLE:
        raise EngagementError(
            f"'{name}' cannot be an engagement's name: use 1 to 40 small letters, digits, - or _, and not '{SAMPLE}'."
        )
    target = engagements_folder() / name
    if target.exists():
        raise EngagementError(f"{target} exists already: choose another name or move that folder away.")
    around = [source for source in files.values() if target.is_relative_to(source.resolve())]
    if around:  # copying it would copy the copy, and so on
        raise EngagementError(
            f"{around[0]} holds the engagements folder: give a folder with only the client's documents."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as scratch:
        draft = Path(scratch) / name
        draft.mkdir()
        for inside, source in files.items():
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            try:
                copy(source, draft / inside)
            except shutil.Error as error:
                path, _, reason = error.args[0][0]
                raise EngagementError(f"{path} could not be copied ({reason}): repair it or move it away.") from error
        text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (draft / "settings.yaml").write_text(text, encoding="utf-8")
        os.replace(draft, target)
    return open_engagement(name)


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and contents in sorted order; 'absent' if not there."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader or a crash sees the old or the new content, never a part; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    return path


def rounded(value: Any, digits: int = 4) -> Any:
    """A JSON value with every float rounded, so that two machines write the same `result`."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return value


def run_facts() -> dict[str, Any]:
    """Where and when an artifact was written: time (UTC), Python, system and the versions that matter."""
    versions = {}
    for package in ("torch", "transformers", "peft", "sentence-transformers", "faiss-cpu", "langchain-core"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }
