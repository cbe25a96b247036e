"""A record read again with a changed price book: every assumption that broke is named, and nothing else.

Run: pytest tests/test_recheck.py
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playbook import cli
from playbook.decision import broken_assumptions
from playbook.economics import EconomicsResult, evaluate_economics
from playbook.prices import load_client_economics, load_price_book

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "data" / "sample_client" / "economics.yaml"
BOOK = ROOT / "playbook" / "tables" / "price_book.yaml"
SIGNED, EXPIRES = date(2026, 11, 1), date(2027, 2, 14)


def economics(folder: Path, as_of: date = SIGNED, book: dict[str, str] | None = None, client: dict[str, str] | None = None,
              months: int = 24) -> EconomicsResult:  # fmt: skip
    """Today's economics after texts in the price book and in the client's file were replaced."""
    for path, changes in ((BOOK, book or {}), (CLIENT, client or {})):
        text = path.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (folder / path.name).write_text(text, encoding="utf-8")
    own = load_client_economics(folder / CLIENT.name, load_price_book(folder / BOOK.name))
    return evaluate_economics(own, as_of, months, paths=100)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> EconomicsResult:
    result = economics(tmp_path_factory.mktemp("signed"))
    return EconomicsResult.model_validate_json(result.model_dump_json())


def test_nothing_broke_on_the_day_it_was_signed_and_while_prices_are_young(
    kept: EconomicsResult, tmp_path: Path
) -> None:
    assert broken_assumptions(kept, economics(tmp_path), EXPIRES, SIGNED) == ()
    same_day = broken_assumptions(kept, economics(tmp_path, date(2026, 11, 15)), EXPIRES, EXPIRES)
    assert same_day == ()


def test_a_changed_price_is_named_with_both_values_and_dates(kept: EconomicsResult, tmp_path: Path) -> None:
    line = "{id: tokens_in.mid, value: 1.25, low: 1.00,"
    fresh = economics(tmp_path, book={line: "{id: tokens_in.mid, value: 1.10, low: 1.00, as_of: 2026-11-20,"})
    assert broken_assumptions(kept, fresh, EXPIRES, date(2026, 11, 21)) == (
        "tokens_in.mid: 1.25 USD per million tokens in the record (2026-06-15), "
        "1.1 USD per million tokens now (2026-11-20).",
    )


def test_a_price_of_a_tenth_moves_totals_and_the_order(kept: EconomicsResult, tmp_path: Path) -> None:
    line = "{id: tokens_in.mid, value: 1.25, low: 1.00, high: 3.00,"
    fresh = economics(tmp_path, book={line: "{id: tokens_in.mid, value: 0.125, low: 0.1, high: 0.30,"})
    said = broken_assumptions(kept, fresh, EXPIRES, SIGNED)
    answers = [{o.option: o.total for o in r.options if o.use_case == "answers"} for r in (kept, fresh)]
    old, new = (totals["prompt_only"] for totals in answers)
    assert f"answers by prompt_only: {new:,.0f} USD in 24 months instead of {old:,.0f} ({new / old - 1:+.0%})." in said
    before, after = (", ".join(sorted(totals, key=totals.get)) for totals in answers)
    assert before.endswith("prompt_only") and not after.endswith("prompt_only")
    assert f"answers: from cheapest to dearest the options are now {after}; in the record {before}." in said
    assert len(said) == 3  # the price, one total, one order: a ticket costs few tokens


@pytest.mark.parametrize(("factor", "told"), [(1.09, 0), (1.2, 1), (0.8, 1)])
def test_a_total_is_named_when_it_moved_by_more_than_a_tenth(kept: EconomicsResult, factor: float, told: int) -> None:
    first = kept.options[1]
    moved = first.model_copy(update={"total": factor * first.total})
    fresh = kept.model_copy(update={"options": (kept.options[0], moved, *kept.options[2:])})
    said = [s for s in broken_assumptions(kept, fresh, EXPIRES, SIGNED) if "instead of" in s]
    assert len(said) == told


def test_published_figures_that_have_become_old_are_named_only_where_a_cost_rests_on_them(
    kept: EconomicsResult, tmp_path: Path
) -> None:
    said = broken_assumptions(kept, economics(tmp_path, date(2027, 1, 20)), EXPIRES, date(2027, 1, 20))
    assert all(s.endswith("too long ago; look it up again.") for s in said)
    named = {s.split(":")[0] for s in said}
    assert named == {"base_release_months", "training_run_hours", "training_project", "examples.lora", "examples.hybrid",
                     "gpu_hour.a100_40gb"}  # fmt: skip
    assert "gpu_hour.a100_40gb: 2 USD per GPU hour was read on 2026-09-20, too long ago; look it up again." in said


def test_a_record_past_its_date_says_so_first(kept: EconomicsResult) -> None:
    said = broken_assumptions(kept, kept, EXPIRES, date(2027, 2, 15))
    assert said == ("The record has expired: it was to be looked at again by 2027-02-14.",)


@pytest.mark.parametrize(("there", "back"), [("now pays back", False), ("no longer pays back", True)])
def test_a_break_even_that_flips_is_named(kept: EconomicsResult, tmp_path: Path, there: str, back: bool) -> None:
    many = economics(tmp_path, client={"items_per_month: {value: 2600,": "items_per_month: {value: 26000000,"})
    assert kept.payback["ticket_codes"] is None and many.payback["ticket_codes"] < 24
    said = broken_assumptions(*((many, kept) if back else (kept, many)), EXPIRES, SIGNED)
    assert [s for s in said if f"training {there} within 24 months" in s and s.startswith("ticket_codes:")]
    assert [s for s in said if s.startswith("ticket_codes items_per_month: ") and "26,000,000 tickets" in s]
    at_once = many.model_copy(update={"payback": {"ticket_codes": 0.0, "answers": None}})  # as rounding may save it
    assert not [s for s in broken_assumptions(at_once, many, EXPIRES, SIGNED) if "pays back" in s]
    older = kept.model_copy(update={"payback": {}})  # saved before this was kept: nothing can be said
    assert not [s for s in broken_assumptions(older, many, EXPIRES, SIGNED) if "pays back" in s]


def test_a_use_case_that_is_gone_is_named_and_a_line_without_a_cost_breaks_nothing(
    kept: EconomicsResult, tmp_path: Path
) -> None:
    no_flops = {"  - {id: gflops.48gb, value: 54300,": "  - {id: gflops.49gb, value: 54300,"}
    assert broken_assumptions(kept, economics(tmp_path, book=no_flops), EXPIRES, SIGNED) == ()
    renamed = economics(tmp_path, client={"  answers:\n": "  replies:\n"})
    assert "answers: no longer in economics.yaml." in broken_assumptions(kept, renamed, EXPIRES, SIGNED)


def test_other_currencies_and_horizons_do_not_compare(kept: EconomicsResult, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are in USD over 24 months and USD over 12; they must be the same"):
        broken_assumptions(kept, economics(tmp_path, months=12), EXPIRES, SIGNED)
    with pytest.raises(ValueError, match="and EUR over 24; they must be the same"):
        broken_assumptions(kept, kept.model_copy(update={"currency": "EUR"}), EXPIRES, SIGNED)


# ------------------------------------------------------------------------------------------------------------- command


@pytest.mark.parametrize(
    ("as_of", "code", "said"),
    [
        ("2026-11-01", 0, "Every assumption of the record still holds."),
        ("2027-06-01", 1, "The record has expired"),
        ("soon", 2, "does not match the format"),
    ],
)
def test_the_command_reads_the_committed_record_again(as_of: str, code: int, said: str) -> None:
    done = CliRunner().invoke(cli.app, ["recheck", "sample", "--as-of", as_of])
    assert done.exit_code == code
    assert said in done.output + str(done.exception)
