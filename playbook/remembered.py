"""Results kept by content, so that a change computes only what it touches.

Knows hashes and one file for each setting. Does not know what an item, an arm or an answer is. The folder may be
deleted at any time: what it held is computed again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from playbook.engagement import write_atomic

Result = dict[str, Any]
Compute = Callable[[list[str]], Iterable[Result]]
Progress = Callable[[Sequence], Iterable]  # for instance tqdm


def remembered(
    folder: Path | None, setting: Any, items: Sequence[str], compute: Compute, progress: Progress = iter
) -> list[Result]:
    """The result of each item: the stored one where this `setting` has seen it, else from `compute`, in order.

    `setting`: JSON-able, everything but the item that decides a result. `items`: texts, stored as hashes; equal ones are
    computed once. `compute` is given the missing ones and yields a JSON-able result for each, so that an interrupted
    run keeps what it has. A damaged file counts as none. Without a `folder` nothing is stored.
    """
    path = folder / f"{_digest(json.dumps(setting, sort_keys=True))}.kept" if folder else None
    kept = _read(path) if path and path.is_file() else {}
    keys = [_digest(item) for item in items]
    missing = {key: item for key, item in zip(keys, items, strict=True) if key not in kept}
    try:
        if missing:  # one by one, in the order given
            kept.update(zip(progress(list(missing)), compute(list(missing.values())), strict=True))
    finally:
        if path and missing:
            body = json.dumps(kept)
            write_atomic(path, f"{_digest(body)}\n{body}")
    return [kept[key] for key in keys]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, Result]:
    """What a file holds, if it is as it was written."""
    digest, _, body = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    return json.loads(body) if digest == _digest(body) else {}
