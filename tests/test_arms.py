"""Arms: every approach answers the same items, and right or wrong is decided without a judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes_embedding import HashEmbeddings, make_answerer, make_store, passage
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage

from playbook import arms
from playbook.answering import Answer, Answerer, Citation
from playbook.arms import Output, StyleGuide
from playbook.evaluation import proportion
from playbook.items import Code, Example, Question, load_questions

ENCODE = HashEmbeddings().encode
RENTAL = passage(
    "p1", "A deposit of $150 is due. It is paid back in 14 days. Keep it clean. Fourth sentence.", "rental.md"
)
VANS = passage("p2", "Vans leave at nine.", "vans.md")
STORE = make_store(RENTAL, VANS)
SAMPLE = Path(__file__).parents[1] / "data" / "sample_client"


def question(
    identity: str = "q1",
    key: str = "$150",
    source: str = "rental.md",
    answerable: bool = True,
    asked: str = "How much is the deposit?",
) -> Question:
    groups = ((key,),) if answerable else ()
    return Question(
        id=identity,
        question=asked,
        expected_answer=key if answerable else "",
        must_contain=groups,
        source=source,
        answerable=answerable,
    )


def answer(text: str = "A deposit of $150 is due.", refused: bool = False, source: str | None = "rental.md") -> Answer:
    cited = (
        (Citation(source=source, place="", passage_id="p1", start=0, end=1, quote="A"),)
        if source and not refused
        else ()
    )
    return Answer(
        question="?", text="" if refused else text, citations=cited, refused=refused, reason="too little" if refused else "",
        confidence=0.9, draft=text, passage_ids=("p1",), tokens=7, milliseconds=2.0,
    )  # fmt: skip


def row(item: str, arm: str, correct: bool = True, refused: bool = False, tokens: int = 1) -> Output:
    return Output(item=item, arm=arm, output="x", expected="x", correct=correct, refused=refused, tokens=tokens)


# ------------------------------------------------------------------------------------------------------------- judging


@pytest.mark.parametrize(
    ("asked", "given", "correct"),
    [
        (question(), answer(), True),
        (question(), answer("It is $1500."), False),
        (question(), answer(refused=True), False),
        (question(answerable=False), answer(), False),
        (question(answerable=False), answer(refused=True), True),
    ],
    ids=[
        "key string shown",
        "number continues",
        "refused what it had",
        "answered the unanswerable",
        "refused the unanswerable",
    ],
)
def test_judge(asked: Question, given: Answer, correct: bool) -> None:
    assert arms.judge("hybrid", asked, given, STORE).correct is correct


def test_judge_records_what_was_shown() -> None:
    right = arms.judge("hybrid", question(), answer(), STORE)
    assert (right.item, right.arm, right.output, right.expected) == (
        "q1",
        "hybrid",
        "A deposit of $150 is due.",
        "$150",
    )
    assert (right.tokens, right.milliseconds, right.evidence, right.in_form) == (7, 2.0, "direct", None)
    refused = arms.judge("hybrid", question(answerable=False), answer(refused=True), STORE)
    assert (refused.output, refused.expected) == ("(refused: too little)", "(refusal)")


# ----------------------------------------------------------------------------------------------------------- citations


def cite(found: Document, quote: str, source: str = "", shift: int = 0) -> Citation:
    start = found.page_content.index(quote) + shift
    where = {"source": source or found.metadata["source"], "place": "", "passage_id": found.id}
    return Citation(**where, start=start, end=start + len(quote), quote=quote)


@pytest.mark.parametrize(
    ("citations", "precision", "recall"),
    [
        ((cite(RENTAL, "A deposit of $150 is due."), cite(RENTAL, "It is paid back in 14 days.")), 1.0, 1.0),
        ((cite(RENTAL, "A deposit of $150 is due."),), 1.0, 0.5),
        ((cite(RENTAL, "A deposit of $150 is due.", shift=1),), 0.0, 0.5),
        ((cite(RENTAL, "A deposit of $150 is due."), cite(VANS, "Vans leave at nine.")), 0.5, 0.5),
        ((cite(RENTAL, "Keep it clean."),), 1.0, 0.0),
        ((cite(RENTAL, "A deposit of $150 is due.", source="copy.md"),), 1.0, 0.5),
        ((), None, None),
    ],
    ids=["all", "half", "no such span", "wrong file", "right file, no key", "other file with a key", "nothing cited"],
)
def test_citation_precision_and_recall(
    citations: tuple[Citation, ...], precision: float | None, recall: float | None
) -> None:
    asked = question().model_copy(update={"must_contain": (("$150", "150 dollars"), ("14 days",))})
    given = answer().model_copy(update={"citations": citations})
    judged = arms.judge("hybrid", asked, given, STORE)
    assert (judged.citation_precision, judged.citation_recall) == (precision, recall)
    unanswerable = arms.judge("hybrid", question(answerable=False), given, STORE)
    assert (unanswerable.citation_precision, unanswerable.citation_recall) == (None, None)


def test_audit_counts_what_exists_and_what_supports_over_all_answers() -> None:
    asked = [question(), question("q2", answerable=False), question("q3")]
    lines = [
        (cite(RENTAL, "A deposit of $150 is due."), cite(RENTAL, "Keep it clean.")),
        (cite(RENTAL, "A deposit of $150 is due."),),
        (cite(RENTAL, "A deposit of $150 is due.", shift=1),),
    ]
    given = [answer().model_copy(update={"citations": citations}) for citations in lines]
    found = arms.audit_citations(asked, given, STORE)
    assert found == {"exist": proportion(3, 4), "support": proportion(2, 4)}, "nothing supports the unanswerable one"
    assert arms.audit_citations(asked[:1], [answer(refused=True)], STORE) == {}


# --------------------------------------------------------------------------------------------------------------- forms


@pytest.fixture(scope="module")
def sample_forms() -> dict[str, StyleGuide]:
    return arms.load_required_forms(SAMPLE / "required_forms.yaml")


FITTING = {
    "amount with currency": (["45.00 USD [1].", "It costs $1,500.", "0.66 dollars a mile"], ["45.00", "USD", "45 days"]),
    "percentage and amount with currency": (["25 percent, up to 1,500 USD"], ["25 percent", "1,500 USD"]),
    "one time and one amount with currency": (["45 minutes and 30 dollars"], ["30 dollars", "45 minutes"]),
    "amount with currency and the week it is paid": (["75 USD in the seventh week", "$75, week 7"], ["75 USD a week"]),
    "one sentence plus the form number": (
        ["Use form TX-6.", "The rail assessment is missing. Form RS-2.", "Send BL-7 with it [1]."],
        ["Use the form.", "Send form TX-6 with it. Then wait for the answer.", "TX-6", "Bulletin HL-B-26-03 says so."],
    ),
    "two dates and the form number": (
        ["BL-7 from November 10, the old one until January 31."],
        ["BL-7 until January 31.", "From November 10 until January 31.", "BL-7: January 31 and January 31."],
    ),
    "form number and deadline in working days": (["IR-4 within 3 working days"], ["IR-4 within 3 days", "3 working days"]),
    "form number and number of days": (["EX-3, within 30 days"], ["EX-3", "30 days", "EX-3, soon"]),
    "form number, weekday, and amount with currency": (
        ["HR-11 by the Wednesday before; 110 USD"],
        ["HR-11; 110 USD", "Wednesday, 110 USD"],
    ),
    "begins with yes or no, then one sentence": (
        ["No. It must not be laid there.", "Yes, above 150 dollars."],
        ["It must not be laid there.", "No.", "No. It is too wide. It must not be laid there.", "Nothing of this holds."],
    ),
    "begins with yes or no and names the part number": (["No, both cables CT-BR."], ["No.", "Both cables CT-BR: no."]),
    "yes or no plus the part number": (["New bolt HL-BB. No.", "No: SL-U-L"], ["HL-BB, no later than May", "No, form SL-5"]),
    "number with unit": (["8 mm", "321,700 miles", "5 %", "38.40 USD an hour"], ["8", "value: 8", "many miles"]),
    "two figures, each with its unit": (["24 hours, 100 microamperes"], ["24 hours", "24 hours, then 24 hours", "24; 100"]),
    "torque with unit plus the bulletin number": (["45 Nm (HL-B-26-03)", "45 Nm, 26-03"], ["45 Nm", "45 Nm, 2026-03-16"]),
    "one number plus the date as YYYY-MM-DD": (["31 of 54 on 2026-07-27"], ["2026-07-27", "31 on July 27"]),
    "part number plus the date as YYYY-MM-DD": (["LR3-CB since 2026-09-22"], ["LR3-CB", "FM-40305 since 2026-09-22"]),
    "firm name and date in the form YYYY-MM-DD": (["Larkfield Voice, 2025-03-03"], ["Larkfield Voice, March 3, 2025"]),
    "number of months only": (["6", "6 months.", "After six months"], ["Change it after 6 months.", "6 months, 2 days"]),
    "job title only": (["Head of finance.", "the senior technician"], ["Above 5,000 USD the head of finance.", "a. b"]),
    "one sentence that names the right code": (["For a household send SWAP."], ["For a household send the swap.", "SWAP"]),
}  # fmt: skip


def test_every_form_of_the_sample_questions_is_known_and_tried_here(sample_forms: dict[str, StyleGuide]) -> None:
    asked = {q.required_form for q in load_questions(SAMPLE / "questions.csv")} - {""}
    assert asked == set(sample_forms) == set(FITTING)


@pytest.mark.parametrize("form", FITTING)
def test_a_form_takes_what_its_words_say_and_nothing_else(form: str, sample_forms: dict[str, StyleGuide]) -> None:
    fitting, others = FITTING[form]
    asked = question().model_copy(update={"required_form": form})
    assert [text for text in fitting if not arms.in_form(asked, text, sample_forms)] == []
    assert [text for text in others if arms.in_form(asked, text, sample_forms)] == []


def test_form_is_judged_only_where_one_is_asked_known_and_something_is_shown(sample_forms: dict[str, StyleGuide]) -> None:
    asked = question().model_copy(update={"required_form": "amount with currency"})
    unknown = asked.model_copy(update={"required_form": "a limerick"})
    cases = [(asked, answer()), (asked, answer("Nothing.")), (asked, answer(refused=True)), (unknown, answer())]
    judged = [arms.judge("hybrid", q, a, STORE, sample_forms).in_form for q, a in [*cases, (question(), answer())]]
    assert judged == [True, False, None, None, None]


def test_forms_file_may_be_absent_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    assert arms.load_required_forms(tmp_path / "required_forms.yaml") == {}
    (tmp_path / "required_forms.yaml").write_text(
        "a price:\n  rules: [{id: usd, words: USD, scope: reply, patterns: ['(USD']}]\n"
    )
    with pytest.raises(ValueError, match=r"required_forms.yaml: 'a price'.*regular expression"):
        arms.load_required_forms(tmp_path / "required_forms.yaml")


# ---------------------------------------------------------------------------------------------------------------- arms


def test_answer_arm_runs_each_knowledge_arm_on_every_question() -> None:
    asked = [question(), question("q2", answerable=False, source="", asked="Is there a helicopter?")]
    for arm in ("keyword", "dense", "hybrid", "first_sentences"):
        rows, answers = arms.answer_arm(arm, make_answerer(RENTAL, VANS, intercept=9.0), asked)
        assert [(r.item, r.arm) for r in rows] == [("q1", arm), ("q2", arm)]
        assert [r.correct for r in rows] == [True, False] and len(answers) == 2
    rows, _ = arms.answer_arm("hybrid", make_answerer(RENTAL, VANS, intercept=-9.0), asked)
    assert [r.correct for r in rows] == [False, True], (
        "an answerer that always refuses is right only on the unanswerable"
    )


def test_first_sentences_shows_three_and_never_refuses() -> None:
    given = arms.first_sentences(make_answerer(RENTAL, VANS, intercept=-9.0), "How much is the deposit?")
    assert given.text == "A deposit of $150 is due. It is paid back in 14 days. Keep it clean."
    assert not given.refused and given.passage_ids == ("p1",)


class Chat:
    """Replies with what it was given, and keeps what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.asked = list(replies), list[str]()

    def invoke(self, prompt: str) -> AIMessage:
        self.asked.append(prompt)
        return AIMessage(self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])


@pytest.mark.parametrize("arm", ["in_prompt", "closed_book"])
def test_arms_that_need_a_chat_model_are_not_applicable_without_one(arm: str) -> None:
    assert arms.not_applicable(arm, make_answerer(RENTAL)) == f"{arm} needs a chat model, and the profile names none."
    assert arms.not_applicable(arm, make_answerer(RENTAL, chat=Chat("x"))) == ""
    with pytest.raises(ValueError, match="needs a chat model"):
        arms.answer_arm(arm, make_answerer(RENTAL), [question()])


def test_in_prompt_is_not_applicable_when_the_documents_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(arms._WORDS, "prompt_limit", 21)  # RENTAL has 18 words, VANS 4
    given = make_answerer(RENTAL, VANS, chat=Chat("x"))
    assert arms.not_applicable("in_prompt", given) == "the documents hold about 22 tokens, and a prompt takes 21."
    assert (
        arms.not_applicable("closed_book", given)
        == ""
        == arms.not_applicable("in_prompt", make_answerer(RENTAL, chat=Chat("x")))
    )


def test_in_prompt_gives_every_passage_and_checks_the_citations() -> None:
    chat = Chat("A deposit of $150 is due [1]. It is $900 [2].")
    rows, answers = arms.answer_arm("in_prompt", make_answerer(RENTAL, VANS, intercept=-9.0, chat=chat), [question()])
    assert "Fourth sentence." in chat.asked[0] and "Vans leave at nine." in chat.asked[0]
    assert (answers[0].text, answers[0].dropped) == ("A deposit of $150 is due [1].", 1)
    assert (rows[0].correct, rows[0].citation_precision, rows[0].citation_recall) == (True, 1.0, 1.0)


def test_in_prompt_shows_nothing_that_the_asker_may_not_see() -> None:
    hidden = passage("p3", "Pay is secret.", "pay.md")
    hidden.metadata["audience"] = ["management"]
    given = make_answerer(RENTAL, hidden)
    given.retriever.roles = ("everyone",)
    assert [hit.passage.id for hit in arms.everything(given)] == ["p1"]


def test_closed_book_asks_the_question_alone_and_cites_nothing() -> None:
    chat = Chat("It is $150.", "REFUSE.")
    asked = [question(), question("q2", answerable=False, asked="Is there a helicopter?")]
    rows, answers = arms.answer_arm("closed_book", make_answerer(RENTAL, chat=chat), asked)
    assert "How much is the deposit?" in chat.asked[0] and "Fourth sentence" not in chat.asked[0]
    assert [(r.correct, r.refused, r.citation_precision) for r in rows] == [(True, False, None), (True, True, None)]
    assert answers[0].citations == answers[0].passage_ids == () and rows[0].tokens > 5


class Asked:
    """Answers with one folder of kept answers and says which questions were asked, as the progress bar sees them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *asked: str, arm: str = "hybrid", answerer: Answerer | None = None) -> list[int]:
        told: list[int] = []

        def progress(items: list[str]) -> Iterator[str]:
            for n, item in enumerate(items):
                told.append(n)
                yield item

        questions = [question(f"q{n}", asked=text) for n, text in enumerate(asked)]
        answerer = answerer or make_answerer(RENTAL, VANS)
        rows, answers = arms.answer_arm(arm, answerer, questions, progress, cache=self.folder)
        assert [r.item for r in rows] == [q.id for q in questions] and [a.question for a in answers] == list(asked)
        return told


def test_a_kept_answer_is_given_again_until_something_that_decides_it_changes(tmp_path: Path) -> None:
    run, with_role, ranked = Asked(tmp_path), make_answerer(RENTAL, VANS), make_answerer(RENTAL, VANS)
    with_role.retriever.roles, ranked.retriever.rerank = ("hr",), lambda _, texts: [1.0] * len(texts)
    reworded = VANS.model_copy(update={"page_content": "Vans leave at ten."})
    replaced = VANS.model_copy(update={"metadata": {**VANS.metadata, "replaced_by": "new.md"}})
    assert run("One?", "Two?") == [0, 1]
    assert run("Two?", "One?") == []
    assert run("Two?", "Three?", "Three?") == [0]
    for arm in ("keyword", "dense", "first_sentences"):
        assert run("One?", arm=arm) == [0], arm
    changed = [
        make_answerer(RENTAL),
        make_answerer(RENTAL, reworded),
        make_answerer(RENTAL, replaced),
        with_role,
        ranked,
    ]
    changed += [make_answerer(RENTAL, VANS, weight=0.4), make_answerer(RENTAL, VANS, intercept=8.0)]
    changed += [make_answerer(RENTAL, VANS, chat=FakeListChatModel(responses=[reply])) for reply in ("a", "b")]
    for n, answerer in enumerate(changed):
        assert run("One?", answerer=answerer) == [0], n
    assert run("One?", "Two?", "Three?") == []


def test_kept_answers_are_the_computed_ones_with_their_milliseconds(tmp_path: Path) -> None:
    given = make_answerer(RENTAL, VANS)
    first, again = (arms.answer_arm("hybrid", given, [question()], cache=tmp_path) for _ in range(2))
    assert first == again and first[1][0].milliseconds == first[0][0].milliseconds > 0
    assert first[1][0].citations and first[1][0].model_copy(update={"milliseconds": 0}) == given.ask(
        question().question
    ).model_copy(update={"milliseconds": 0})


def test_an_interrupted_run_keeps_the_answers_it_has(tmp_path: Path) -> None:
    class Stops(Chat):
        def invoke(self, prompt: str) -> AIMessage:
            if self.stops and "Two?" in prompt:
                raise KeyboardInterrupt
            return super().invoke(prompt)

        def __repr__(self) -> str:
            return "always the same"

    run, given = Asked(tmp_path), make_answerer(RENTAL, chat=Stops("x"))
    given.chat.stops = True
    with pytest.raises(KeyboardInterrupt):
        run("One?", "Two?", answerer=given)
    given.chat.stops = False
    assert run("One?", "Two?", answerer=given) == [0], "only the second is asked again"


@pytest.mark.parametrize("run", ["answer", "classify"])
def test_unknown_arm_is_refused_with_the_known_ones(run: str) -> None:
    with pytest.raises(ValueError, match="'magic' is not an arm; use one of (first_sentences|label_name)"):
        if run == "answer":
            arms.answer_arm("magic", make_answerer(RENTAL), [])
        else:
            arms.classify("magic", [], [], [], ENCODE)


CODES = [Code(code="DLV", label="late van", definition=""), Code(code="BIL", label="wrong bill", definition="")]
TRAIN = [Example(id="1", text="late van", label="DLV"), Example(id="2", text="wrong bill", label="BIL")]
ITEMS = [Example(id="a", text="van was late", label="DLV"), Example(id="b", text="bill was wrong", label="DLV")]


def test_classify_marks_right_and_wrong_and_the_kind_of_evidence() -> None:
    proxy = arms.classify("label_name", TRAIN, ITEMS, CODES, ENCODE)
    assert [(o.item, o.output, o.expected, o.correct, o.evidence) for o in proxy] == [
        ("a", "DLV", "DLV", True, "proxy"),
        ("b", "BIL", "DLV", False, "proxy"),
    ]
    assert {o.evidence for o in arms.classify("linear_probe", TRAIN, ITEMS, CODES, ENCODE)} == {"direct"}
    assert arms.classify("linear_probe", TRAIN, [], CODES, ENCODE) == []


def test_the_same_rung_is_similarity_without_a_chat_model_and_a_prompt_with_one() -> None:
    chat = FakeListChatModel(responses=["DLV", "DLV"])
    without, given = (arms.classify("definition", TRAIN, ITEMS, CODES, ENCODE, c) for c in (None, chat))
    assert [s.name for s in arms.score(without + given)] == ["definition similarity"]
    assert [s.name for s in arms.score(given)] == ["prompt with definitions"]
    assert [s.evidence for s in arms.score(given)] == ["direct"]
    assert arms.score([row("1", "first_sentences")])[0].name == "first sentences"


def test_constrained_is_refused_without_a_chat_model() -> None:
    with pytest.raises(ValueError, match="'chosen_code' is n/a: it is written by a chat model"):
        arms.classify("constrained", TRAIN, ITEMS, CODES, ENCODE)


class Cached:
    """Runs the nearest examples with one folder of kept results and says which texts the arm had to embed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, items: list[Example] = ITEMS, train: list[Example] = TRAIN, **changed: object) -> set[str]:
        embedder = changed.pop("embedder", HashEmbeddings())
        given = {"arm": "nearest_examples", "codes": CODES, "chat": None, **changed}
        rows = arms.classify(train=train, items=items, encode=embedder.encode, cache=self.folder, **given)
        assert [r.item for r in rows] == [i.id for i in items]
        return set(embedder.embedded) & {i.text for i in items}


def test_a_change_reruns_only_what_it_touches(tmp_path: Path) -> None:
    new, code = Example(id="c", text="the third", label="BIL"), Code(code="NEW", label="new", definition="")
    run, everything = Cached(tmp_path), {"van was late", "bill was wrong"}
    assert run() == everything
    assert run() == set()
    assert run(items=[*ITEMS, new]) == {"the third"}
    assert run(items=[e.model_copy(update={"label": "BIL"}) for e in ITEMS]) == set(), "the text decides, not the label"
    assert run(train=[*TRAIN, new]) == everything
    assert run(train=[TRAIN[0].model_copy(update={"label": "BIL"}), TRAIN[1]]) == everything
    assert run(codes=[*CODES, code]) == everything
    assert run(arm="linear_probe") == everything
    assert run(embedder=HashEmbeddings(dimension=512)) == everything
    assert run() == set()


def test_other_code_computes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, ask = Cached(tmp_path / "codes"), Asked(tmp_path / "answers")
    assert (len(code()), ask("One?")) == (2, [0])
    assert (len(code()), ask("One?")) == (0, [])
    monkeypatch.setattr("playbook.arms.CODE", "other code")
    assert (len(code()), ask("One?")) == (2, [0])


def test_kept_results_are_the_computed_ones_with_their_milliseconds(tmp_path: Path) -> None:
    first, again = (arms.classify("linear_probe", TRAIN, ITEMS, CODES, ENCODE, cache=tmp_path) for _ in range(2))
    assert first == again and all(o.milliseconds > 0 for o in first)


def test_another_chat_model_is_asked_again_and_each_text_is_told_to_the_progress_bar(tmp_path: Path) -> None:
    told: list[int] = []

    def progress(items: list[str]) -> Iterator[str]:
        for n, item in enumerate(items):
            told.append(n)
            yield item

    def run(reply: str) -> list[str]:
        chat = FakeListChatModel(responses=[reply, reply])
        rows = arms.classify("label_name", TRAIN, ITEMS, CODES, ENCODE, chat, tmp_path, progress)
        return [o.output for o in rows]

    assert (run("DLV"), told) == (["DLV", "DLV"], [0, 1])
    assert (run("DLV"), told) == (["DLV", "DLV"], [0, 1])
    assert (run("BIL"), told) == (["BIL", "BIL"], [0, 1, 0, 1])
    arms.classify("label_name", TRAIN, ITEMS, CODES, ENCODE, progress=progress)
    assert told == [0, 1, 0, 1], "similarity takes all texts at once: embedding shows its own bar"


def test_coded_needs_one_code_for_each_item() -> None:
    with pytest.raises(ValueError):
        arms.coded("lora_adapter", [Example(id="a", text="t", label="A")], ["A", "B"], 1.0, "direct")


def test_empty_outputs_are_wrong_and_stay_in_the_table() -> None:
    items = [Example(id=str(n), text="t", label="A") for n in range(5)]
    rows = arms.coded("probe", items, ["A", " A\n", "  ", None, float("nan")], 1.0, "direct")
    assert [(o.output, o.correct) for o in rows] == [("A", True), ("A", True), ("", False), ("", False), ("", False)]
    assert {o.milliseconds for o in rows} == {1.0}


def test_irregular_outputs_are_counted_and_named_for_each_arm() -> None:
    items = [
        Example(id=n, text="t", label=label) for n, label in zip("abcd", ("DLV", "DLV", "BIL", "OOPS"), strict=True)
    ]
    rows = arms.coded("probe", items, ["DLV", "", "I do not know", "BIL"], 1.0, "direct")
    rows += arms.coded("lucky", items, ["BIL", "DLV", "BIL", "OOPS"], 1.0, "direct")
    assert arms.irregular(rows, TRAIN, [*CODES, Code(code="OOPS", label="", definition="")]) == [
        ("probe", "empty output", "b"),
        ("probe", "not a code", "c"),
        ("probe", "label unseen in training", "d"),
    ]
    assert arms.irregular(rows[:1], TRAIN, CODES) == []


# -------------------------------------------------------------------------------------------------------------- tables


def test_score_counts_right_refused_and_tokens_in_order_of_appearance() -> None:
    table = arms.score(
        [row("1", "b", True, tokens=3), row("1", "a", False, refused=True), row("2", "b", False, tokens=4)]
    )
    assert [(s.arm, s.right.hits, s.right.n, s.refused, s.tokens) for s in table] == [
        ("b", 1, 2, 0, 7),
        ("a", 0, 1, 1, 1),
    ]
    assert table[0].right == proportion(1, 2)
    assert arms.score([]) == []


def test_correctness_lines_the_arms_up_item_by_item() -> None:
    rows = [row("1", "a"), row("2", "a", False), row("1", "b", False), row("2", "b")]
    assert arms.correctness(rows) == {"a": [True, False], "b": [False, True]}


@pytest.mark.parametrize(
    "rows",
    [
        [row("1", "a"), row("2", "b")],
        [row("1", "a"), row("2", "a"), row("2", "b"), row("1", "b")],
        [row("1", "a"), row("2", "a"), row("1", "b")],
    ],
)
def test_correctness_refuses_arms_on_other_items_or_in_another_order(rows: list[Output]) -> None:
    with pytest.raises(ValueError, match="the arms a, b did not answer the same items"):
        arms.correctness(rows)


def test_hit_rates_are_the_share_of_answerable_questions_with_the_key_in_the_right_file() -> None:
    retriever = make_answerer(RENTAL, VANS).retriever
    asked = [question(), question("q2", "nine", "rental.md"), question("q3", answerable=False)]
    assert arms.hit_rates({w: retriever.varied(weight=w) for w in (0.0, 1.0)}, asked) == {0.0: 0.5, 1.0: 0.5}, (
        "nine stands in vans.md, not in rental.md"
    )
    assert arms.hit_rates({0.5: retriever}, asked[2:]) == {0.5: 0.0}


def test_questions_are_embedded_together_before_they_are_searched_for() -> None:
    asked, calls = [question(), question("q2", "nine", "vans.md", asked="When do vans leave?")], []
    for measure in (lambda a: arms.hit_rates({0.5: a.retriever}, asked), lambda a: arms.support_cases(a, asked)):
        answerer = make_answerer(RENTAL, VANS)
        embedder = answerer.retriever.store.embedding
        embedder.embed_queries = lambda texts, e=embedder: calls.append(texts) or e.encode(texts)
        measure(answerer)
    texts = [sorted(filter(None, call)) for call in calls if call]
    assert len(texts) == 2 and all({q.question for q in asked} <= set(call) for call in texts)


def test_hit_looks_only_at_the_k_best_passages() -> None:
    retriever = make_answerer(RENTAL, VANS).retriever
    asked = question("q", "nine", "vans.md", asked="How much is the deposit?")
    assert arms.hit(retriever, asked, k=2) and not arms.hit(retriever, asked, k=1)


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({0.0: 0.5, 0.5: 0.7, 1.0: 0.9}, 1.0),
        ({0.0: 0.9, 0.25: 0.9, 0.75: 0.8}, 0.25),
        ({0.25: 0.9, 0.75: 0.9}, 0.25),
        ({0.75: 0.9, 0.25: 0.9}, 0.25),
        ({0.0: 0.9000000001, 0.5: 0.9}, 0.5),
    ],
    ids=[
        "highest rate",
        "tie: nearest to even",
        "tie of both: fewer meaning",
        "order does not matter",
        "rounding noise is a tie",
    ],
)
def test_best_weight(rates: dict[float, float], best: float) -> None:
    assert arms.best_weight(rates) == best


def test_latency_is_the_mean_of_each_arm_and_stays_out_of_results() -> None:
    rows = [
        arms.Output(item=i, arm=a, output="", expected="", correct=True, milliseconds=m)
        for i, a, m in (("1", "a", 2.0), ("2", "a", 4.0), ("1", "b", 10.0))
    ]
    assert arms.latency(rows) == {"a": 3.0, "b": 10.0}
    assert "milliseconds" not in rows[0].model_dump()
