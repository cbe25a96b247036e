"""A LangChain `VectorStore` over an exact faiss index, kept on disk without pickle, committed in one step.

Knows vectors, ids, documents and who may see them. It does not know files, questions or keyword search. On disk: one
folder per generation (vectors.npy, chunks.jsonl, manifest.json) and a file CURRENT that names the valid one; replacing
CURRENT is the commit. LOCK is empty; whoever writes holds it.
"""

import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from filelock import FileLock, Timeout
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from playbook.engagement import write_atomic

Filter = Callable[[Document], bool]
Roles = Iterable[str] | None
Found = tuple[Document, float]
EVERYONE = "everyone"  # the role that every asker has


class IndexMismatch(ValueError):
    """The index on disk was made by another embedder, or is damaged."""


class IndexBusy(ValueError):
    """Another notebook or program writes, or has meanwhile written, the same index."""


class ErasureFailed(ValueError):
    """The new index is in force, but files of an older one could not be removed: removed text is still on the disk."""


class FaissStore(VectorStore):
    """Exact inner-product search over unit vectors; scores are raw cosines in [-1, 1], higher is nearer.

    `text_of` says which text of a document is embedded. Row n of `vectors`, shape (documents, dimension), belongs to the
    n-th of `documents`, and entry n of `keys` is the hash of its embedded text. `generation` names the index on disk
    that was opened or saved last; `embedded` counts the texts embedded so far.
    """

    def __init__(self, embedding: Embeddings, text_of: Callable[[Document], str] | None = None) -> None:
        self.embedding = embedding
        self.text_of = text_of or (lambda document: document.page_content)
        self.embedded, self.generation, self._home = 0, "", Path()
        self._set({}, [], np.zeros((0, 0), np.float32))

    def _set(self, documents: dict[str, Document], keys: list[str], vectors: np.ndarray) -> None:
        self.documents, self.keys, self.vectors = documents, keys, vectors
        self._index: tuple[faiss.IndexFlatIP, list[Document]] | None = None
        self._masks: dict[frozenset[str] | None, np.ndarray] = {}

    def _hold(self, documents: dict[str, Document]) -> None:
        """Hold exactly these documents by id; a text whose vector is here already is not embedded again."""
        texts = [self.text_of(d) for d in documents.values()]
        keys = [hashlib.sha256(t.encode("utf-8", "surrogatepass")).hexdigest()[:32] for t in texts]
        rows = {key: n for n, key in enumerate(self.keys)}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
        vectors = self.vectors
        if new:
            encode = getattr(self.embedding, "encode_documents", self.embedding.embed_documents)
            made = np.array(encode(list(new.values())), np.float32)
            faiss.normalize_L2(made)
            vectors = np.vstack([vectors, made]) if rows else made
            rows |= {key: len(self.keys) + n for n, key in enumerate(new)}
            self.embedded += len(new)
        self._set(documents, keys, vectors[[rows[key] for key in keys]])

    @property
    def embeddings(self) -> Embeddings:
        """The embedder that made the vectors."""
        return self.embedding

    @property
    def fingerprint(self) -> str:
        """Name of the embedder the vectors belong to."""
        return getattr(self.embedding, "fingerprint", type(self.embedding).__name__)

    def __len__(self) -> int:
        return len(self.documents)

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embed and add documents; a document whose id is there already replaces it. Returns the ids."""
        ids = [i or str(uuid.uuid4()) for i in kwargs.get("ids") or [d.id for d in documents]]
        if len(ids) != len(documents):
            raise ValueError(f"{len(ids)} ids for {len(documents)} documents: give one id for each.")
        fresh = {i: d.model_copy(update={"id": i}) for i, d in zip(ids, documents, strict=True)}
        self._hold(self.documents | fresh)
        return ids

    def add_texts(self, texts: Iterable[str], metadatas: Any = None, *, ids: Any = None, **kwargs: Any) -> list[str]:
        """Embed and add plain texts with optional metadata and ids."""
        texts = list(texts)
        pairs = zip(texts, metadatas or [{} for _ in texts], strict=True)
        return self.add_documents([Document(page_content=t, metadata=m) for t, m in pairs], ids=ids)

    @classmethod
    def from_texts(cls, texts: list[str], embedding: Embeddings, metadatas: Any = None, **kwargs: Any) -> "FaissStore":
        """A store filled with `texts`; takes `ids`."""
        store = cls(embedding)
        store.add_texts(texts, metadatas, ids=kwargs.get("ids"))
        return store

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents by id (all, when `ids` is None); unknown ids are passed over."""
        gone = set(self.documents if ids is None else ids)
        self._hold({i: d for i, d in self.documents.items() if i not in gone})
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked; unknown ids are left out. Looks at no audience."""
        return [self.documents[i] for i in ids if i in self.documents]

    def mask(self, roles: Roles) -> np.ndarray:
        """Which rows an asker with these roles may see, bool, shape (documents,); None: all. Worked out once per roles.

        A document's metadata may hold `audience`, a list of roles of which the asker must have one; every asker has the
        role "everyone". Without that key a document is for everyone; with an empty list, or no list at all, for nobody.
        """
        asker = None if roles is None else frozenset({roles} if isinstance(roles, str) else roles) | {EVERYONE}
        if asker not in self._masks:
            seen = [asker is None or _may_see(d.metadata, asker) for d in self.documents.values()]
            self._masks[asker] = np.array(seen, bool)
        return self._masks[asker]

    def search(self, vector: np.ndarray, k: int = 4, keep: Filter | None = None, roles: Roles = None) -> list[Found]:
        """The `k` nearest documents to one vector with their cosines, best first.

        `roles` (see `mask`) and `keep` leave documents out inside the search, so `k` are found where there are `k`.
        """
        if k < 1 or not self.documents:
            return []
        if self._index is None:
            self._index = faiss.IndexFlatIP(self.vectors.shape[1]), list(self.documents.values())
            self._index[0].add(self.vectors)
        index, rows = self._index
        allowed = self.mask(roles)
        if keep is not None:
            allowed = np.array([a and keep(d) for a, d in zip(allowed, rows, strict=True)], bool)
        chosen = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        query = np.array(vector, np.float32).reshape(1, -1)
        faiss.normalize_L2(query)
        scores, found = index.search(query, min(k, len(rows)), params=faiss.SearchParameters(sel=chosen))
        return [(rows[n], float(s)) for n, s in zip(found[0], scores[0], strict=True) if n >= 0]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[Found]:
        """The `k` nearest documents to a query text with their cosines; takes `filter` (a function) and `roles`."""
        return self.search(self.embedding.embed_query(query), k, kwargs.get("filter"), kwargs.get("roles"))

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` nearest documents to a query text."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def sync(self, chunks: Iterable[Document]) -> dict[str, int]:
        """Make the store hold exactly `chunks` (which carry content-hash ids); only text that is new is embedded.

        So a file that was renamed or a passage that moved costs nothing. Returns how many chunks were added, kept (same
        id, same text) and removed.
        """
        before = dict(zip(self.documents, self.keys, strict=True))
        self._hold({c.id: c for c in chunks})
        kept = sum(before.get(i) == key for i, key in zip(self.documents, self.keys, strict=True))
        removed = len(before.keys() - self.documents.keys())
        return {"added": len(self.documents) - kept, "kept": kept, "removed": removed}

    def save(self, folder: Path) -> None:
        """Write a new generation, commit it by replacing CURRENT, and remove everything older.

        Raises IndexBusy when another program writes the index, or has changed it since it was opened here, and
        ErasureFailed when the commit is done but something older could not be removed.
        """
        files = self._files()
        name = _name(files["manifest.json"])
        with one_writer(folder):
            current = _current(folder)
            if self._home == folder.resolve() and current not in ("", name, self.generation):
                raise IndexBusy(f"The index in {folder} has been changed since it was opened here: open it again.")
            if current != name:
                for file, data in files.items():
                    write_atomic(folder / name / file, data)
                _to_disk(folder / name, folder)
                write_atomic(folder / "CURRENT", name)
                _to_disk(folder)
            self.generation, self._home = name, folder.resolve()
            _sweep(folder)

    def _files(self) -> dict[str, bytes]:
        buffer = io.BytesIO()
        np.save(buffer, self.vectors, allow_pickle=False)
        rows = [
            {"id": i, "key": key, "text": d.page_content, "metadata": d.metadata}
            for (i, d), key in zip(self.documents.items(), self.keys, strict=True)
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        files = {"vectors.npy": buffer.getvalue(), "chunks.jsonl": lines.encode("utf-8", "surrogatepass")}
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        manifest = json.dumps({"embedder": self.fingerprint, "sha256": hashes}, sort_keys=True)
        return files | {"manifest.json": manifest.encode()}

    @classmethod
    def open(
        cls, folder: Path, embedding: Embeddings, text_of: Callable[[Document], str] | None = None
    ) -> "FaissStore":
        """Read the committed generation; an absent index gives an empty store.

        Raises IndexMismatch when another embedder made it (naming both) or a byte has changed.
        """
        store, name = cls(embedding, text_of), _current(folder)
        store.generation, store._home = name, folder.resolve()
        if not name:
            return store
        again = "delete that folder and run notebook 04 again."
        try:
            files = _read(folder / name)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if _current(folder) != name:  # a writer has replaced it meanwhile
                return cls.open(folder, embedding, text_of)
            raise IndexMismatch(f"The index in {folder} is damaged ({error}): {again}") from error
        made = json.loads(files["manifest.json"])["embedder"]
        if made != store.fingerprint:
            store.embedding = getattr(embedding, "matching", lambda _: embedding)(made)
        if made != store.fingerprint:
            reason = f"was made by {made}, but this engagement uses {store.fingerprint}"
            raise IndexMismatch(f"The index in {folder} {reason}: {again}")
        rows = [json.loads(line) for line in files["chunks.jsonl"].split(b"\n")[:-1]]
        documents = {r["id"]: Document(id=r["id"], page_content=r["text"], metadata=r["metadata"]) for r in rows}
        vectors = np.load(io.BytesIO(files["vectors.npy"]), allow_pickle=False)
        store._set(documents, [r.get("key", "") for r in rows], vectors)
        with suppress(IndexBusy, ErasureFailed, OSError), one_writer(folder, wait=0):
            _sweep(folder)  # what a stopped writer left; the next save tells if it cannot be removed
        return store


def one_writer(folder: Path, wait: float = 2.0) -> AbstractContextManager[Any]:
    """Be the only writer of the index in `folder` inside a `with`; may be nested. The lock of a dead process is void.

    Raises IndexBusy when another has it for longer than `wait` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / "LOCK", is_singleton=True).acquire(timeout=wait)
    except Timeout:
        busy = f"Another notebook or program is writing the index in {folder}"
        raise IndexBusy(f"{busy}: wait until it is done, then run this again.") from None


def _may_see(metadata: dict[str, Any], asker: frozenset[str]) -> bool:
    audience = metadata.get("audience", [EVERYONE])
    return isinstance(audience, list | tuple) and any(isinstance(role, str) and role in asker for role in audience)


def _name(manifest: bytes) -> str:
    return "generation-" + hashlib.sha256(manifest).hexdigest()[:16]


def _current(folder: Path) -> str:
    """Name of the committed generation, "" without an index; never a path to somewhere else."""
    path = folder / "CURRENT"
    return Path(path.read_text(encoding="utf-8", errors="replace")).name or "?" if path.is_file() else ""


def _read(generation: Path) -> dict[str, bytes]:
    """The files of a generation by name; raises ValueError or OSError for a file that is not as it was written."""
    manifest = (generation / "manifest.json").read_bytes()
    if generation.name != _name(manifest):
        raise ValueError("manifest.json has changed")
    files = {"manifest.json": manifest}
    for name, digest in json.loads(manifest)["sha256"].items():
        files[name] = (generation / name).read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ValueError(f"{name} has changed")
    return files


def _sweep(folder: Path) -> None:
    """Remove all but the committed generation: older ones, unfinished ones, and half-written files."""
    current = _current(folder)
    old = [p for p in folder.glob("generation-*") if p.name != current]
    for path in [*old, *folder.glob(".CURRENT.*"), *(folder / current).glob(".*.*")]:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            still = f"The new index is in force, but {path} still holds older text ({error})"
            raise ErasureFailed(f"{still}: close what uses it and save again.") from error


def _to_disk(*folders: Path) -> None:
    """Make the names in folders survive a power cut, where the system can (Windows and some network disks cannot)."""
    for folder in folders:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
