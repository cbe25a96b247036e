"""Results kept by content, so that a change computes only what it touches.

Knows hashes, the clock and one file for each setting. Does not know what an item, an arm or an answer is. The folder
may be deleted at any time: what it held is computed again.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.load import dumps

from playbook.engagement import digest, fingerprint, write_atomic

Result = dict[str, Any]
Compute = Callable[[list[str]], Iterable[Result]]
Progress = Callable[[Sequence], Iterable]  # for instance tqdm
CODE = fingerprint(Path(__file__).parent, (".py",))  # of this package


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
    path = folder / f"{digest(dumps([CODE, setting], sort_keys=True))[:32]}.kept" if folder else None
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
