"""Break-even, option costs, simulation and price book: values that can be checked by hand.

Run: pytest tests/test_economics.py
"""

import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml

from playbook.economics import (
    COST_LINES,
    OPTIONS,
    EconomicsResult,
    break_even,
    client_case,
    evaluate_economics,
    flip_volume,
    option_costs,
    payback_needs,
    points_needed,
    premium_limit,
    right_share_needed,
    simulate_maintenance,
    source_scenarios,
    swings,
    value_per_month,
)
from playbook.prices import load_client_economics, load_price_book, stale_lines

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "playbook" / "tables"
SAMPLE = ROOT / "data" / "sample_client" / "economics.yaml"
AS_OF = date(2026, 11, 1)
SOURCE = {
    "tokens_saved": 15,
    "calls_per_month": 10_000_000,
    "price_per_million": 1,
    "upfront": 700,
    "cadence_months": 3.5,
}


@pytest.fixture(scope="module")
def book():
    return load_price_book()


@pytest.fixture(scope="module")
def client(book):
    return load_client_economics(SAMPLE, book)


@pytest.fixture(scope="module")
def tickets(client):
    return next(i for i in client.use_cases if i.name == "ticket_codes")


@pytest.fixture(scope="module")
def answers(client):
    return next(i for i in client.use_cases if i.name == "answers")


def by_option(inputs, months=24):
    return {c.option: c for c in option_costs(inputs, months)}


# --- break-even: the source's case and every variation that was checked by hand ---------------------------------------


@pytest.mark.parametrize(
    ("change", "months"),
    [
        ({}, 4.67),
        ({"cost_per_base": 200}, 7.54),
        ({"cost_per_base": 600}, None),
        ({"upfront": 6_000 + 200}, 41.33),
        ({"upfront": 2_000 + 200}, 14.67),
        ({"upfront": 10_000 + 200}, 68.0),
        ({"calls_per_month": 1_000_000}, 46.67),
        ({"calls_per_month": 1_000_000, "cost_per_base": 200}, None),
        ({"calls_per_month": 100_000_000, "cost_per_base": 200}, 0.485),
        ({"hosting_per_month": 730 * 0.80}, None),
    ],
)
def test_source_break_even_and_its_variations(change, months):
    result = break_even(**{**SOURCE, **change})
    assert result.months == (None if months is None else pytest.approx(months, abs=0.005))


def test_source_saving_is_150_a_month():
    assert break_even(**SOURCE).saving_per_month == pytest.approx(150)


def test_testing_again_costs_more_than_the_saving():
    case = {**SOURCE, "cost_per_base": 600}
    assert break_even(**case).maintenance_per_month == pytest.approx(171.43, abs=0.01)


def test_premium_limit_is_15_of_485_tokens():
    assert premium_limit(15, 500) == pytest.approx(15 / 485)  # 3.1 % more for each of the tokens that remain


@pytest.mark.parametrize(("cadence", "early"), [(3.5, False), (5, True)])
def test_payback_before_the_next_base_model(cadence, early):
    assert break_even(**{**SOURCE, "cadence_months": cadence}).before_next_base is early


def test_source_scenarios_come_from_the_price_book(book):
    months = [break_even(**case).months for case in source_scenarios(book).values()]
    assert [m if m is None else round(m, 2) for m in months] == [4.67, 19.6, 7.54, None, 41.33]


def test_reverse_question_in_closed_form():
    # 700 in 7 months = 100 a month = 100 / (15 x 1/1e6) calls, or 10 tokens on 10 million calls
    assert payback_needs(7, **SOURCE) == pytest.approx((6_666_666.67, 10), abs=0.01)


def test_reverse_question_answers_pay_back_in_the_asked_time():
    case = {**SOURCE, "cost_per_base": 200, "prompt_tokens": 500}
    calls, tokens = payback_needs(12, **case)
    assert break_even(**{**case, "calls_per_month": calls}).months == pytest.approx(12)
    assert break_even(**{**case, "tokens_saved": tokens}).months == pytest.approx(12)


def test_reverse_question_can_have_no_answer():
    _, tokens = payback_needs(12, **{**SOURCE, "calls_per_month": 2_600, "prompt_tokens": 500})
    assert tokens is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price_per_million": 0}, "price_per_million is 0; give a number above 0"),
        ({"calls_per_month": -3}, "calls_per_month is -3; give a number above 0"),
        ({"tokens_saved": 0}, "tokens_saved is 0"),
        ({"upfront": float("nan")}, "upfront is nan"),
        ({"cost_per_base": -1}, "cost_per_base is -1; give a number of 0 or more"),
        ({"cadence_months": 0}, "cadence_months is 0"),
        ({"prompt_tokens": 15}, "must be below prompt_tokens"),
    ],
)
def test_bad_break_even_input_says_what_to_do(change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        break_even(**{**SOURCE, **change})


# --- what every option costs ------------------------------------------------------------------------------------------


def test_rag_one_off_is_five_weeks_and_the_questions(tickets):
    # 200 specialist hours at 95, 100 questions x 10 minutes at 38 an hour, and ten trial rounds of their tokens
    rag = by_option(tickets)["rag"]
    assert rag.once == pytest.approx(200 * 95 + 100 * 10 / 60 * 38 + 10 * 100 * rag.per_item)


def test_rag_hours_add_up_to_the_weeks_of_the_sources(book):
    hours = [x.value for x in book.lines.values() if x.id.startswith("effort.rag.") and x.id.endswith(".once")]
    assert sum(hours) == book.line("rag_weeks").value * book.line("hours_per_week").value


def test_labelling_counts_ready_examples_as_checking(tickets):
    # 2,000 wanted, 1,942 there: 58 x 3 minutes and 1,942 x half a minute at 38 an hour
    lora = {x.line: x for x in by_option(tickets)["lora"].lines}
    assert lora["labelling"].once == pytest.approx((58 * 3 + 1942 * 0.5) / 60 * 38)


def test_tokens_of_one_prompted_ticket(tickets):
    # (500 + 600 + 60) x 1.25 + 10 x 5 dollars per million
    assert by_option(tickets)["prompt_only"].per_item == pytest.approx((1160 * 1.25 + 10 * 5) / 1e6)


def test_tuned_model_pays_the_premium(tickets):
    assert by_option(tickets)["lora"].per_item == pytest.approx((120 * 0.40 + 10 * 1.60) * 1.5 / 1e6)


def test_retraining_follows_base_models_and_for_knowledge_the_documents(tickets, answers):
    once = 12 * 95 + 3 * 2.00
    monthly = {i.name: {x.line: x.monthly for x in by_option(i)["lora"].lines} for i in (tickets, answers)}
    assert monthly["ticket_codes"]["retraining"] == pytest.approx(once / 3.5)
    assert monthly["answers"]["retraining"] == pytest.approx(once * (1 - (1 - 1 / 3.5) * np.exp(-6)))


def test_nobody_to_retrain_makes_ownership_dearer(tickets):
    named = tickets.model_copy(update={"training_owner": "Bram Ostrander"})
    lines = [next(x for x in by_option(i)["lora"].lines if x.line == "ownership") for i in (tickets, named)]
    assert lines[0].monthly - lines[1].monthly == pytest.approx(0.5 * 4 * 38)
    assert by_option(tickets)["rag"].total == by_option(named)["rag"].total


def test_no_zero_without_a_reason_and_totals_add_up(client):
    for inputs in client.use_cases:
        for cost in option_costs(inputs, 24):
            assert tuple(x.line for x in cost.lines) == COST_LINES
            assert all(x.reason for x in cost.lines if x.once == 0 or x.monthly == 0)
            assert cost.monthly > 0
            assert cost.once == pytest.approx(sum(x.once for x in cost.lines))
            assert cost.total == pytest.approx(cost.once + 24 * cost.monthly)
            assert cost.first_year == pytest.approx(cost.once + 12 * cost.monthly)


def test_a_zero_that_nobody_explains_is_an_error(tickets):
    reasons = {k: v for k, v in tickets.book.zero_reasons.items() if k != "rag.retraining"}
    bare = tickets.model_copy(update={"book": tickets.book.model_copy(update={"zero_reasons": reasons})})
    with pytest.raises(ValueError, match="rag.retraining.once is 0 without a reason; add"):
        option_costs(bare, 24)


def test_right_share_and_points_by_hand(tickets):
    rag, lora = (by_option(tickets)[o] for o in ("rag", "lora"))
    minutes = lora.total / 24 / 2600 / (38 / 60)  # what one ticket costs, in minutes of staff
    share = right_share_needed(lora, tickets)
    assert share * 1.5 - (1 - share) * 5 == pytest.approx(minutes)
    extra = (lora.total - rag.total) / 24 / 2600 / (38 / 60)
    assert points_needed(lora, rag, tickets) == pytest.approx(100 * extra / 6.5)
    assert value_per_month(tickets) == pytest.approx(2600 * 1.5 / 60 * 38)


def test_at_the_flip_volume_both_options_cost_the_same(answers):
    costs = by_option(answers)
    volume = flip_volume(costs["prompt_only"], costs["rag"], 9000)
    moved = by_option(answers.with_measured({"items_per_month": volume}, "test", AS_OF))
    assert moved["prompt_only"].total == pytest.approx(moved["rag"].total)


def test_no_flip_volume_when_one_is_always_cheaper(tickets):
    costs = by_option(tickets)
    assert flip_volume(costs["cheap_classifier"], costs["hybrid"], 2600) is None


def test_measured_figures_replace_assumed_ones(tickets):
    measured = tickets.with_measured({"tokens.few_shot": 1200}, "03_prompt_baseline", AS_OF)
    assert client_case(measured)["tokens_saved"] == 1200
    assert measured.figure("tokens.few_shot").origin == "measured"
    with pytest.raises(ValueError, match="'tokens.fewshot' is not in the price book; correct the id"):
        tickets.with_measured({"tokens.fewshot": 1}, "test", AS_OF)


def test_swings_are_sorted_and_bracket_the_total(tickets):
    found, total = swings(tickets, "rag", 24), by_option(tickets)["rag"].total
    widths = [abs(high - low) for _, low, high in found]
    assert widths == sorted(widths, reverse=True)
    assert all(min(low, high) <= total <= max(low, high) for _, low, high in found)


@pytest.mark.parametrize("months", [0, -1, 121])
def test_months_out_of_range(tickets, months):
    with pytest.raises(ValueError, match=f"months is {months}; give a number"):
        option_costs(tickets, months)


# --- simulation -------------------------------------------------------------------------------------------------------


def test_simulation_is_quick_seeded_and_ordered(tickets):
    start = time.perf_counter()
    fan = simulate_maintenance(tickets, 24, 10_000, seed=1)
    assert time.perf_counter() - start < 3
    again, other = (simulate_maintenance(tickets, 24, 10_000, seed=s) for s in (1, 2))
    assert tuple(fan) == OPTIONS
    for option in OPTIONS:
        low, middle, high = fan[option]
        assert fan[option].shape == (3, 24)
        assert (low <= middle).all() and (middle <= high).all() and (np.diff(middle) > 0).all()
        np.testing.assert_array_equal(fan[option], again[option])
    assert not np.array_equal(fan["lora"], other["lora"])


@pytest.mark.parametrize("use_case", ["tickets", "answers"])
def test_simulation_centres_on_the_table_when_prices_stay_and_nothing_overruns(use_case, request):
    inputs = request.getfixturevalue(use_case)
    calm = inputs.with_measured({"overrun": 1e-6, "price_left_after_year": 1}, "test", AS_OF)
    fan = simulate_maintenance(calm, 24, 5_000)
    for cost in option_costs(calm, 24):
        assert fan[cost.option][1, -1] == pytest.approx(cost.total, rel=0.04)


def test_each_event_raises_what_it_should(tickets):
    base = simulate_maintenance(tickets, 24, 2_000)
    for change, hit, spared in (
        ({"vendor_withdraws": 0.9}, "lora", "do_nothing"),
        ({"owner_leaves": 0.9}, "rag", "do_nothing"),
        ({"base_release_months": 1}, "prompt_only", "cheap_classifier"),
    ):
        moved = simulate_maintenance(tickets.with_measured(change, "test", AS_OF), 24, 2_000)
        assert moved[hit][1, -1] > base[hit][1, -1] * 1.01
        assert moved[spared][1, -1] == pytest.approx(base[spared][1, -1], rel=0.02)


def test_falling_prices_make_tokens_cheaper(answers):
    cheap, same = (answers.with_measured({"price_left_after_year": x}, "test", AS_OF) for x in (0.1, 1))
    fans = [simulate_maintenance(i, 24, 500)["prompt_only"][1, -1] for i in (cheap, same)]
    assert fans[0] < fans[1]


@pytest.mark.parametrize("paths", [0, 99, 1_000_001])
def test_paths_out_of_range(tickets, paths):
    with pytest.raises(ValueError, match=f"paths is {paths}; give a number from 100"):
        simulate_maintenance(tickets, 24, paths)


# --- the result -------------------------------------------------------------------------------------------------------


def test_result_of_the_sample_client(client):
    result = evaluate_economics(client, AS_OF, paths=1_000)
    assert len(result.options) == 2 * len(OPTIONS)
    assert all(o.p10 <= o.p50 <= o.p90 for o in result.options)
    assert {a.origin for a in result.assumptions} == {"client", "literature", "our_estimate"}
    assert all(a.source for a in result.assumptions)
    own = break_even(**client_case(client.use_cases[0]))
    assert own.months is None and own.saving_per_month == pytest.approx(2600 * 600 * 1.25 / 1e6)
    assert [reading.split(":")[0] for reading in result.flip_points[:2]] == ["ticket_codes", "answers"]
    assert "training saves 1.95 USD of tokens a month, never pays back" in result.headline
    assert EconomicsResult.model_validate_json(result.model_dump_json()) == result


# --- price book and client file ---------------------------------------------------------------------------------------


def test_every_line_is_dated_sourced_and_honest(book):
    assert {x.origin for x in book.lines.values()} == {"literature", "our_estimate"}
    for line in book.lines.values():
        assert line.as_of <= AS_OF and line.unit and line.source
        assert line.origin != "our_estimate" or line.source.startswith("Our estimate")


def test_stale_lines_are_the_old_ones(book):
    old = stale_lines(book, AS_OF)
    assert old[0].id == "price_left_after_year"
    assert {"tokens_in.mid", "tokens_in.small"} <= {x.id for x in old}
    assert not stale_lines(book, AS_OF, days=4000)
    assert len(stale_lines(book, date(2036, 1, 1))) == len(book.lines)
    with pytest.raises(ValueError, match="days is 0"):
        stale_lines(book, AS_OF, days=0)


def test_template_for_a_new_client_works(book):
    placeholder = load_client_economics(TABLES / "new_economics.yaml", book)
    result = evaluate_economics(placeholder, AS_OF, paths=200)
    assert result.budget == 20_000
    assert "client" not in {a.origin for a in result.assumptions}


def change_line(raw, id, new):
    next(e for e in raw["groups"] if e.get("id") == id).update(new)


@pytest.mark.parametrize(
    ("id", "new", "message"),
    [
        ("gpu_hour.t4", {"value": -3}, r"line \d+: groups 'gpu_hour.t4': gpu_hour.t4 is -3; give a number above 0"),
        ("gpu_hour.t4", {"value": 0}, "gpu_hour.t4 is 0; give a number above 0"),
        ("gpu_hour.t4", {"value": "cheap"}, "groups 'gpu_hour.t4': 'value' is 'cheap'"),
        ("gpu_hour.t4", {"value": 50}, "50 is not between low 0.35 and high 0.99"),
        ("gpu_hour.t4", {"currency": "EUR"}, "'gpu_hour.t4': EUR is not the file's currency, USD; convert it"),
        ("gpu_hour.t4", {"as_of": "soon"}, "'as_of' is 'soon'"),
        ("gpu_hour.t4", {"source": ""}, "'source' is empty; fill it in"),
        ("gpu_hour.t4", {"prize": 1}, "unknown field 'prize'; use only id, value, low"),
        ("gpu_hour.t4", {"id": "gpu_hour.24gb"}, r"line \d+: 'gpu_hour.24gb' is there already in line \d+"),
    ],
)
def test_bad_price_book_names_the_line(tmp_path, id, new, message):
    raw = yaml.safe_load((TABLES / "price_book.yaml").read_text(encoding="utf-8"))
    change_line(raw, id, new)
    (tmp_path / "price_book.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_price_book(tmp_path / "price_book.yaml")


def test_unknown_price_id(book):
    with pytest.raises(ValueError, match="'gpu_hour.z9' is not in the price book; correct the id"):
        book.line("gpu_hour.z9")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(currency="EUR"), "is in EUR, the price book in USD; convert one"),
        (lambda r: r.update(owner="x"), r"line \d+: unknown field 'owner'; use only currency, as_of"),
        (lambda r: r.update(use_cases={}), "'use_cases' is empty; give at least one"),
        (lambda r: r.update(budget=0), r"line \d+: 'source' is missing; add it"),
        (lambda r: r["budget"].update(value=0), "budget is 0; give a number above 0"),
        (lambda r: r["shared"].update(wages=1), "'wages' is not in the price book"),
        (lambda r: r["use_cases"]["answers"].update(need="both"), r"line \d+: 'use_cases.answers.need' is 'both'"),
        (lambda r: r["use_cases"]["answers"].update(values={}), "use case 'answers' lacks items_per_month; add it"),
        (lambda r: r["use_cases"]["answers"]["values"]["items_per_month"].update(value=-5), "items_per_month is -5"),
        (
            lambda r: r["use_cases"]["answers"]["values"].update(minutes_saved=2),
            r"line \d+: use case 'answers', minutes_saved: 'source' is missing",
        ),
    ],
)
def test_bad_client_file_names_the_entry(tmp_path, book, change, message):
    raw = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    change(raw)
    (tmp_path / "economics.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_client_economics(tmp_path / "economics.yaml", book)


@pytest.mark.parametrize("text", ["", "[1, 2", "just words"])
def test_a_file_that_is_no_table_is_named(tmp_path, book, text):
    (tmp_path / "economics.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"economics.yaml(: 'currency' is missing| holds no entries|: not readable YAML)"
    ):
        load_client_economics(tmp_path / "economics.yaml", book)


def test_a_missing_file_says_where_to_start(tmp_path, book):
    with pytest.raises(ValueError, match="copy playbook/tables/new_economics.yaml"):
        load_client_economics(tmp_path / "economics.yaml", book)
