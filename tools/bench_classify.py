"""The behaviour arms measured on anybody's labelled texts: two CSV files with `text` and `label`, nothing else.

No engagement, no code book: a label is its own name. The rungs are similarity methods and stand in for prompting; the
adapter is trained with the recipe of the profile, as in notebook 08.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from playbook.arms import Output, classify, coded, correctness
from playbook.classifiers import fit_probe
from playbook.embedding import load_embeddings
from playbook.evaluation import PairedTest, compare, macro_f1, proportion
from playbook.items import Code, Example, load_examples, read_rows
from playbook.models import Profile, load_profile

ARMS = {"zero_shot": "label_name", "nearest_neighbour": "nearest_examples", "linear_probe": "linear_probe"}
PAIRS = (("nearest_neighbour", "zero_shot"), ("linear_probe", "nearest_neighbour"), ("lora", "linear_probe"))


class Shared:
    """An embedder that embeds each text once and books its time on every arm that asks for it."""

    def __init__(self, encode: Callable[[list[str]], np.ndarray]) -> None:
        self._encode, self._known = encode, {}
        self.saved = 0.0  # seconds that the arms so far would have spent on texts embedded for an earlier one

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Vectors of `texts`, in their order."""
        self.saved += sum(self._known[t][1] for t in set(texts) if t in self._known)
        new = list(dict.fromkeys(t for t in texts if t not in self._known))
        started = time.perf_counter()
        vectors = self._encode(new) if new else []
        each = (time.perf_counter() - started) / max(1, len(new))
        self._known.update((t, (v, each)) for t, v in zip(new, vectors, strict=True))
        return np.stack([self._known[t][0] for t in texts])


def classification(train: Path, test: Path, with_lora: bool = True, profile: str = "embedded") -> dict[str, Any]:
    """Accuracy with its 95 % interval, macro-F1 and seconds of each arm, and paired tests between them.

    Seconds are for the whole arm on its own: embedding what it needs, learning, and coding all test texts; loading the
    embedder is left out, but the adapter's include opening its own copy. Notes on the files go to stderr. Raises
    ValueError naming file, line and fix for bad input.
    """
    learn, asked = load_labelled(train), load_labelled(test)
    labels = sorted({e.label for e in learn})
    if len(labels) < 2:
        raise ValueError(f"{train.name} has one label only, '{labels[0]}': give texts with at least two.")
    for note in notes(learn, asked):
        print(f"note: {note}", file=sys.stderr)
    settings = load_profile(profile)
    encode = Shared(load_embeddings(settings).encode)
    codes = [Code(code=name, label=spoken(name), definition="") for name in labels]
    runs = {name: partial(classify, arm, learn, asked, codes, encode) for name, arm in ARMS.items()}
    if with_lora:
        from playbook import lora  # before any clock runs: it takes seconds

        runs["lora"] = partial(adapter_arm, lora.train, learn, asked, settings)
    figures: dict[str, Any] = {}
    outputs: dict[str, Sequence[Output]] = {}
    for name, run in runs.items():
        started, saved = time.perf_counter(), encode.saved
        outputs[name] = run()
        figures[name] = measured(outputs[name], time.perf_counter() - started + encode.saved - saved)
    return {**figures, "lora": figures.get("lora"), "tests": paired(outputs)}


def load_labelled(path: Path) -> list[Example]:
    """The labelled texts of a CSV, rows named by line; raises ValueError for a missing file or column and empty cells."""
    read_rows(path, ("text", "label"))  # a missing file is an error here
    return load_examples(path)


def spoken(label: str) -> str:
    """A label as words: `card_lost` is 'card lost'."""
    return label.replace("_", " ").replace("-", " ")


def notes(learn: Sequence[Example], asked: Sequence[Example]) -> list[str]:
    """What the figures must be read with: labels that cannot be given, and test texts that are also training texts."""
    known, seen = {e.label for e in learn}, {e.text for e in learn}
    unseen = Counter(e.label for e in asked if e.label not in known)
    found = []
    if unseen:
        named = ", ".join(f"{label} ({n})" for label, n in sorted(unseen.items()))
        found.append(
            f"{unseen.total()} test text(s) have a label that no training text has and count as wrong: {named}."
        )
    copies = sum(e.text in seen for e in asked)
    return found + ([f"{copies} test text(s) are training texts as well: figures are too good."] if copies else [])


def adapter_arm(
    train: Callable[..., Any], learn: Sequence[Example], asked: Sequence[Example], settings: Profile
) -> list[Output]:
    """Train an adapter with the profile's recipe, then a linear classifier on the adapted vectors."""
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):  # the trainer says its losses
        adapted, _ = train(learn, settings.embedder, settings.lora, 0, Path(scratch) / "adapter")
    probe = fit_probe(adapted.encode([e.text for e in learn]), [e.label for e in learn])
    return coded("lora", asked, probe.predict(adapted.encode([e.text for e in asked])), 0.0, "direct")


def measured(rows: Sequence[Output], seconds: float) -> dict[str, Any]:
    """One arm's figures."""
    right = proportion(sum(o.correct for o in rows), len(rows))
    return {
        "accuracy": round(right.share, 4),
        "macro_f1": round(macro_f1([o.expected for o in rows], [o.output for o in rows]), 4),
        "seconds": round(seconds, 2),
        "interval": [round(right.low, 4), round(right.high, 4)],
    }


def paired(outputs: dict[str, Sequence[Output]]) -> list[PairedTest]:
    """Exact paired tests of neighbouring arms, Holm-corrected."""
    rows = [o.model_copy(update={"arm": name}) for name, found in outputs.items() for o in found]
    return compare(correctness(rows), [pair for pair in PAIRS if set(pair) <= set(outputs)])
