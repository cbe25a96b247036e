"""What must not break the search index: a killed writer, a failing disk, a flipped byte, two programs at once.

`python tools/battery.py --kills 200 --flips 2000 --readers 10` runs more of what tests/test_store.py runs. Every check
raises AssertionError with what it found, and returns how many cases it tried.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import hashlib
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the project itself, when it is not installed

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from playbook.store import FILE, FaissStore, IndexMismatch

PASSAGES = 300
EXACT = {"LOCK", FILE}
CALLS = ("open", "fsync", "replace", "mkdir", "unlink", "rmdir", "scandir", "close")  # of os


class Digest(Embeddings):
    """A stand-in embedder: 32 numbers from a text's hash."""

    fingerprint = "digest/float32/32"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[b / 255 for b in hashlib.sha256(t.encode()).digest()] for t in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def corpus(version: int, passages: int = PASSAGES) -> list[Document]:
    """Passages that say which version they are of; a third of them is the same in all versions."""
    texts = [f"passage {n} " + ("of all" if n % 3 == 0 else f"of version {version}") for n in range(passages)]
    return [Document(id=f"{n}-{t[-9:]}", page_content=t, metadata={"version": version}) for n, t in enumerate(texts)]


def version_of(folder: Path) -> int:
    """The version an index holds, after checking that it holds all of it and nothing else; -1 for an empty index."""
    store = FaissStore.open(folder, Digest())
    if not len(store):
        return -1
    documents = list(store.documents.values())
    version = documents[0].metadata["version"]
    assert documents == corpus(version, len(documents)), f"a mixed index of {len(documents)} passages"
    expected = np.array(Digest().embed_documents([d.page_content for d in documents]), np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(store.vectors, expected, atol=1e-6), "vectors of other passages"
    return version


def update(folder: Path, version: int, passages: int = PASSAGES) -> None:
    """Open, sync, save, as notebook 04 does."""
    store = FaissStore.open(folder, Digest())
    store.sync(corpus(version, passages))
    store.save(folder)


def tidy(folder: Path) -> None:
    """The index is left and no half-written file."""
    files = [p.name for p in folder.rglob("*") if p.is_file()]
    assert sorted(files) == sorted(EXACT), f"left over: {sorted(files)}"


def write_for_ever(folder: Path, first: int) -> None:
    """What the child does that is killed: update after update, telling its parent where it is."""
    for version in count(first):
        print(f"start {version}", flush=True)
        update(folder, version)
        print(f"done {version}", flush=True)


def writer(folder: Path, first: int) -> subprocess.Popen[str]:
    """Start the child; it imports the store and nothing else of the project."""
    command = [sys.executable, __file__, "--write", str(folder), "--first", str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kills(folder: Path, times: int, seed: int = 0) -> int:
    """Kill the writing child at random moments; the index is then exactly the old or the new one, and goes on."""
    rng, first, held = random.Random(seed), 0, -1
    for _ in range(times):
        child = writer(folder, first)
        assert child.stdout.readline() == f"start {first}\n"
        time.sleep(rng.expovariate(1 / 0.03))
        child.kill()
        lines = [line.split() for line in child.stdout.read().split("\n")[:-1]]  # a line cut short does not count
        child.wait()
        done = max((int(n) for word, n in lines if word == "done"), default=held)
        started = max((int(n) for word, n in lines if word == "start"), default=first)
        held = version_of(folder)
        assert held in (done, started), f"version {held} after a kill between {done} and {started}"
        if held >= 0:
            tidy(folder)
        first = started + 1
    update(folder, first)
    tidy(folder)
    return times


class Half:
    """A file whose next write gets half through."""

    def __init__(self, file: Any, step: Callable[[], None]) -> None:
        self.file, self.step = file, step

    def __enter__(self) -> Half:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        """Write; when it is this write's turn to fail, half of the data is on the disk by then."""
        try:
            self.step()
        except OSError:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise
        return self.file.write(data)


@contextmanager
def failing(turn: int, code: int) -> Iterator[list[str]]:
    """Inside, the file operation number `turn` of this process fails with `code`; gives the operations so far."""
    seen: list[str] = []
    kept = {name: getattr(os, name) for name in (*CALLS, "fdopen")}
    plain = io.open

    def step(name: str) -> None:
        seen.append(name)
        if len(seen) == turn:
            raise OSError(code, os.strerror(code), name)

    def wrap(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "close":  # a close that fails has closed all the same
                kept[name](*args, **kwargs)
                return step(name)
            step(name)
            return kept[name](*args, **kwargs)

        return call

    def opened(*args: Any, **kwargs: Any) -> Any:
        step("open to read")
        return plain(*args, **kwargs)

    try:
        for name in CALLS:
            setattr(os, name, wrap(name))
        os.fdopen = lambda *args, **kwargs: Half(kept["fdopen"](*args, **kwargs), lambda: step("write"))
        builtins.open = io.open = opened
        yield seen
    finally:
        builtins.open = io.open = plain
        for name, original in kept.items():
            setattr(os, name, original)


def faults(folder: Path, codes: tuple[int, ...] = (errno.EIO, errno.ENOSPC)) -> int:
    """Fail the first, second, third ... file operation of an update until one runs through; returns the operations."""
    turns = 0
    for code in codes:
        for turn in count(1):
            place = folder / f"{code}-{turn}"
            update(place, 1, 20)
            shown: Exception | None = None
            with failing(turn, code) as seen:
                try:
                    update(place, 2, 20)
                except (OSError, ValueError) as error:
                    shown = error
            what = f"operation {turn} ({seen[-1]}), {shown}"
            found = version_of(place)
            assert found in (1, 2) and (shown or found == 2), f"version {found} without a word after {what}"
            update(place, 2, 20)  # nobody has to clean up by hand
            assert version_of(place) == 2, what
            tidy(place)
            if len(seen) < turn:
                break
            turns += 1
    return turns


def flips(folder: Path, times: int, seed: int = 0) -> int:
    """Change single bits anywhere in the index; every one is found when it is opened."""
    rng = random.Random(seed)
    update(folder, 1)
    files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size]
    for n in range(times):
        path = files[n % len(files)]
        data = bytearray(path.read_bytes())
        place, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        data[place] ^= bit
        path.write_bytes(data)
        try:
            FaissStore.open(folder, Digest())
            raise AssertionError(f"bit {bit} of byte {place} of {path.name} was not found")
        except IndexMismatch as error:
            assert "damaged" in str(error)
        data[place] ^= bit
        path.write_bytes(data)
    assert version_of(folder) == 1
    return times


def readers(folder: Path, seconds: float) -> int:
    """Open again and again while a child writes: every opening sees one whole version, never an older one than before."""
    update(folder, 0)
    child, last, opened = writer(folder, 1), 0, 0
    try:
        assert child.stdout.readline() == "start 1\n"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = version_of(folder)
            assert found >= last, f"version {found} after {last}"
            last, opened = found, opened + 1
    finally:
        child.kill()
        child.wait()
    assert last > 0, "the writer did not get on"
    return opened


def main() -> None:
    """Run all four and print how many cases each has tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--readers", type=float, default=10.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        with suppress(BrokenPipeError):
            write_for_ever(given.write, given.first)
        return
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        print(f"killed writers          {kills(place / 'kills', given.kills, given.seed):6}", flush=True)
        print(f"failed file operations  {faults(place / 'faults'):6}", flush=True)
        print(f"flipped bits            {flips(place / 'flips', given.flips, given.seed):6}", flush=True)
        print(f"openings while writing  {readers(place / 'readers', given.readers):6}", flush=True)


if __name__ == "__main__":
    main()
