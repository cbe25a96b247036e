"""The audit of labelled texts: each kind of defect is found, check digits hold, and nothing is repaired by itself."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings

from playbook.evaluation import extrapolate
from playbook.items import Example
from playbook.training_data import (
    CHECKS,
    RULES,
    Finding,
    Known,
    Row,
    audit,
    blocking,
    iban,
    language,
    learning_curve,
    learning_draws,
    luhn,
    mask,
    personal_data,
    repair,
    repeated,
    suspected,
    waivers,
)

THRESHOLDS = {"least_per_code_for_training": 2, "conflicting_labels": 0.1}
CARD, IBAN = "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"


def examples(*rows: tuple[str, str], start: int = 1) -> list[Example]:
    return [Example(id=f"t{n}", text=text, label=label) for n, (text, label) in enumerate(rows, start)]


def found(train: list[Example | Row], held_out: list[Example] = (), **known: object) -> dict[str, Finding]:
    against = Known(held_out=list(held_out), **known)
    return {f.kind: f for f in audit(train, against, HashEmbeddings().encode, THRESHOLDS, seed=0)}


CLEAN = (
    ("the van came late", "DLV"),
    ("no delivery since monday", "DLV"),
    ("charged me twice", "BIL"),
    ("this amount looks wrong", "BIL"),
)


def test_clean_texts_give_no_finding_and_no_text_is_a_copy_of_itself() -> None:
    assert found(examples(*CLEAN)) == {}


def test_leak_into_the_held_out_split_blocks_exact_and_near() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    train = examples(*CLEAN, (words, "BIL"))
    leak = found(
        train,
        [
            Example(id="h1", text="THE VAN  came late", label="DLV"),
            Example(id="h2", text=f"{words} sixteen", label="BIL"),
        ],
    )
    assert leak["leaks into the held-out split"].rows == ("t1", "t5")  # cosine of the second: sqrt(15/16) = 0.968
    assert leak["leaks into the held-out split"].blocks


def test_personal_data_blocks_and_names_the_rows() -> None:
    finding = found(examples(*CLEAN, ("mail me at kim@fennmoor.example please", "BIL")))["personal data"]
    assert (finding.rows, finding.blocks) == (("t5",), True)


def test_same_text_with_other_codes_blocks_only_above_the_threshold() -> None:
    conflict = found(examples(*CLEAN, ("Charged me twice", "DLV")))["same text, different codes"]
    assert (conflict.rows, conflict.blocks) == (("t3", "t5"), True)  # 2 of 5 is above 0.1
    many = [(f"text number {n} about topic {n} and thing{n}", "DLV") for n in range(30)]
    tolerated = found(examples(*CLEAN, ("charged me twice", "DLV"), *many))["same text, different codes"]
    assert tolerated.rows == ("t3", "t5") and not tolerated.blocks  # 2 of 35 is below 0.1


def test_exact_duplicates_keep_the_first_and_do_not_block() -> None:
    finding = found(examples(*CLEAN, ("The VAN came   late", "DLV"), ("the van came late", "DLV")))["exact duplicates"]
    assert (finding.rows, finding.blocks) == (("t5", "t6"), False)


def test_near_duplicates_share_vector_or_vector_and_words() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    assert found(examples(*CLEAN, (words, "BIL"), (f"{words} sixteen", "BIL")))["near duplicates"].rows == ("t6",)
    assert found(examples(*CLEAN, ("the van came", "DLV")))["near duplicates"].rows == ("t5",)  # 0.866, 3 of 4 words
    same = "two two two two"  # cosine 16 of 19 by one repeated word, but 1 of 7 words shared
    assert "near duplicates" not in found(examples(*CLEAN, (f"{same} a b c", "DLV"), (f"{same} d e f", "DLV")))


def test_codes_with_few_examples_are_named() -> None:
    finding = found(examples(*CLEAN, ("quite another matter here", "OTH")))["codes with few examples"]
    assert (finding.rows, finding.blocks) == (("OTH",), False)


def test_very_short_texts_are_named() -> None:
    assert found(examples(*CLEAN, ("still broken", "DLV")))["very short texts"].rows == ("t5",)


def test_empty_cells_are_one_finding_and_disturb_no_other() -> None:
    rows = [Row(id="r1", text=" ", label="DLV"), Row(id="r2", text="no code given here", label="")]
    assert {k: f.rows for k, f in found([*examples(*CLEAN), *rows]).items()} == {"empty text or code": ("r1", "r2")}


def test_codes_are_held_against_the_code_book_and_the_held_out_texts() -> None:
    odd = found(examples(*CLEAN, ("what a pity it is", "DLVV")), codes=["DLV", "BIL"])["code not in the code book"]
    assert (odd.rows, odd.blocks, odd.action) == (("t5",), True, "hold")
    unseen = found(examples(*CLEAN), [Example(id="h1", text="quite other words here", label="NEW")])
    only = unseen["codes that only the held-out texts have"]
    assert (only.rows, only.blocks, only.action) == (("NEW",), True, "collect")


def test_damaged_letters_are_found_and_sound_foreign_ones_are_not() -> None:
    rows = examples(*CLEAN, ("Itâ€™s late", "DLV"), ("Pe\ufffda asks again", "BIL"), ("Zoë’s façade, 2½ feet", "BIL"))
    assert found(rows)["damaged letters"].rows == ("t5", "t6")


def test_a_text_that_repeats_a_restricted_passage_is_held() -> None:
    secret = "The managing director earns ninety thousand dollars a year, and a car."
    rows = examples(*CLEAN, ("he said the managing director earns ninety thousand dollars a YEAR", "BIL"))
    assert found(rows, restricted=[secret])["restricted source text"].action == "hold"
    assert repeated(rows, [secret]) == ["t5"]
    assert repeated(rows, ["the managing director earns ninety thousand euros a year"]) == []  # no eight words in a row
    assert repeated(rows, ["", "ninety thousand"]) == []


def test_rare_codes_long_texts_and_other_languages_are_named() -> None:
    many = [Example(id=f"m{n}", text=f"the and text{n} about{n} topic{n}", label="BIG") for n in range(41)]
    rows = [*examples(*CLEAN, ("el pago que no está bien por favor", "BIL"), ("the bed is here", "DLV")), *many]
    several = found(rows, too_long=lambda text: len(text) > 30)
    assert several["rare codes beside the largest"].rows == ("BIL", "DLV")  # 3 each, 41 of the largest
    assert several["too long for the adapter"].rows == ("t5",)
    assert several["another language than most"].rows == ("t5",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("where is the bed and when can you come", "English"),
        ("dónde está la cama, es para mi madre", "Spanish"),
        ("Где моя кровать и когда", "Cyrillic letters"),
        ("ok", ""),
        ("E-04 2 beds", ""),
        ("the und and der", ""),  # as many of one as of the other
        ("", ""),
    ],
)
def test_language(text: str, name: str) -> None:
    assert language(text) == name


def test_every_rule_and_every_limit_is_well_formed() -> None:
    assert all(limit > 0 for limit in RULES["limits"].values())
    assert set(CHECKS) < set(RULES["personal_data"])
    assert all(set(rule) == {"tolerated", "action", "repair"} for rule in RULES["findings"].values())
    assert {rule["tolerated"] for rule in RULES["findings"].values()} == {0, 1, "conflicting_labels"}


def planted() -> tuple[list[Row], object]:
    """Eight texts of each of two codes, apart on a circle, and one among the first code's that carries the second."""
    rows = [Row(id=f"a{n}", text=f"a{n}", label="A") for n in range(8)]
    rows += [Row(id=f"b{n}", text=f"b{n}", label="B") for n in range(8)] + [Row(id="wrong", text="w", label="B")]
    angles = np.radians([*np.linspace(-25, 25, 8), *np.linspace(65, 115, 8), 0])
    vector = {r.text: np.array([np.cos(x), np.sin(x)]) for r, x in zip(rows, angles, strict=True)}
    return rows, lambda texts: np.array([vector[t] for t in texts]).reshape(len(texts), 2)


def test_suspected_wrong_code_is_the_planted_one() -> None:
    rows, encode = planted()
    assert suspected(rows, encode, seed=0) == ["wrong"]
    assert suspected(rows[:-1], encode, seed=0) == []


def test_trusted_texts_help_to_doubt_and_copies_of_a_row_do_not() -> None:
    """One B text alone lies where the trusted A texts are: without them its code has too few texts to be judged."""
    rows, encode = planted()
    few, others = [*rows[8:10], rows[-1]], [*rows[:8], *rows[10:16]]
    assert suspected(few, encode, seed=0) == []

    def doubted(trusted: list[Row]) -> tuple[str, ...]:
        known = Known(trusted=trusted)
        kinds = {f.kind: f for f in audit(few, known, encode, THRESHOLDS, seed=0)}
        return kinds["suspected wrong code"].rows if "suspected wrong code" in kinds else ()

    far = [r for r in others if (encode([r.text]) @ encode([f.text for f in few]).T).max() < 0.93]
    assert far and doubted(others) == doubted(far)


def test_suspected_needs_two_codes_with_two_examples_each() -> None:
    encode = HashEmbeddings().encode
    assert suspected(examples(("a", "A"), ("b", "A")), encode, 0) == []
    assert suspected(examples(("a", "A"), ("b", "B")), encode, 0) == []
    assert suspected([], encode, 0) == []


def test_every_finding_says_what_to_do() -> None:
    every = found(examples(*CLEAN, ("still broken", "OTH"), ("the van came late", "BIL")), examples(CLEAN[2], start=90))
    assert len(every) >= 5 and all(f.repair and f.rows for f in every.values())


# ------------------------------------------------------------------------------------------------------- personal data


@pytest.mark.parametrize(
    ("digits", "valid"),
    [("79927398713", True), ("79927398710", False), ("4111111111111111", True), ("4111111111111112", False)],
)
def test_luhn(digits: str, valid: bool) -> None:
    assert luhn(digits) is valid


@pytest.mark.parametrize(
    ("code", "valid"),
    [
        ("GB82WEST12345698765432", True),
        ("GB82WEST12345698765433", False),
        ("DE89370400440532013000", True),
        ("DE98370400440532013000", False),
        ("GB82", False),
    ],
)
def test_iban(code: str, valid: bool) -> None:
    assert iban(code) is valid


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("write to kim.lee+x@fennmoor.example.", ["e-mail address"]),
        ("call 614-555-0137 or (614) 555-0137", ["phone number"]),
        ("call +1 614.555.0137", ["phone number"]),
        ("number 123-45-6789", ["social security number"]),
        ("number 000-45-6789 and 900-45-6789", []),
        (f"card {CARD} please", ["card number"]),
        ("card 4111-1111-1111-1111", ["card number"]),
        ("order 4111 1111 1111 1112", []),
        (f"account {IBAN}", ["IBAN"]),
        ("account DE98370400440532013000", []),
        ("account DE89370400440532013000BIC COBADEFFXXX", ["IBAN"]),
        ("account AT61 1904 3002 3457 3201 THEN PAY", ["IBAN"]),
        ("iban gb82 west 1234 5698 7654 32", ["IBAN"]),
        ("account FR14 2004 1010 0505 0001 3M02 606 OR CASH", ["IBAN"]),
        ("account FR14 2004 1010 0505 0001 3M02 607", []),
        ("call +44 20 7946 0958 today", ["phone number"]),
        ("she was born on 3/14/1941", ["date of birth"]),
        ("DOB: 1941-03-14, MRN 55-20417", ["date of birth", "record number"]),
        ("the bed born by two men, order 55-20417", []),
        ("please ring Mrs. O. Quillfeather today", ["name"]),
        ("my name is Orla Bexley and", ["name"]),
        ("the bed is late. Orla Bexley", ["name"]),
        ("ask Orla Bexley-Stone, 614-555-0137", ["name", "phone number"]),
        ("the bed is late. Thistledown Manor", []),
        ("mrs. is a title, Dr. too", []),
        ("part LR-310, $1,250.50, 2026-11-01, ticket 12345678", []),
        ("", []),
    ],
)
def test_personal_data_kinds(text: str, kinds: list[str]) -> None:
    assert personal_data(text) == kinds


def test_mask_replaces_every_match_and_nothing_else() -> None:
    text = f"Kim, kim@fennmoor.example, 614-555-0137, 123-45-6789, {CARD} and {IBAN} for order 4111 1111 1111 1112."
    masked = mask(text)
    assert masked == (
        "Kim, [e-mail address], [phone number], [social security number], [card number] and [IBAN] for order 4111 1111 1111 1112."
    )
    assert personal_data(masked) == [] and mask(masked) == masked


# ------------------------------------------------------------------------------------------------------ learning curve


def separable(count: int) -> list[Example]:
    return [Example(id=f"{label}{n}", text=label, label=label) for n in range(count) for label in "AB"]


encode_letters = HashEmbeddings(dimension=64).encode


def test_learning_curve_has_four_points_and_repeats_for_the_same_seed() -> None:
    draws = learning_draws(separable(10), separable(3), encode_letters, seed=1)
    curve = learning_curve(draws)
    assert [p.examples for p in curve] == [5, 10, 15, 20]
    assert [hits.shape for hits in draws.values()] == [(5, 6)] * 3 + [(1, 6)]
    assert (curve[-1].mean, curve[-1].low, curve[-1].high) == (1.0, 1.0, 1.0)
    assert all(0 <= p.low <= p.mean <= p.high <= 1 for p in curve)
    assert curve == learning_curve(learning_draws(separable(10), separable(3), encode_letters, seed=1))


def test_learning_curve_survives_draws_that_hold_one_code_only() -> None:
    curve = learning_curve(learning_draws(separable(2), separable(2), encode_letters, seed=0))
    assert (curve[0].examples, curve[0].mean) == (1, 0.5), "one example: its code for every text, half of them right"
    assert curve[-1].mean == 1.0


def drawn_from_a_law(top: float, gap: float, speed: float, items: int, seed: int) -> dict[int, np.ndarray]:
    """Hits of five draws at 100 to 400 examples; each item is right from its own share on, as with a real classifier."""
    rng = np.random.default_rng(seed)
    hard = rng.random(items)
    return {n: top - gap * (n / 400) ** -speed > hard + rng.normal(0, 0.02, (5, items)) for n in (100, 200, 300, 400)}


def test_forecast_holds_the_true_gain_of_a_known_law_nearly_always() -> None:
    """From 400 to 600 examples this law gains 0.2 - 0.2 * 1.5^-0.5 = 3.7 points."""
    true = 0.2 - 0.2 * 1.5**-0.5
    made = [extrapolate(drawn_from_a_law(0.9, 0.2, 0.5, 800, seed), 600) for seed in range(4)]
    assert sum(low <= true <= high for _, low, high in made) >= 3
    assert all(high - low < 0.06 for _, low, high in made)


def test_forecast_of_a_flat_curve_is_about_nothing() -> None:
    flat = extrapolate(drawn_from_a_law(0.7, 0, 1, 800, 0), 600)
    assert abs(flat[0]) < 0.01 and flat[2] < 0.03


def test_forecast_cannot_say_with_few_items_few_sizes_or_too_far() -> None:
    draws = drawn_from_a_law(0.9, 0.2, 0.5, 800, 0)
    assert extrapolate(drawn_from_a_law(0.9, 0.2, 0.5, 49, 3), 600) is None
    guesses = {n: np.random.default_rng(n).random((5, 60)) < 0.5 for n in (100, 200, 300, 400)}
    assert extrapolate(guesses, 800, widest=0.05) is None
    assert extrapolate({n: hits for n, hits in draws.items() if n > 100}, 600) is None
    assert extrapolate(draws, 801) is None
    assert extrapolate({}, 600) is None


# ------------------------------------------------------------------------------------------------- waivers and repair

PRIVATE = ("Mrs. Bexley asks, mail me at kim@fennmoor.example", "BIL")


def test_personal_data_blocks_until_masked_or_waived_by_name() -> None:
    rows = examples(*CLEAN, PRIVATE)
    findings = list(found(rows).values())
    assert blocking(findings, {}) == ["personal data", "names of persons"]
    kept, asked = repair(rows, findings)
    assert kept[4].text == "[name] asks, mail me at [e-mail address]" and asked["t5"]["mask"] == "personal data"
    assert blocking(list(found(kept).values()), {}) == []
    signed = waivers({"names of persons": {"name": "M. Achterberg", "reason": "invented names"}})
    assert blocking(findings, signed) == ["personal data"]
    assert repair(rows, findings, signed)[0][4].text == "Mrs. Bexley asks, mail me at [e-mail address]"
    assert rows[4].text == PRIVATE[0], "the original is not touched"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"personal data": {"name": "", "reason": "we need it"}}, "waiver of 'personal data': 'name' is empty"),
        ({"personal data": {"name": "  ", "reason": "we need it"}}, "waiver of 'personal data': 'name' is empty"),
        ({"personal data": {"name": "M. Achterberg"}}, "waiver of 'personal data': 'reason' is missing"),
        ({"personal data": "M. Achterberg"}, "waiver of 'personal data'"),
        ({"private data": {"name": "M. Achterberg", "reason": "invented"}}, "'private data' is no finding"),
    ],
)
def test_a_waiver_without_name_and_reason_is_refused(given: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        waivers(given)


def test_repair_drops_holds_and_decodes_and_never_changes_a_label() -> None:
    rows = [
        *examples(*CLEAN, ("The VAN came late", "DLV"), ("Charged me twice", "DLV"), ("Zoâ\x80\x99s bed is gone", "DLV")),
        Row(id="lost", text="Pe\ufffda asks again for it", label="BIL"),
        Row(id="none", text="", label="BIL"),
        Row(id="odd", text="a code that nobody knows", label="XXX"),
    ]
    kept, asked = repair(rows, list(found(rows, codes=["DLV", "BIL"]).values()))
    dropped, held = ({i for i, why in asked.items() if action in why} for action in ("drop", "hold"))
    assert (dropped, held) == ({"t5", "none"}, {"t3", "t6", "lost", "odd"})
    assert [r.id for r in kept] == ["t1", "t2", "t4", "t7"]
    assert kept[-1].text != rows[6].text and "\x80" not in kept[-1].text
    assert {(r.id, r.label) for r in kept} <= {(r.id, r.label) for r in rows}
    assert repair([], []) == ([], {})


def test_a_repaired_copy_has_nothing_left_that_a_machine_could_repair() -> None:
    train = examples(*CLEAN, PRIVATE, ("the van came late", "DLV"), ("charged me twice", "BIL"), ("still broken", "DLV"))
    kept, _ = repair(train, list(found(train, examples(CLEAN[1], start=90)).values()))
    again = found(kept, examples(CLEAN[1], start=90))
    assert {f.action for f in again.values()} <= {"read", "collect"} and len(kept) == len(train) - 3


# ---------------------------------------------------------------------------------------- the raw exports and their keys

RAW = Path(__file__).parents[1] / "data" / "raw_exports"
EXPORTS = {"a": ("utf-8", ",", "subject_text", "code_assigned"), "b": ("cp1252", ";", "text", "code")}
KEYED = {  # kind of finding: (defect in the key, least recall); precision must be 1. B was not looked at when rules were made
    "empty text or code": ("empty", 1),
    "damaged letters": ("encoding", 0.8),
    "exact duplicates": ("exact_duplicate", 1),
    "personal data": ("personal_data", 0.9),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_rules_find_what_the_keys_of_the_raw_exports_say(name: str) -> None:
    encoding, delimiter, text, code = EXPORTS[name]
    with (RAW / f"raw_export_{name}.csv").open(encoding=encoding, newline="") as file:
        cells = list(csv.DictReader(file, delimiter=delimiter))
    with (RAW / f"raw_export_{name}_key.csv").open(encoding="utf-8", newline="") as file:
        key = list(csv.DictReader(file))
    rows = [Row(id=str(n), text=c[text].strip(), label=c[code].strip()) for n, c in enumerate(cells, 1)]
    encode = HashEmbeddings(dimension=128).encode
    named = {f.kind: set(f.rows) for f in audit(rows, Known(), encode, THRESHOLDS, seed=0)}
    for kind, (defect, least) in KEYED.items():
        there = {entry["row"] for entry in key if entry["defect"] == defect}
        assert named[kind] <= there, f"{kind}: {sorted(named[kind] - there)} are not in the key"
        assert len(named[kind] & there) >= least * len(there), f"{kind}: misses {sorted(there - named[kind])}"
