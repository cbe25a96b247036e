"""Is this room ready? What the client brought, what is missing, and what the participants expect.

Looks and reports; changes nothing. The machine is checked in notebook 00 itself.
"""

from collections import Counter

from pydantic import RootModel

from playbook.checked import TABLES, build, read_yaml
from playbook.engagement import Engagement
from playbook.items import load_examples, load_questions
from playbook.results import Prediction, Probability
from playbook.rules import say

_TABLE = read_yaml(TABLES / "room.yaml")


def count_inputs(client: Engagement) -> dict[str, int]:
    """How many files, questions (and unanswerable ones), labelled texts and codes the client brought."""
    questions, examples = load_questions(client.questions), load_examples(client.examples)
    return {
        "documents": sum(path.is_file() for path in client.documents.rglob("*")),
        "questions": len(questions),
        "of them unanswerable": sum(not q.answerable for q in questions),
        "labelled texts": len(examples),
        "codes": len({e.label for e in examples}),
    }


def missing_inputs(client: Engagement, files: dict[str, int]) -> list[str]:
    """What to ask the client for, in words; always the answers to the questions. `files`: as `Corpus.counts` has them."""
    lost = {q.source for q in load_questions(client.questions) if not (client.documents / q.source).exists()}
    texts = Counter(e.label for e in load_examples(client.examples))
    single = sorted(label for label, count in texts.items() if count == 1)
    known = {"files": files, "brought": count_inputs(client), "lost": sorted(lost), "single": single}
    return say(_TABLE["missing"], known)


def load_predictions(client: Engagement, form: dict[str, int]) -> tuple[Prediction, ...]:
    """The prediction ledger: what was saved in the form (per cent, keyed person/statement), else predictions.yaml.

    Raises ValueError naming file, line, person and statement for what is not a probability from 0 to 1.
    """
    if form:
        rows = [(*key.rsplit("/", 1), value / 100) for key, value in form.items()]
    else:
        raw = read_yaml(client.predictions) if client.has(client.predictions) else {}
        ledger = build(RootModel[dict[str, dict[str, Probability]]], raw, str(client.predictions))
        rows = [(who, statement, p) for who, said in ledger.root.items() for statement, p in said.items()]
    return tuple(Prediction(who=who, statement=statement, probability=p) for who, statement, p in rows)
