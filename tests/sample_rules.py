"""The rules the sample client's data must keep, as pure functions: rows in, one line per violation out.

Each line names file, row and rule. No function here opens a file, so a test can hand in rows with a planted defect and
see that the rule is able to fail.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from tools.difficulty import plain

Row = Mapping[str, str]
NEAR = 0.8  # share of common runs of five characters from which two texts are near copies
LOOSE = 0.45  # share of the shorter text's words that a hand-made near copy in a raw export keeps at least
VERDICTS = {"no": {"not_answered", "partly"}, "yes": {"", "answered"}}  # answerable -> what the second reader may say
MAIL = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)")
PHONE = re.compile(r"(?<![\d-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\d-])|(?<![\d-])555[-. ]\d{4}(?![\d-])")
MOJIBAKE = re.compile("Ã|â€|Â|‚Ä|\ufffd|\\w\\?\\w|\\?[a-z]")


def absent_violations(rows: Sequence[Row], text_of: Callable[[str], str]) -> list[str]:
    """At least two `absent` strings on each unanswerable row, none of them in its document; none on other rows."""
    found = []
    for row in rows:
        where = f"questions.csv {row['id']}"
        strings = [plain(part) for part in row["absent"].split("|") if part.strip()]
        if row["answerable"] == "yes":
            found += [f"{where}: absent is for unanswerable rows only"] if strings else []
            continue
        found += [f"{where}: {len(strings)} absent string(s), two wanted"] if len(strings) < 2 else []
        text = plain(text_of(row["source"]))
        found += [f"{where}: absent string '{s}' stands in {row['source']}" for s in strings if s in text]
    return found


def reader_violations(rows: Sequence[Row]) -> list[str]:
    """Each unanswerable row has the second reader's verdict, never 'answered'; answerable rows may have 'answered'."""
    found = []
    for row in rows:
        if row["second_reader"] not in VERDICTS[row["answerable"]]:
            wanted = " or ".join(sorted(VERDICTS[row["answerable"]])).removeprefix(" or ")
            found.append(f"questions.csv {row['id']}: second_reader is '{row['second_reader']}', wanted {wanted}")
    return found


def split_violations(file: str, rows: Sequence[Row], splits: set[str], group: str = "") -> list[str]:
    """Each row is in a known split; rows with the same `group` value (say, one document) are all in one split."""
    found = [
        f"{file} {r['id']}: split is '{r['split']}', wanted {', '.join(sorted(splits))}"
        for r in rows
        if r["split"] not in splits
    ]
    sides: dict[str, set[str]] = defaultdict(set)
    for row in rows if group else ():
        sides[row[group]].add(row["split"])
    return found + [
        f"{file} {row['id']}: {group} {row[group]} is in both {' and '.join(sorted(sides[row[group]]))}"
        for row in rows
        if group and len(sides[row[group]]) > 1
    ]


def copy_violations(file: str, held_out: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """No held-out text (id -> text) stands among the known ones exactly or nearly (Jaccard of character five-grams)."""
    left = [re.sub(r"\W+", " ", t.lower()).strip() for t in held_out.values()]
    right = [re.sub(r"\W+", " ", t.lower()).strip() for t in known.values()]
    count = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, lowercase=False, dtype=np.float32)
    matrix = count.fit_transform([*left, *right])
    a, b = matrix[: len(left)], matrix[len(left) :]
    common = (a @ b.T).tocoo()
    sizes_a, sizes_b = np.asarray(a.sum(axis=1)).ravel(), np.asarray(b.sum(axis=1)).ravel()
    share = common.data / (sizes_a[common.row] + sizes_b[common.col] - common.data)
    names, others = list(held_out), list(known)
    return [
        f"{file} {names[i]}: held out, but {'the same as' if left[i] == right[j] else 'a near copy of'} {others[j]}"
        for i, j, s in sorted(zip(common.row.tolist(), common.col.tolist(), share.tolist(), strict=True))
        if s >= NEAR
    ]


def length_violations(file: str, texts: Mapping[str, str], least: int, most: int) -> list[str]:
    """Each text (id -> text) has `least` to `most` words."""
    counted = {name: len(text.split()) for name, text in texts.items()}
    return [
        f"{file} {name}: {n} words, {least} to {most} wanted" for name, n in counted.items() if not least <= n <= most
    ]


def contact_violations(file: str, text: str) -> list[str]:
    """Mail domains end in .example, telephone numbers are 555-01xx; the line of the file is the row."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        for domain in MAIL.findall(line):
            if not domain.endswith(".example"):
                found.append(f"{file} line {number}: mail domain {domain} is not .example")
        for phone in PHONE.findall(line):
            if not re.search(r"555[-. ]01\d\d$", phone):
                found.append(f"{file} line {number}: phone {phone} is not 555-01xx")
    return found


def encoding_violations(file: str, data: bytes, encoding: str = "utf-8") -> list[str]:
    """The bytes are text in the encoding the file is said to have, without a byte-order mark or a lost letter."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return [f"{file} line {line}: not {encoding}"]
    lines = text.split("\n")
    found = [f"{file} line {n}: a lost letter (U+FFFD)" for n, line in enumerate(lines, 1) if "\ufffd" in line]
    return found + ([f"{file} line 1: begins with a byte-order mark"] if text.startswith("\ufeff") else [])


def codebook_violations(rows: Sequence[Row]) -> list[str]:
    """Each code has a name, a definition, two different examples and what it is not; what it names there exists."""
    codes = {row["code"] for row in rows}
    found = []
    for row in rows:
        where = f"codebook.csv {row['code']}"
        empty = [k for k in ("code", "label", "definition", "example_1", "example_2", "not_this") if not row[k].strip()]
        found += [f"{where}: {name} is empty" for name in empty]
        found += [f"{where}: both examples are the same"] if row["example_1"] == row["example_2"] else []
        unknown = set(re.findall(r"\b[A-Z]{6,}\b", row["not_this"])) - codes
        found += [f"{where}: not_this names {name}, which is no code" for name in sorted(unknown)]
    twice = [code for code, n in Counter(row["code"] for row in rows).items() if n > 1]
    return found + [f"codebook.csv {code}: stands there twice" for code in twice]


def class_violations(rows: Sequence[Row], least_test: int, ratio: float) -> list[str]:
    """Each code has `least_test` tickets in the test split, and the largest code `ratio` times those of the smallest."""
    sizes = Counter(row["label"] for row in rows)
    tested = Counter(row["label"] for row in rows if row["split"] == "test")
    found = [
        f"examples.csv {code}: {tested[code]} in the test split, {least_test} wanted"
        for code in sorted(sizes)
        if tested[code] < least_test
    ]
    (large, most), (small, fewest) = sizes.most_common()[0], sizes.most_common()[-1]
    if most < ratio * fewest:
        found.append(f"examples.csv: {large} has {most} and {small} {fewest}, {ratio} times as many wanted (long tail)")
    return found


def count_violations(file: str, wanted: Mapping[str, tuple[int, int]]) -> list[str]:
    """What is counted (name -> how many there are, how many there must be at least)."""
    return [
        f"{file}: {have:,} {name}, at least {least:,} wanted" for name, (have, least) in wanted.items() if have < least
    ]


def key_violations(
    file: str, rows: Sequence[tuple[str, str]], keys: Sequence[Row], tickets: Mapping[str, Row], codes: set[str]
) -> list[str]:
    """Each line of a raw export's key (row, defect, detail) is true of the export's rows (text, code), counted from 1.

    `tickets` are the rows of examples.csv by id: a leaked text must be a copy of one in the test split.
    """
    found = []
    for key in keys:
        row, what, detail = int(key["row"]), key["defect"], key["detail"]
        if not 1 <= row <= len(rows):
            found.append(f"{file} row {row}: does not exist")
        elif what not in DEFECTS:
            found.append(f"{file} row {row}: '{what}' is no known defect")
        elif not DEFECTS[what](rows, row - 1, detail, tickets, codes):
            found.append(f"{file} row {row}: is not '{what}' ({detail})")
    return found


def _alike(a: str, b: str) -> bool:
    one, two = (set(re.sub(r"\W+", " ", t.lower()).split()) for t in (a, b))
    return a != b and len(one & two) > LOOSE * min(len(one), len(two))


def _other(rows: Sequence[tuple[str, str]], n: int, detail: str) -> tuple[str, str]:
    """The earlier row that the detail names; an impossible one when it names none."""
    named = re.search(r"\brow (\d+)", detail)
    return rows[int(named[1]) - 1] if named and int(named[1]) <= n else ("\0", "\0")


def _right(detail: str) -> str:
    named = re.search(r"right code (\w+)", detail)
    return named[1] if named else ""


def _conflicting(
    rows: Sequence[tuple[str, str]], n: int, detail: str, tickets: Mapping[str, Row], codes: set[str]
) -> bool:
    (text, code), (other, its) = rows[n], _other(rows, n, detail)
    same = other == text if detail.startswith("same") else _alike(other, text)
    return same and code != its and {code, its} <= codes and _right(detail) in (code, its)


def _leaked(rows: Sequence[tuple[str, str]], n: int, detail: str, tickets: Mapping[str, Row], codes: set[str]) -> bool:
    ticket = tickets.get(detail.split()[-1], {"text": "", "split": ""})
    copied = ticket["text"] == rows[n][0] if detail.startswith("exact") else _alike(ticket["text"], rows[n][0])
    return copied and ticket["split"] == "test"


def _misspelt(
    rows: Sequence[tuple[str, str]], n: int, detail: str, tickets: Mapping[str, Row], codes: set[str]
) -> bool:
    code, right = rows[n][1], _right(detail)
    alike = SequenceMatcher(None, re.sub(r"\W", "", code).upper(), right).ratio() > 0.8
    return code not in codes and right in codes and alike


def _empty(rows: Sequence[tuple[str, str]], n: int, detail: str, tickets: Mapping[str, Row], codes: set[str]) -> bool:
    text, code = (bool(cell.strip()) for cell in rows[n])
    return {"text": not text and code, "code": text and not code, "whole row": not text and not code}[detail]


DEFECTS: dict[str, Callable[..., bool]] = {
    "exact_duplicate": lambda rows, n, detail, *_: _other(rows, n, detail) == rows[n],
    "near_duplicate": lambda rows, n, detail, *_: _alike(_other(rows, n, detail)[0], rows[n][0]),
    "conflicting_label": _conflicting,
    "wrong_label": lambda rows, n, detail, _, codes: (
        {rows[n][1], _right(detail)} <= codes and _right(detail) != rows[n][1]
    ),
    "personal_data": lambda rows, n, detail, *_: all(part.split("=", 1)[1] in rows[n][0] for part in detail.split("|")),
    "empty": _empty,
    "encoding": lambda rows, n, detail, *_: (
        bool(MOJIBAKE.search(rows[n][0])) and detail.split("was: ")[1] != rows[n][0]
    ),
    "leakage": _leaked,
    "unknown_code": lambda rows, n, detail, _, codes: rows[n][1] not in codes and _right(detail) in codes,
    "misspelt_code": _misspelt,
}
