"""A folder to sections: every file is accounted for with a reason, and no file can harm another."""

from __future__ import annotations

import io
import os
import random
import sys
import time
from pathlib import Path

import pytest
from langchain_core.documents import Document
from reportlab.pdfgen import canvas
from test_readers import LINE, mutated, pdf, samples

from playbook import documents
from playbook.chunking import chunk_sections
from playbook.documents import Corpus, FileReport, ReaderProcess, limits, load_folder

POSIX = pytest.mark.skipif(os.name == "nt", reason="links and pipes as POSIX has them")


def folder(tmp_path: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return tmp_path / "in"


def load(tmp_path: Path, files: dict[str, str | bytes], manifest: str = "") -> Corpus:
    where = tmp_path / "documents.yaml"
    where.write_text(manifest, encoding="utf-8")
    return load_folder(folder(tmp_path, files), where)


def ends(corpus: Corpus) -> dict[str, tuple[str, str]]:
    return {f.source: (f.status, f.reason) for f in corpus.files}


# ------------------------------------------------------------------------------------------------------------ sections


def test_sections_follow_headings_and_carry_their_metadata(tmp_path: Path) -> None:
    corpus = load(tmp_path, {"sub/a.md": "start\n\n# Care\n\nWipe it.\n\n- Dry\n\n# End\n\nBye."})
    assert [s.page_content for s in corpus.sections] == ["start", "Wipe it.\nDry", "Bye."]
    assert [s.metadata["heading"] for s in corpus.sections] == ["", "Care", "End"]
    assert [s.metadata["unit"] for s in corpus.sections] == ["paragraph", "", ""]
    metadata = corpus.sections[1].metadata
    assert {k: metadata[k] for k in ("source", "kind", "order", "audience", "replaces", "replaced_by")} == {
        "source": "sub/a.md",
        "kind": "md",
        "order": 1,
        "audience": ["everyone"],
        "replaces": [],
        "replaced_by": [],
    }
    assert len(metadata["sha256"]) == 64
    assert corpus.files == (FileReport("sub/a.md", "indexed", "read", 3, 5),)


def test_marks_say_where_the_number_changes(tmp_path: Path) -> None:
    section = load(tmp_path, {"a.csv": "part,price\nLR-310,14\nLR-320,9\n"}).sections[0]
    assert section.metadata["unit"] == "row"
    assert [(section.page_content[offset:][:12], number) for offset, number in section.metadata["marks"]] == [
        ("part: LR-310", 2),
        ("part: LR-320", 3),
    ]


def test_sentence_over_a_page_break_is_cited_with_both_pages(tmp_path: Path) -> None:
    corpus = load(tmp_path, {"a.pdf": pdf(["First.", LINE], ["and it is paid back.", "Last " + LINE])})
    chunks = chunk_sections(corpus.sections, lambda texts: [len(t.split()) for t in texts], 30)
    whole = next(c for c in chunks if "paid back" in c.page_content)
    assert whole.metadata["place"] == "pp. 1-2"
    assert f"{LINE} and it is paid back." in corpus.sections[0].page_content


# ----------------------------------------------------------------------------------------------------- the conservation


def test_files_in_equal_indexed_empty_duplicate_and_rejected(tmp_path: Path) -> None:
    contents: dict[str, str | bytes] = {
        "a.md": "Words.",
        "b.md": "Words.",
        "c.txt": " \n",
        "d.doc": "x",
        "e.pdf": b"%PDF-broken",
        "F.MD": "Upper case.",
        "README": "x",
        "notes.csv": "",
        "sub/g.txt": "More.",
        "sub/~$g.docx": "lock",
        "sub/Thumbs.db": "x",
        ".DS_Store": "x",
        ".hidden.md": "not the client's",
    }
    corpus = load(tmp_path, contents)
    assert corpus.counts() == {"files": 10, "indexed": 3, "empty": 2, "duplicate": 1, "rejected": 4}
    assert [f.source for f in corpus.files] == sorted(set(contents) - {".hidden.md", ".DS_Store", "sub/~$g.docx"})
    found = ends(corpus)
    assert found["b.md"] == ("duplicate", "same content as a.md")
    assert found["c.txt"] == ("empty", "the file has no content")
    assert found["d.doc"] == ("rejected", "an old Word file: open it and save it as .docx")
    assert found["README"][1].startswith("no ending: not a format we read (.md, ")
    assert found["sub/Thumbs.db"] == ("rejected", "a program's own file, no document")
    assert {s.metadata["source"] for s in corpus.sections} == {"a.md", "F.MD", "sub/g.txt"}


def test_every_kind_of_file_and_of_damage_in_one_folder_is_accounted_for(tmp_path: Path) -> None:
    chance, whole = random.Random(11), samples()
    files: dict[str, str | bytes] = {f"good/a.{kind}": data for kind, data in whole.items()}
    for n in range(200):
        kind = chance.choice(list(whole))
        files[f"bad/{n}.{kind}"] = mutated(whole[kind], chance)
    corpus = load(tmp_path, files)
    counts = corpus.counts()
    assert counts["files"] == len(files) == sum(counts[s] for s in ("indexed", "empty", "duplicate", "rejected"))
    assert {f.source for f in corpus.files} == set(files)
    assert all(f.reason and "breaking" not in f.reason for f in corpus.files)
    assert {f.status for f in corpus.files if f.source.startswith("good/")} == {"indexed"}
    assert {s.metadata["source"] for s in corpus.sections} == {f.source for f in corpus.files if f.status == "indexed"}
    assert all(s.page_content.strip() and s.page_content.encode() for s in corpus.sections)


def test_notes_of_a_reader_stand_in_the_reason(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    drawing = canvas.Canvas(buffer)
    drawing.drawString(72, 700, "Text.")
    drawing.showPage()
    drawing.rect(9, 9, 99, 99)
    drawing.save()
    files = {
        "a.pdf": buffer.getvalue(),
        "scan.pdf": pdf([], []),
        "a.txt": ("Gebühr für größere Aufträge. " * 9).encode("latin-1"),
    }
    found = ends(load(tmp_path, files))
    assert found["a.pdf"] == ("indexed", "read; page 2 has no text layer")
    assert found["scan.pdf"] == ("rejected", "no text layer: needs OCR (the extra [ocr] reads scans)")
    assert found["a.txt"][1].startswith("read; its encoding was guessed: ")


@POSIX
def test_names_with_odd_characters_are_data(tmp_path: Path) -> None:
    names = [
        "line\nbreak.txt",
        "bell\a.txt",
        "x" * 240 + ".txt",
        "größe \u202egpj.txt",
        "{braces} %s $HOME.txt",
        "-rf.txt",
    ]
    corpus = load(tmp_path, {name: f"text {n}" for n, name in enumerate(names)})
    assert {f.source for f in corpus.files} == set(names)
    assert corpus.counts()["indexed"] == len(names)


@POSIX
def test_name_that_is_no_unicode_is_escaped(tmp_path: Path) -> None:
    where = folder(tmp_path, {"a.txt": "a"})
    try:
        Path(os.fsdecode(os.fsencode(where) + b"/caf\xe9.txt")).write_text("b")
    except OSError:
        pytest.skip("this file system refuses such names")
    corpus = load_folder(where)
    assert [f.source for f in corpus.files] == ["a.txt", "caf\\xe9.txt"]
    assert corpus.counts()["indexed"] == 2


@POSIX
def test_links_that_leave_the_folder_loops_and_pipes_are_named_and_not_followed(tmp_path: Path) -> None:
    where = folder(tmp_path, {"a.txt": "a", "sub/b.txt": "b"})
    (tmp_path / "secret.txt").write_text("secret")
    (where / "out.txt").symlink_to(tmp_path / "secret.txt")
    (where / "outside").symlink_to(tmp_path)
    (where / "loop").symlink_to(where)
    (where / "self.txt").symlink_to(where / "self.txt")
    (where / "gone.txt").symlink_to(where / "nowhere.txt")
    (where / "inside.txt").symlink_to(where / "a.txt")
    os.mkfifo(where / "pipe.txt")
    corpus = load_folder(where)
    link = ("rejected", "a link: copy the file itself into the folder")
    assert ends(corpus) == {
        "a.txt": ("indexed", "read"),
        "gone.txt": link,
        "inside.txt": link,
        "loop": link,
        "out.txt": link,
        "outside": link,
        "pipe.txt": ("rejected", "no file but a device or a pipe"),
        "self.txt": link,
        "sub/b.txt": ("indexed", "read"),
    }
    assert "secret" not in str(corpus.sections)


def test_folder_that_cannot_be_opened_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = folder(tmp_path, {"a.txt": "a", "locked/b.txt": "b"})
    original = os.scandir

    def scandir(path: object) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert ends(load_folder(where))["locked"] == ("rejected", "a folder that could not be opened: check its rights")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_file_without_rights_costs_only_itself(tmp_path: Path) -> None:
    where = folder(tmp_path, {"a.txt": "a", "b.txt": "b"})
    (where / "a.txt").chmod(0)
    assert ends(load_folder(where)) == {"a.txt": ("rejected", "no permission to read it"), "b.txt": ("indexed", "read")}


def test_file_that_is_too_large_is_rejected_unread(tmp_path: Path) -> None:
    where = folder(tmp_path, {"a.txt": "a"})
    with (where / "big.csv").open("wb") as stream:
        stream.truncate(500_000_000)
    assert ends(load_folder(where))["big.csv"] == ("rejected", "larger than 50 MB: split it")


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no files"):
        load_folder(tmp_path)


# ------------------------------------------------------------------------------------------------------------ manifest


def test_manifest_gives_audience_and_versions(tmp_path: Path) -> None:
    manifest = (
        "files:\n  pay.md: {audience: [hr, board]}\n  v2.md: {replaces: [v1.md]}\n  v3.md: {replaces: [v2.md, v1.md]}\n"
    )
    corpus = load(tmp_path, {"pay.md": "pay", "v1.md": "one", "v2.md": "two", "v3.md": "three"}, manifest)
    found = {s.metadata["source"]: s.metadata for s in corpus.sections}
    assert [found[n]["audience"] for n in ("pay.md", "v1.md")] == [["hr", "board"], ["everyone"]]
    assert found["v3.md"]["replaces"] == ["v2.md", "v1.md"]
    assert [found[n]["replaced_by"] for n in ("v1.md", "v2.md", "v3.md")] == [["v2.md", "v3.md"], ["v3.md"], []]


def test_same_content_for_another_audience_is_no_duplicate(tmp_path: Path) -> None:
    corpus = load(tmp_path, {"a.md": "same", "b.md": "same", "c.md": "same"}, "files:\n  a.md: {audience: [hr]}\n")
    assert [f.status for f in corpus.files] == ["indexed", "indexed", "duplicate"]


def test_no_manifest_and_an_empty_one_are_the_same(tmp_path: Path) -> None:
    where = folder(tmp_path, {"a.md": "a"})
    (tmp_path / "empty.yaml").write_text("")
    assert (
        load_folder(where) == load_folder(where, tmp_path / "empty.yaml") == load_folder(where, tmp_path / "none.yaml")
    )


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        ("files: {nosuch.md: {audience: [hr]}}", "nosuch.md"),
        ("files: {a.md: {replaces: [nosuch.md]}}", "a.md: nosuch.md is no other file"),
        ("files: {a.md: {replaces: [a.md]}}", "a.md: a.md is no other file"),
        ("files: {a.md: {audiance: [hr]}}", "audiance"),
        ("files: {a.md: {audience: []}}", "a.md.audience"),
        ("files: {a.md: {audience: hr}}", "a.md.audience"),
        ("fils: {}", "fils"),
        ("files: [", "documents.yaml"),
        ("- a", "documents.yaml"),
    ],
)
def test_manifest_that_does_not_fit_is_refused_with_the_entry(tmp_path: Path, manifest: str, named: str) -> None:
    with pytest.raises(ValueError, match="documents.yaml") as caught:
        load(tmp_path, {"a.md": "a"}, manifest)
    assert named in str(caught.value)


# ------------------------------------------------------------------------------------------------- the reading process

FAULTS = """
import json, os, sys, time
for line in sys.stdin.buffer:
    path = json.loads(line)
    if "hang" in path: time.sleep(999)
    if "crash" in path: os.abort()
    if "exit" in path: os._exit(0)
    if "flood" in path: sys.stdout.write("x" * 3_000_000)
    if "junk" in path: print("no json", flush=True)
    if "child" in path:
        if os.fork() == 0: time.sleep(999)
        time.sleep(999)
    print(json.dumps({"sha256": path, "blocks": [["", 1, str(os.getpid())]], "notes": []}), flush=True)
"""


@POSIX
@pytest.mark.parametrize("fault", ["hang", "crash", "exit", "flood", "junk", "child"])
def test_a_fault_costs_only_its_own_file(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_LINE", 1_000_000)
    process = ReaderProcess((sys.executable, "-c", FAULTS), seconds=2)
    for position in range(3):
        replies = [process.read(Path(f"{n}{fault if n == position else ''}")) for n in range(4)]
        assert ["error" in reply for reply in replies] == [n == position for n in range(4)]
        late = fault in ("hang", "child")
        assert ("took longer than 2 seconds" in replies[position]["error"]) == late
        assert late or replies[position]["error"] == "damaged or too large: the reader broke on it"
    process.close()
    process.close()


@POSIX
def test_one_process_reads_a_batch_and_its_children_end_with_it() -> None:
    process = ReaderProcess((sys.executable, "-c", FAULTS), seconds=2)
    pids = {process.read(Path(str(n)))["blocks"][0][2] for n in range(5)}
    assert len(pids) == 1
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.pop()), 0)


def test_the_process_reads_the_package_wherever_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "playbook").mkdir()
    (tmp_path / "playbook" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "a.txt").write_text("Words.")
    monkeypatch.chdir(tmp_path)
    assert load_folder(Path()).counts()["indexed"] == 1


def test_starting_the_process_costs_little(tmp_path: Path) -> None:
    where = folder(tmp_path, {"a.txt": "Words."})
    load_folder(where)
    started = time.perf_counter()
    load_folder(where)
    assert time.perf_counter() - started < 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit of memory")
def test_file_that_takes_too_much_memory_costs_only_itself(tmp_path: Path) -> None:
    where = folder(tmp_path, {"a.txt": "many lines\n" * 3_000_000, "b.txt": "Words."})
    script = "import playbook.readers as r; r.MEMORY = 300 * 2**20; r.serve()"
    process = ReaderProcess((sys.executable, "-c", script))
    assert "of memory: split it" in process.read(where / "a.txt")["error"]
    assert process.read(where / "b.txt")["blocks"] == [["", 1, "Words."]]
    process.close()


def test_limits_are_said() -> None:
    said = limits()
    assert said.startswith("Each file: at most 60 seconds, 50 MB, 5,000,000 characters, ")
    assert ("2 GB of memory" in said) == (sys.platform == "linux")


def test_documents_are_langchain_documents(tmp_path: Path) -> None:
    assert all(isinstance(s, Document) for s in load(tmp_path, {"a.txt": "Words."}).sections)
