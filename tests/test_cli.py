"""The command line: good input makes an engagement, bad input gets one clear sentence, exit code 1 and nothing half-made."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from fakes import CODEBOOK, DOCUMENTS, EXAMPLES, QUESTIONS, make_client, write_files
from fakes_embedding import HashEmbeddings

from playbook import cli, knowledge, runner
from playbook.engagement import open_engagement

HEAD = "id,question,expected_answer,must_contain,source,answerable\n"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Playbook = Callable[..., Outcome]


@pytest.fixture
def playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Playbook:
    """Runs the command as the installed script does; the client's files lie under `tmp_path / "given"`."""
    monkeypatch.setenv("PLAYBOOK_ENGAGEMENTS", str(tmp_path / "engagements"))
    monkeypatch.setattr(knowledge, "load_embeddings", lambda _: HashEmbeddings())
    files = {f"docs/{name}": text for name, text in DOCUMENTS.items()}
    write_files(
        tmp_path / "given", files | {"questions.csv": QUESTIONS, "examples.csv": EXAMPLES, "codebook.csv": CODEBOOK}
    )

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["playbook", *map(str, arguments)])
        code: object = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code
        if isinstance(code, str):  # what Python does with it at the end of a program
            print(code, file=sys.stderr)
            code = 1
        said = capsys.readouterr()
        return Outcome(int(code or 0), said.out, said.err)

    return call


def one_sentence(outcome: Outcome) -> str:
    """The message of a refused command; it is one line on standard error, without a traceback."""
    assert outcome.code == 1
    assert outcome.out == ""
    assert re.fullmatch(r"playbook: [^\n]{20,}\n", outcome.err), outcome.err
    return outcome.err


def nothing_made(folder: Path) -> bool:
    return not (folder / "engagements").exists() or not any((folder / "engagements").iterdir())


# -------------------------------------------------------------------------------------------------------------- new


def test_new_makes_an_engagement_that_opens_and_says_what_was_found(playbook: Playbook, tmp_path: Path) -> None:
    given = tmp_path / "given"
    outcome = playbook(
        "new", "acme", "--documents", given / "docs", "--questions", given / "questions.csv",
        "--examples", given / "examples.csv", "--as-of", "2026-11-01",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 files = 2 indexed + 0 empty + 0 duplicate + 0 rejected" in outcome.out
    assert "questions: 3\n  of them unanswerable: 1\n" in outcome.out
    assert "labelled texts: 12\n  codes: 2\n" in outcome.out
    client = open_engagement("acme")
    assert client.settings.as_of.isoformat() == "2026-11-01"
    made = sorted(p.relative_to(client.inputs).as_posix() for p in client.inputs.rglob("*") if p.is_file())
    assert made == [
        "documents/hours.md", "documents/rent.md", "economics.yaml", "examples.csv", "questions.csv", "settings.yaml", "use_cases.yaml",
    ]  # fmt: skip


def test_new_with_documents_alone_names_everything_that_is_missing(playbook: Playbook, tmp_path: Path) -> None:
    outcome = playbook("new", "acme", "--documents", tmp_path / "given" / "docs")
    missing = outcome.out.split("Missing\n")[1]
    assert outcome.code == 0
    assert all(word in missing for word in ("--questions", "--examples", "use_cases.yaml", "economics.yaml"))


def test_the_templates_of_a_new_engagement_can_be_diagnosed_and_costed(playbook: Playbook, tmp_path: Path) -> None:
    from playbook.diagnosis import diagnose_all, load_rules, load_use_cases
    from playbook.prices import load_client_economics, load_price_book

    playbook("new", "acme", "--documents", tmp_path / "given" / "docs")
    client, rules = open_engagement("acme"), load_rules()
    cases = load_use_cases(client.use_cases, rules)
    names = [case.id for case in cases]
    assert names == [client.settings.knowledge_use_case, client.settings.behaviour_use_case]
    assert [verdict.use_case for verdict in diagnose_all(cases, rules).verdicts] == names
    costed = load_client_economics(client.economics, load_price_book()).use_cases
    assert {case.name for case in costed} == set(names)


def test_new_lists_each_file_it_could_not_read(playbook: Playbook, tmp_path: Path) -> None:
    write_files(tmp_path / "given" / "docs", {"photo.heic": "x", "blank.md": "  \n"})
    out = playbook("new", "acme", "--documents", tmp_path / "given" / "docs").out
    assert "4 files = 2 indexed + 1 empty + 0 duplicate + 1 rejected" in out
    assert re.search(r"photo\.heic: rejected - .*not a format we read", out)
    assert "blank.md: empty" in out


def test_documents_of_which_none_can_be_read_are_named_as_missing_and_cannot_be_asked(
    playbook: Playbook, tmp_path: Path
) -> None:
    given = write_files(tmp_path / "given", {"photos/one.heic": "x"})
    out = playbook("new", "acme", "--documents", given / "photos").out
    assert "a document that can be read" in out.split("Missing\n")[1]
    assert "none of the 1 file(s)" in one_sentence(playbook("ask", "acme", "When?"))


def test_new_names_sources_that_are_not_among_the_documents(playbook: Playbook, tmp_path: Path) -> None:
    given = write_files(
        tmp_path / "given",
        {"q.csv": QUESTIONS + "q4,What?,A,a,lost.md,yes\n", "e.csv": EXAMPLES},
    )
    out = playbook(
        "new", "acme", "--documents", given / "docs", "--questions", given / "q.csv", "--examples", given / "e.csv"
    ).out
    missing = out.split("Missing\n")[1]
    assert re.search(r"questions name: lost\.md$", missing, re.MULTILINE)  # q3 has no source, and needs none


def test_new_names_labels_that_only_one_text_has(playbook: Playbook, tmp_path: Path) -> None:
    given = write_files(tmp_path / "given", {"e.csv": EXAMPLES + "x,one of its kind,LONELY\n"})
    out = playbook("new", "acme", "--documents", given / "docs", "--examples", given / "e.csv").out
    assert re.search(r"  a second text .* cannot be learned: LONELY$", out.split("Missing\n")[1], re.MULTILINE)
    out = playbook("new", "other", "--documents", given / "docs", "--examples", given / "examples.csv").out
    assert "a second text" not in out and "that the questions name" not in out


def test_new_asks_for_unanswerable_questions(playbook: Playbook, tmp_path: Path) -> None:
    given = write_files(tmp_path / "given", {"q.csv": QUESTIONS.rsplit("q3", 1)[0]})
    assert (
        "unanswerable questions"
        in playbook("new", "acme", "--documents", given / "docs", "--questions", given / "q.csv").out
    )


BAD = {
    "no such documents": ({}, ["--documents", "nowhere"], "nowhere is not a folder"),
    "a file as documents": ({}, ["--documents", "questions.csv"], "questions.csv is not a folder"),
    "missing columns": (
        {"q.csv": "id,question\nq1,Q?\n"},
        ["--questions", "q.csv"],
        "q.csv line 1 lacks the column(s) expected_answer",
    ),
    "duplicate ids": (
        {"q.csv": HEAD + "q1,Q?,A,a,x,yes\nq1,R?,A,a,x,yes\n"},
        ["--questions", "q.csv"],
        "q.csv line 3: id 'q1' is used already on line 2",
    ),
    "no key strings": (
        {"q.csv": HEAD + "q1,Q?,A,,x,yes\n"},
        ["--questions", "q.csv"],
        "question q1 is answerable but must_contain is empty",
    ),
    "no questions file": ({}, ["--questions", "not_there.csv"], "not_there.csv is not there"),
    "an empty label": ({"e.csv": "text,label\nwords,\n"}, ["--examples", "e.csv"], "e.csv line 2: 'label' is empty"),
    "an empty file": ({"e.csv": ""}, ["--examples", "e.csv"], "e.csv line 1 lacks the column(s) text, label"),
    "no examples file": ({}, ["--examples", "not_there.csv"], "not_there.csv is not there"),
    "a bad date": ({}, ["--as-of", "1 November"], "'1 November' is not a date; write it as YYYY-MM-DD"),
}


@pytest.mark.parametrize("case", BAD)
def test_new_refuses_bad_input_in_one_sentence_and_makes_nothing(playbook: Playbook, tmp_path: Path, case: str) -> None:
    files, options, message = BAD[case]
    given = write_files(tmp_path / "given", files)
    paths = [option if option.startswith("--") or " " in option else given / option for option in options]
    if "--documents" not in options:
        paths += ["--documents", given / "docs"]
    assert message in one_sentence(playbook("new", "acme", *paths))
    assert nothing_made(tmp_path)


def test_new_refuses_an_empty_documents_folder(playbook: Playbook, tmp_path: Path) -> None:
    (tmp_path / "given" / "empty").mkdir()
    assert "empty holds no files" in one_sentence(playbook("new", "acme", "--documents", tmp_path / "given" / "empty"))
    assert nothing_made(tmp_path)


@pytest.mark.parametrize("option", ["--questions", "--examples"])
def test_new_refuses_a_file_that_is_not_utf8(playbook: Playbook, tmp_path: Path, option: str) -> None:
    path = tmp_path / "given" / "latin.csv"
    path.write_bytes(HEAD.replace("\n", ",text,label\n").encode() + "q1,Caf\u00e9?,A,a,x,yes,t,L\n".encode("latin-1"))
    outcome = playbook("new", "acme", "--documents", tmp_path / "given" / "docs", option, path)
    assert "latin.csv line 2 is not UTF-8" in one_sentence(outcome)
    assert nothing_made(tmp_path)


@pytest.mark.parametrize("name", ["sample", "Acme", "../acme"])
def test_new_refuses_a_name_that_cannot_be_used(playbook: Playbook, tmp_path: Path, name: str) -> None:
    assert "cannot be an engagement's name" in one_sentence(
        playbook("new", name, "--documents", tmp_path / "given" / "docs")
    )
    assert nothing_made(tmp_path)


def test_new_never_writes_over_an_engagement(playbook: Playbook, tmp_path: Path) -> None:
    playbook("new", "acme", "--documents", tmp_path / "given" / "docs", "--as-of", "2026-11-01")
    again = playbook("new", "acme", "--documents", tmp_path / "given" / "docs", "--as-of", "2027-01-01")
    assert "exists already" in one_sentence(again)
    assert open_engagement("acme").settings.as_of.isoformat() == "2026-11-01"


# -------------------------------------------------------------------------------------------------------------- ask


@pytest.mark.parametrize("command", [["ask", "nobody", "When?"], ["run", "nobody"]])
def test_an_unknown_client_is_told_the_known_ones(playbook: Playbook, tmp_path: Path, command: list[str]) -> None:
    assert "no engagement 'nobody'. Known: sample" in one_sentence(playbook(*command))
    assert nothing_made(tmp_path)


@pytest.mark.parametrize("question", ["", "   ", "x" * 100_000])
def test_an_empty_or_endless_question_is_refused(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    make_client(tmp_path / "more", monkeypatch)
    length = len(question.strip())
    assert f"the question has {length} characters" in one_sentence(playbook("ask", "acme", question))


def test_an_answer_as_json_cites_a_document_word_for_word(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_client(tmp_path / "more", monkeypatch)
    monkeypatch.setattr("playbook.refusal.RefusalModel.confidence", lambda *_: 1.0)
    outcome = playbook("ask", "acme", "When does the shop open in the morning?", "--json")
    answer = json.loads(outcome.out)
    assert outcome.code == 0
    assert answer["citations"][0]["source"] == "hours.md"
    assert answer["citations"][0]["quote"] in DOCUMENTS["hours.md"]
    shown = playbook("ask", "acme", "When does the shop open in the morning?").out
    assert shown.startswith(answer["citations"][0]["quote"] + "\n    [hours.md")
    assert answer["text"].startswith(answer["citations"][0]["quote"])


def test_the_words_of_a_chat_model_come_before_what_supports_them(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chat:
        def invoke(self, prompt: str) -> SimpleNamespace:
            number = re.search(r"\[(\d)\] \(hours.md\)", prompt)[1]
            return SimpleNamespace(text=f"You find the shop open from 8 in the morning [{number}].")

    make_client(tmp_path / "more", monkeypatch)
    monkeypatch.setattr("playbook.refusal.RefusalModel.confidence", lambda *_: 1.0)
    monkeypatch.setattr(knowledge, "client_chat", lambda _: Chat())
    lines = playbook("ask", "acme", "When does the shop open in the morning?").out.splitlines()
    assert lines[0].startswith("You find the shop open from 8 in the morning [")
    assert lines[1] in DOCUMENTS["hours.md"] and lines[2].startswith("    [hours.md") and "" not in lines


def test_a_refusal_says_why_and_is_no_failure(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_client(tmp_path / "more", monkeypatch)
    monkeypatch.setattr("playbook.refusal.RefusalModel.confidence", lambda *_: 0.0)
    outcome = playbook("ask", "acme", "When does the shop open?")
    assert outcome.code == 0
    assert re.match(r"No answer: .{10,}", outcome.out)


# ------------------------------------------------------------------------------------------------------ run, failures


def test_a_failing_notebook_ends_the_run_with_its_own_sentence(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise runner.NotebookFailed("notebooks/00_start_here.ipynb stopped: ValueError: seed is -1; give 0 or more")

    make_client(tmp_path / "more", monkeypatch)
    monkeypatch.setattr(runner, "execute", fail)
    outcome = playbook("run", "acme")
    assert outcome.code == 1
    assert outcome.err == "playbook: notebooks/00_start_here.ipynb stopped: ValueError: seed is -1; give 0 or more\n"
    assert "Acme: 10 notebooks, as of 2026-11-01" in outcome.out


def test_damaged_settings_are_named(playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(tmp_path / "more", monkeypatch)
    (client.inputs / "settings.yaml").write_text("title: [\n", encoding="utf-8")
    assert "settings.yaml: " in one_sentence(playbook("ask", "acme", "When?"))


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "No permission"), (errno.EROFS, "read-only")]
)
def test_a_full_or_locked_disk_is_one_sentence_with_what_to_do(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "in the system's words", str(tmp_path / "engagements"))

    monkeypatch.setattr("playbook.engagement.tempfile.mkdtemp", refuse)
    assert words in one_sentence(playbook("new", "acme", "--documents", tmp_path / "given" / "docs"))


def test_without_a_command_the_help_is_shown(playbook: Playbook) -> None:
    outcome = playbook()
    shown = outcome.out + outcome.err
    assert all(command in shown for command in ("new", "run", "index", "ask", "bench"))
