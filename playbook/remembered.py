"""Results kept by content, so that a change computes only what it touches.

Knows hashes, the clock and one file for each setting. Does not know what an item, an arm or an answer is. The folder
may be deleted at any time: what it held is computed again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.load import dumps

from playbook.engagement import write_atomic

Result = dict[str, Any]
Compute = Callable[[list[str]], Iterable[Result]]
Progress = Callable[[Sequence], Iterable]  # for instance tqdm
CODE = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]


def remembered(
    folder: Path | None, setting: Any, items: Sequence[str], compute: Compute, progress: Progress = iter
) -> list[Result]:
    """The result of each item: the stored one where this `setting` has seen it, else from `compute`, in order.

    `setting`: everything but the item and this package's code that decides a result; what is neither JSON-able nor
    LangChain's counts by its `repr`. `items`: texts, stored as hashes; equal ones are computed once. `compute` is given
    the missing ones and yields a JSON-able result for each, so that an interrupted run keeps what it has; each gets
    `milliseconds`, the time since the one before (the first bears what all share). A damaged file counts as none. Without
    a `folder` nothing is stored.
    """
    path = folder / f"{_digest(dumps([CODE, setting], sort_keys=True))}.kept" if folder else None
    digest, _, body = (path.read_bytes() if path and path.is_file() else b"").decode(errors="replace").partition("\n")
    kept = json.loads(body) if digest == _digest(body) else {}
    missing = {_digest(item): item for item in items if _digest(item) not in kept}
    started = time.perf_counter()
    try:
        computed = zip(progress(list(missing)), compute(list(missing.values())), strict=True) if missing else ()
        for key, result in computed:  # one by one, in the order given
            kept[key] = {**result, "milliseconds": 1000 * (time.perf_counter() - started)}
            started = time.perf_counter()
    finally:
        if path and missing:
            body = json.dumps(kept)
            write_atomic(path, f"{_digest(body)}\n{body}")
    return [kept[_digest(item)] for item in items]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
