"""A LangChain `VectorStore` over an exact faiss index, kept on disk without pickle, committed in one step.

Knows vectors, ids and documents. It does not know files, questions or keyword search. On disk: one folder per
generation (vectors.npy, chunks.jsonl, manifest.json) and a file CURRENT that names the valid one; replacing CURRENT
is the commit.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from playbook.engagement import write_atomic

Filter = Callable[[Document], bool]


class IndexMismatch(ValueError):
    """The index on disk was made by another embedder, or is damaged."""


class FaissStore(VectorStore):
    """Exact inner-product search over unit vectors; scores are raw cosines in [-1, 1], higher is nearer."""

    def __init__(self, embedding: Embeddings, text_of: Callable[[Document], str] | None = None) -> None:
        self.embedding = embedding
        self.text_of = text_of or (lambda document: document.page_content)
        self.documents: dict[str, Document] = {}
        self.vectors = np.zeros((0, 0), np.float32)
        self._index: faiss.IndexFlatIP | None = None

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
        given = kwargs.pop("ids", None) or [d.id for d in documents]
        ids = [i or str(uuid.uuid4()) for i in given]
        if len(ids) != len(documents):
            raise ValueError(f"{len(ids)} ids for {len(documents)} documents: give one id for each.")
        fresh = {
            i: Document(id=i, page_content=d.page_content, metadata=d.metadata)
            for i, d in zip(ids, documents, strict=True)
        }
        if not fresh:
            return []
        vectors = np.asarray(self.embedding.embed_documents([self.text_of(d) for d in fresh.values()]), np.float32)
        faiss.normalize_L2(vectors)
        self.delete(list(fresh))
        self.vectors = np.vstack([self.vectors, vectors]) if len(self.documents) else vectors
        self.documents |= fresh
        self._index = None
        return ids

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict] | None = None, *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Embed and add plain texts with optional metadata and ids."""
        texts = list(texts)
        documents = [
            Document(page_content=t, metadata=m) for t, m in zip(texts, metadatas or [{} for _ in texts], strict=True)
        ]
        return self.add_documents(documents, ids=ids)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents by id (all, when `ids` is None); unknown ids are passed over."""
        gone = set(self.documents if ids is None else ids)
        if gone & self.documents.keys():
            keep = [n for n, i in enumerate(self.documents) if i not in gone]
            self.documents = {i: d for i, d in self.documents.items() if i not in gone}
            self.vectors = self.vectors[keep]
            self._index = None
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked; unknown ids are left out."""
        return [self.documents[i] for i in ids if i in self.documents]

    def search(self, vector: np.ndarray, k: int = 4, keep: Filter | None = None) -> list[tuple[Document, float]]:
        """The `k` nearest documents to one unit vector with their cosines, best first; `keep` filters before ranking."""
        if k < 1 or not self.documents:
            return []
        if self._index is None:
            self._index = faiss.IndexFlatIP(self.vectors.shape[1])
            self._index.add(self.vectors)
        rows = list(self.documents.values())
        parameters = None
        if keep is not None:
            allowed = np.array([n for n, d in enumerate(rows) if keep(d)], np.int64)
            if not len(allowed):
                return []
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(allowed))
        query = np.ascontiguousarray(vector, np.float32).reshape(1, -1)
        scores, found = self._index.search(query, min(k, len(rows)), params=parameters)
        return [(rows[n], float(s)) for n, s in zip(found[0], scores[0], strict=True) if n >= 0]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The `k` nearest documents to a query text with their cosines."""
        vector = np.asarray(self.embedding.embed_query(query), np.float32)
        return self.search(vector / max(float(np.linalg.norm(vector)), 1e-12), k, kwargs.get("filter"))

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` nearest documents to a query text."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> FaissStore:
        """A store filled with `texts`."""
        store = cls(embedding)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def sync(self, chunks: Sequence[Document]) -> dict[str, int]:
        """Make the store hold exactly `chunks` (which carry content-hash ids); only new content is embedded.

        Returns how many were added, kept and removed.
        """
        wanted = {c.id: c for c in chunks}
        new = [c for i, c in wanted.items() if i not in self.documents]
        gone = [i for i in self.documents if i not in wanted]
        self.delete(gone)
        if new:
            self.add_documents(new)
        order = {i: n for n, i in enumerate(self.documents)}
        self.vectors = self.vectors[[order[i] for i in wanted]] if wanted else self.vectors[:0]
        self.documents = wanted  # the same texts and vectors; places may have moved
        self._index = None
        return {"added": len(new), "kept": len(wanted) - len(new), "removed": len(gone)}

    def save(self, folder: Path) -> None:
        """Write a new generation and commit it by replacing CURRENT; older generations are removed afterwards."""
        buffer = io.BytesIO()
        np.save(buffer, self.vectors, allow_pickle=False)
        lines = [
            json.dumps({"id": i, "text": d.page_content, "metadata": d.metadata}, ensure_ascii=False)
            for i, d in self.documents.items()
        ]
        files = {"vectors.npy": buffer.getvalue(), "chunks.jsonl": ("\n".join(lines) + "\n").encode()}
        manifest = {
            "embedder": self.fingerprint,
            "sha256": {n: hashlib.sha256(b).hexdigest() for n, b in files.items()},
        }
        content = json.dumps(manifest, sort_keys=True)
        name = "generation-" + hashlib.sha256(content.encode()).hexdigest()[:16]
        for file, data in files.items():
            write_atomic(folder / name / file, data)
        write_atomic(folder / name / "manifest.json", content)
        write_atomic(folder / "CURRENT", name)
        for old in folder.glob("generation-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def open(cls, folder: Path, embedding: Embeddings, text_of: Callable[[Document], str] | None = None) -> FaissStore:
        """Read the committed generation; an absent index gives an empty store.

        Raises IndexMismatch when another embedder made it (naming both) or a byte has changed.
        """
        store = cls(embedding, text_of)
        if not (folder / "CURRENT").is_file():
            return store
        try:
            generation = folder / (folder / "CURRENT").read_text(encoding="utf-8").strip()
            content = (generation / "manifest.json").read_text(encoding="utf-8")
            if generation.name != "generation-" + hashlib.sha256(content.encode()).hexdigest()[:16]:
                raise ValueError("manifest.json has changed")
            manifest = json.loads(content)
            files = {n: (generation / n).read_bytes() for n in manifest["sha256"]}
            changed = [n for n, b in files.items() if hashlib.sha256(b).hexdigest() != manifest["sha256"][n]]
            if changed:
                raise ValueError(f"{changed[0]} has changed")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IndexMismatch(
                f"The index in {folder} is damaged ({error}): delete that folder and run notebook 04 again."
            ) from error
        if manifest["embedder"] != store.fingerprint:
            raise IndexMismatch(
                f"The index in {folder} was made by {manifest['embedder']}, but this engagement uses {store.fingerprint}: "
                f"delete that folder and run notebook 04 again."
            )
        store.vectors = np.load(io.BytesIO(files["vectors.npy"]), allow_pickle=False)
        for line in filter(None, files["chunks.jsonl"].decode("utf-8").split("\n")):
            row = json.loads(line)
            store.documents[row["id"]] = Document(id=row["id"], page_content=row["text"], metadata=row["metadata"])
        return store
