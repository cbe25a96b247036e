"""The audit of labelled texts: each kind of defect is found, check digits hold, and nothing is repaired by itself."""

from __future__ import annotations

import numpy as np
import pytest
from fakes_embedding import HashEmbeddings

from playbook.items import Example
from playbook.training_data import Finding, agreement, audit, iban, learning_curve, luhn, mask, personal_data, suspected

THRESHOLDS = {"least_per_code_for_training": 2, "conflicting_labels": 0.1}
CARD, IBAN = "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"


def examples(*rows: tuple[str, str], start: int = 1) -> list[Example]:
    return [Example(id=f"t{n}", text=text, label=label) for n, (text, label) in enumerate(rows, start)]


def found(train: list[Example], held_out: list[Example] = ()) -> dict[str, Finding]:
    encode = HashEmbeddings().encode
    vectors, others = encode([e.text for e in train]), encode([e.text for e in held_out])
    return {f.kind: f for f in audit(train, list(held_out), vectors, others, THRESHOLDS, seed=0)}


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


def test_near_duplicates_are_pairs_above_the_cosine_limit() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    assert found(examples(*CLEAN, (words, "BIL"), (f"{words} sixteen", "BIL")))["near duplicates"].rows == ("t6",)
    assert "near duplicates" not in found(examples(*CLEAN, ("the van came", "DLV")))  # sqrt(3/4) = 0.866


def test_codes_with_few_examples_are_named() -> None:
    finding = found(examples(*CLEAN, ("quite another matter here", "OTH")))["codes with few examples"]
    assert (finding.rows, finding.blocks) == (("OTH",), False)


def test_very_short_texts_are_named() -> None:
    assert found(examples(*CLEAN, ("still broken", "DLV")))["very short texts"].rows == ("t5",)


def test_suspected_wrong_code_is_the_planted_one() -> None:
    planted = [Example(id=f"a{n}", text="-", label="A") for n in range(8)] + [
        Example(id=f"b{n}", text="-", label="B") for n in range(8)
    ]
    planted.append(Example(id="wrong", text="-", label="B"))
    angles = np.radians([*np.linspace(-25, 25, 8), *np.linspace(65, 115, 8), 0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert suspected(planted, vectors, seed=0) == ["wrong"]
    assert suspected(planted[:-1], vectors[:-1], seed=0) == []


def test_suspected_needs_two_codes_with_two_examples_each() -> None:
    assert suspected(examples(("a", "A"), ("b", "A")), np.eye(2), 0) == []
    assert suspected(examples(("a", "A"), ("b", "B")), np.eye(2), 0) == []
    assert suspected([], np.zeros((0, 2)), 0) == []


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


def separable(count: int) -> tuple[list[Example], np.ndarray]:
    made = [Example(id=f"{label}{n}", text="-", label=label) for n in range(count) for label in "AB"]
    return made, np.array([[1.0, 0.0] if e.label == "A" else [0.0, 1.0] for e in made])


def test_learning_curve_has_four_points_and_repeats_for_the_same_seed() -> None:
    (train, vectors), (tune, tune_vectors) = separable(10), separable(3)
    curve = learning_curve(train, tune, vectors, tune_vectors, seed=1)
    assert [p.examples for p in curve] == [5, 10, 15, 20]
    assert (curve[-1].mean, curve[-1].low, curve[-1].high) == (1.0, 1.0, 1.0)
    assert all(0 <= p.low <= p.mean <= p.high <= 1 for p in curve)
    assert curve == learning_curve(train, tune, vectors, tune_vectors, seed=1)


def test_learning_curve_survives_draws_that_hold_one_code_only() -> None:
    (train, vectors), (tune, tune_vectors) = separable(2), separable(2)
    curve = learning_curve(train, tune, vectors, tune_vectors, seed=0)
    assert (curve[0].examples, curve[0].mean) == (1, 0.5), "one example: its code for every text, half of them right"
    assert curve[-1].mean == 1.0


def test_agreement_counts_equal_codes() -> None:
    share = agreement(["A", "B", "A"], ["A", "B", "C"])
    assert (share.hits, share.n) == (2, 3)
    with pytest.raises(ValueError):
        agreement(["A"], ["A", "B"])
