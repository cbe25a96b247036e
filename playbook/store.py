"""A LangChain `VectorStore` over an exact faiss index, kept on disk without pickle, committed in one step.

Knows vectors, ids, documents and who may see them. It does not know files, questions or keyword search. On disk: one
file, passages.index (a line with the hash of all that follows; a line of JSON with embedder, text hashes and documents;
the vectors as .npy), so that replacing it is the commit. LOCK is empty; whoever writes holds it.
"""

import io
import json
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

from playbook.engagement import digest, write_atomic

Roles = Iterable[str] | None
Found = tuple[Document, float]
TextOf = Callable[[Document], str] | None
FILE = "passages.index"
EVERYONE = "everyone"  # the role that every asker has


class IndexMismatch(ValueError):
    """The index on disk was made by another embedder, or is damaged."""


class IndexBusy(ValueError):
    """Another notebook or program writes, or has meanwhile written, the same index."""


class FaissStore(VectorStore):
    """Exact inner-product search over unit vectors; scores are raw cosines in [-1, 1], higher is nearer.

    `text_of` says which text of a document is embedded. Row n of `vectors`, shape (documents, dimension), belongs to the
    n-th of `documents`, and entry n of `keys` is the hash of its embedded text. `generation` is the hash of the
    index on disk that was opened or saved last.
    """

    def __init__(self, embedding: Embeddings, text_of: TextOf = None) -> None:
        self.embedding = embedding
        self.text_of = text_of or (lambda document: document.page_content)
        self.generation, self._home = "", Path()
        self._set({}, [], np.zeros((0, 0), np.float32))

    def _set(self, documents: dict[str, Document], keys: list[str], vectors: np.ndarray) -> None:
        self.documents, self.keys, self.vectors = documents, keys, vectors
        self._index: faiss.IndexFlatIP | None = None  # made at the first search; the hybrid retriever reads `vectors`
        self._masks: dict[frozenset[str] | None, np.ndarray] = {}

    def _hold(self, documents: dict[str, Document]) -> None:
        """Hold exactly these documents by id; a text whose vector is here already is not embedded again."""
        texts = [self.text_of(d) for d in documents.values()]
        keys = [digest(t)[:32] for t in texts]
        known = dict(zip(self.keys, self.vectors, strict=True))
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            encode = getattr(self.embedding, "encode_documents", self.embedding.embed_documents)
            made = np.array(encode(list(new.values())), np.float32)
            faiss.normalize_L2(made)
            known |= zip(new, made, strict=True)
        vectors = np.array([known[key] for key in keys], np.float32)
        self._set(documents, keys, vectors.reshape(len(keys), -1 if keys else 0))

    embeddings = property(lambda store: store.embedding, doc="The embedder that made the vectors.")

    @property
    def fingerprint(self) -> str:
        """Name of the embedder the vectors belong to."""
        return getattr(self.embedding, "fingerprint", type(self.embedding).__name__)

    def __len__(self) -> int:
        return len(self.documents)

    def add_texts(self, texts: Iterable[str], metadatas: Any = None, *, ids: Any = None, **kwargs: Any) -> list[str]:
        """Embed and add texts with optional metadata and ids; an id that is there already is replaced. Returns the ids.

        LangChain's `add_documents` comes here too.
        """
        texts = list(texts)
        ids = [i or str(uuid.uuid4()) for i in ids or [None for _ in texts]]
        if len(ids) != len(texts):
            raise ValueError(f"{len(ids)} ids for {len(texts)} documents: give one id for each.")
        rows = zip(ids, texts, metadatas or [{} for _ in texts], strict=True)
        self._hold(self.documents | {i: Document(id=i, page_content=text, metadata=meta) for i, text, meta in rows})
        return ids

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

    def search(self, vector: np.ndarray, k: int = 4, roles: Roles = None) -> list[Found]:
        """The `k` nearest documents to one vector with their cosines, best first.

        `roles` (see `mask`) leave documents out inside the search, so `k` are found where there are `k`.
        """
        if k < 1 or not self.documents:
            return []
        if self._index is None:
            self._index, self._rows = faiss.IndexFlatIP(self.vectors.shape[1]), list(self.documents.values())
            self._index.add(self.vectors)
        chosen = faiss.IDSelectorBitmap(np.packbits(self.mask(roles), bitorder="little"))
        query = np.array(vector, np.float32).reshape(1, -1)
        faiss.normalize_L2(query)
        scores, found = self._index.search(query, min(k, len(self)), params=faiss.SearchParameters(sel=chosen))
        return [(self._rows[n], float(s)) for n, s in zip(found[0], scores[0], strict=True) if n >= 0]

    def similarity_search_with_score(self, query: str, k: int = 4, roles: Roles = None) -> list[Found]:
        """The `k` nearest documents to a query text with their cosines; another filter than `roles` is a TypeError."""
        return self.search(self.embedding.embed_query(query), k, roles)

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
        """Write the index beside the old one and put it in its place in one step, which leaves nothing of the old one.

        Raises IndexBusy when another program writes the index, or has changed it since it was opened here, and OSError
        naming the file when the disk refuses to write, or to remove what a stopped writer left.
        """
        rows = [{"id": i, "page_content": d.page_content, "metadata": d.metadata} for i, d in self.documents.items()]
        head = json.dumps({"embedder": self.fingerprint, "keys": self.keys, "documents": rows}, ensure_ascii=False)
        buffer = io.BytesIO()
        np.save(buffer, self.vectors, allow_pickle=False)
        data = head.encode("utf-8", "surrogatepass") + b"\n" + buffer.getvalue()
        seal = digest(data)
        with one_writer(folder):
            current = _committed(folder)
            if self._home == folder.resolve() and current not in ("", seal, self.generation):
                raise IndexBusy(f"The index in {folder} has been changed since it was opened here: open it again.")
            if current != seal:
                write_atomic(folder / FILE, seal.encode() + b"\n" + data)
            self.generation, self._home = seal, folder.resolve()
            _sweep(folder)

    @classmethod
    def open(cls, folder: Path, embedding: Embeddings, text_of: TextOf = None) -> "FaissStore":
        """Read the index; an absent one gives an empty store.

        Raises IndexMismatch when another embedder made it (naming both) or a byte has changed.
        """
        store = cls(embedding, text_of)
        store._home = folder.resolve()
        if not (folder / FILE).is_file():
            return store
        with suppress(IndexBusy, OSError), one_writer(folder, wait=0):
            _sweep(folder)  # the next save tells if it cannot be removed
        again = "delete that folder and run notebook 04 again."
        seal, _, data = (folder / FILE).read_bytes().partition(b"\n")
        store.generation = digest(data)
        if seal != store.generation.encode():
            raise IndexMismatch(f"The index in {folder} is damaged ({FILE} is not as it was written): {again}")
        head, _, array = data.partition(b"\n")
        held = json.loads(head)
        made = held["embedder"]
        if made != store.fingerprint:
            store.embedding = getattr(embedding, "matching", lambda _: embedding)(made)
        if made != store.fingerprint:
            raise IndexMismatch(f"Index {folder} was made by {made}, but this client uses {store.fingerprint}: {again}")
        documents = {row["id"]: Document(**row) for row in held["documents"]}
        store._set(documents, held["keys"], np.load(io.BytesIO(array), allow_pickle=False))
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


def _committed(folder: Path) -> str:
    """The hash at the head of the index, "" without one: 64 characters, however long the file is."""
    with suppress(FileNotFoundError), (folder / FILE).open("rb") as file:
        return file.read(64).decode("ascii", "replace")
    return ""


def _sweep(folder: Path) -> None:
    """Remove the half-written files of writers that were stopped."""
    for path in folder.glob(f".{FILE}.*"):
        path.unlink()
