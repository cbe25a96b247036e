"""The drills of notebook 07 with an adapter in place of the cheap classifier: wrong labels, and fewer examples.

`python tools/adapter_drills.py` trains ten adapters on the sample client's training texts (about 20 minutes on two
cores), scores each on its tuning split, and stores the dated shares in playbook/tables/adapter_drills.yaml.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the project itself, when it is not installed

import numpy as np
import yaml

from playbook import lora
from playbook.checked import TABLES
from playbook.classifiers import fit_probe
from playbook.embedding import load_embeddings
from playbook.engagement import open_engagement, write_atomic
from playbook.items import load_examples
from playbook.models import load_profile

client = open_engagement("sample")
profile, seed, examples = load_profile(client.settings.profile), client.settings.seed, load_examples(client.examples)
train, tune = ([e for e in examples if e.split == split] for split in ("train", "tune"))
codes, number = np.unique([e.label for e in train], return_inverse=True)


def right(rows: np.ndarray, wrong: np.ndarray) -> float:
    """Share right on the tuning split of an adapter trained on these rows with these numbers of codes."""
    taught = [train[n].model_copy(update={"label": str(codes[wrong[n]])}) for n in rows]
    with tempfile.TemporaryDirectory() as folder:
        adapted, _ = lora.train(taught, profile.embedder, profile.lora, seed, Path(folder) / "adapter")
    probe = fit_probe(adapted.encode([e.text for e in taught]), [e.label for e in taught])
    return round(float(np.mean(probe.predict(adapted.encode([e.text for e in tune])) == [e.label for e in tune])), 4)


def main() -> None:
    """Train, score and store: all labels right, slips and a wrong rule as in the notebook, and shares of the texts."""
    vectors, rng, count = load_embeddings(profile).encode([e.text for e in train]), np.random.default_rng(0), len(train)
    centres = np.array([vectors[number == n].mean(axis=0) for n in range(len(codes))])
    nearest = (centres @ centres.T - 2 * np.eye(len(codes))).argmax(axis=1)
    slips = (number + rng.integers(1, len(codes), count)) % len(codes)
    mixed, by_code = rng.permutation(count), np.argsort(rng.permutation(len(codes))[number], kind="stable")
    found = {"as_of": date.today(), "all": right(mixed, number), "slips": {}, "a wrong rule": {}, "examples": {}}
    for share in (0.05, 0.1, 0.2):
        for kind, order, other in (("slips", mixed, slips), ("a wrong rule", by_code, nearest[number])):
            hit = np.isin(np.arange(count), order[: round(share * count)])
            found[kind][share] = right(mixed, np.where(hit, other, number))
    found["examples"] = {round(s * count): right(mixed[: round(s * count)], number) for s in (0.25, 0.5, 0.75)}
    write_atomic(TABLES / "adapter_drills.yaml", yaml.safe_dump(found, sort_keys=False))


if __name__ == "__main__":
    main()
