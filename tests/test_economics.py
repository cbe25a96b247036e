"""Break-even, option costs, simulation and price book: values that can be checked by hand.

Run: pytest tests/test_economics.py
"""

import math
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
    right_share_needed,
    simulate,
    sizing,
    source_scenarios,
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
        ({"hosting_per_month": 730 * 0.80}, None),  # a dedicated endpoint, billed by the minute
        ({"hosting_per_month": 730 * 0.80, "calls_per_month": 41_000_000}, 22.58),  # 615 a month against 584
        ({"premium": 0.01, "prompt_tokens": 500}, 6.90),
        ({"premium": 0.03, "prompt_tokens": 500}, 155.56),
        ({"premium": 0.05, "prompt_tokens": 500}, None),
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


@pytest.mark.parametrize(("premium", "saving"), [(0, 150), (0.01, 101.5), (0.03, 4.5), (0.05, -92.5), (15 / 485, 0)])
def test_a_premium_on_the_tokens_that_remain_eats_the_saving(premium, saving):
    result = break_even(**SOURCE, prompt_tokens=500, premium=premium)
    assert result.saving_per_month == pytest.approx(saving, abs=1e-9)


def test_with_a_premium_the_reverse_question_holds_too():
    case = {**SOURCE, "cost_per_base": 200, "prompt_tokens": 500, "premium": 0.01}
    calls, tokens = payback_needs(12, **case)
    assert break_even(**{**case, "calls_per_month": calls}).months == pytest.approx(12)
    assert break_even(**{**case, "tokens_saved": tokens}).months == pytest.approx(12)
    calls, tokens = payback_needs(12, **{**case, "premium": 0.05})
    assert calls is None and tokens == pytest.approx((11.547619 + 0.05 * 500) / 1.05)


@pytest.mark.parametrize(("cadence", "early"), [(3.5, False), (5, True)])
def test_payback_before_the_next_base_model(cadence, early):
    assert break_even(**{**SOURCE, "cadence_months": cadence}).before_next_base is early


def test_source_scenarios_come_from_the_price_book(book):
    months = [break_even(**case).months for case in source_scenarios(book).values()]
    assert [m if m is None else round(m, 2) for m in months] == [4.67, 19.6, 7.54, None, None, 41.33]


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
        ({"premium": -0.1, "prompt_tokens": 500}, "premium is -0.1; give a number of 0 or more"),
        ({"premium": 0.1}, "prompt_tokens is inf; give a number above 0"),
    ],
)
def test_bad_break_even_input_says_what_to_do(change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        break_even(**{**SOURCE, **change})


# --- what every option costs ------------------------------------------------------------------------------------------


def test_rag_one_off_is_five_weeks_and_the_questions(tickets):
    # 200 specialist hours at 95, 100 questions x 10 minutes at 38 an hour, ten trial rounds of their tokens; 20 % over
    rag = by_option(tickets)["rag"]
    tokens = next(x.monthly for x in rag.lines if x.line == "tokens") / 2600
    assert rag.once == pytest.approx(1.2 * (200 * 95 + 100 * 10 / 60 * 38 + 10 * 100 * tokens))
    assert next(x.once for x in rag.lines if x.line == "overrun") == pytest.approx(rag.once / 6)


def test_waiting_is_peoples_time(answers):
    # 9,000 questions, somebody waits for 3 in 10 of them, 2 seconds each, at 38 an hour
    waiting = next(x for x in by_option(answers)["rag"].lines if x.line == "waiting")
    assert (waiting.once, waiting.monthly) == (0, pytest.approx(9000 * 0.3 * 2 / 3600 * 38))
    quick = answers.with_measured({"wait_seconds.rag": 0.5}, "05_measurements", AS_OF)
    assert by_option(answers)["rag"].monthly - by_option(quick)["rag"].monthly == pytest.approx(0.75 * waiting.monthly)


def test_each_fork_is_trained_and_tested_again(tickets):
    kept = [by_option(tickets.with_measured({"forks": n}, "test", AS_OF)) for n in (1, 3)]
    for line in ("retraining", "evaluation"):
        one, three = (next(x.monthly for x in c["lora"].lines if x.line == line) for c in kept)
        assert three == pytest.approx(3 * one)
    assert kept[0]["rag"].total == kept[1]["rag"].total
    assert client_case(tickets.with_measured({"forks": 3}, "test", AS_OF))["cost_per_base"] == pytest.approx(
        3 * client_case(tickets)["cost_per_base"]
    )


def test_rag_hours_add_up_to_the_weeks_of_the_sources(book):
    hours = [x.value for x in book.lines.values() if x.id.startswith("effort.rag.") and x.id.endswith(".once")]
    assert sum(hours) == book.line("stage.production").value * book.line("hours_per_week").value


def test_labelling_counts_ready_examples_as_checking(tickets):
    # 2,000 wanted, 1,942 there: 58 x 3 minutes and 1,942 x half a minute at 38 an hour
    lora = {x.line: x for x in by_option(tickets)["lora"].lines}
    assert lora["labelling"].once == pytest.approx((58 * 3 + 1942 * 0.5) / 60 * 38)


def test_tokens_of_one_prompted_ticket(tickets):
    # (500 + 600 + 60) x 1.25 + 10 x 5 dollars per million
    tokens = next(x.monthly for x in by_option(tickets)["prompt_only"].lines if x.line == "tokens")
    assert tokens / 2600 == pytest.approx((1160 * 1.25 + 10 * 5) / 1e6)
    waited = 0.01 * 1.5 / 3600 * 38
    assert by_option(tickets)["prompt_only"].per_item == pytest.approx(tokens / 2600 + waited)


def test_tuned_model_pays_the_premium(tickets):
    tokens = next(x.monthly for x in by_option(tickets)["lora"].lines if x.line == "tokens")
    assert tokens / 2600 == pytest.approx((120 * 0.40 + 10 * 1.60) * 1.5 / 1e6)


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
            assert [x.line for x in cost.lines] == COST_LINES
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


def test_every_hour_of_effort_in_the_price_book_is_paid_for(tickets):
    for line in tickets.book.lines:
        if line.startswith("effort."):
            _, option, name, part = line.split(".")
            more = tickets.with_measured({line: 2 * tickets.get(line)}, "test", AS_OF)
            before, after = ({x.line: x for x in by_option(i)[option].lines}[name] for i in (tickets, more))
            assert getattr(after, part) > getattr(before, part), line


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


@pytest.mark.parametrize("months", [0, -1, 121])
def test_months_out_of_range(tickets, months):
    for ask in (option_costs, simulate):
        with pytest.raises(ValueError, match=f"months is {months}; give a number from 1 to 120"):
            ask(tickets, months)
    with pytest.raises(ValueError, match=f"months is {months}; give a number from 1 to 120"):
        payback_needs(months, **SOURCE)


# --- simulation -------------------------------------------------------------------------------------------------------


def test_simulation_is_quick_seeded_and_ordered(tickets):
    start = time.perf_counter()
    fan, _ = simulate(tickets, 24, 10_000, seed=1)
    assert time.perf_counter() - start < 3
    again, other = (simulate(tickets, 24, 10_000, seed=s)[0] for s in (1, 2))
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
    fan, _ = simulate(calm, 24, 5_000)
    for cost in option_costs(calm, 24):
        assert fan[cost.option][1, -1] == pytest.approx(cost.total, rel=0.04)


def test_each_event_raises_what_it_should(tickets):
    base, _ = simulate(tickets, 24, 2_000)
    for change, hit, spared in (
        ({"vendor_withdraws": 0.9}, "lora", "do_nothing"),
        ({"owner_leaves": 0.9}, "rag", "do_nothing"),
        ({"base_release_months": 1}, "prompt_only", "cheap_classifier"),
    ):
        moved = simulate(tickets.with_measured(change, "test", AS_OF), 24, 2_000)[0]
        assert moved[hit][1, -1] > base[hit][1, -1] * 1.01
        assert moved[spared][1, -1] == pytest.approx(base[spared][1, -1], rel=0.02)


def test_falling_prices_make_tokens_cheaper(answers):
    cheap, same = (answers.with_measured({"price_left_after_year": x}, "test", AS_OF) for x in (0.1, 1))
    fans = [simulate(i, 24, 500)[0]["prompt_only"][1, -1] for i in (cheap, same)]
    assert fans[0] < fans[1]


def test_base_models_come_every_three_to_four_months(tickets):
    # 24 months / 3.5 = 6.9 retrainings of 12 hours at 95 and 3 GPU hours at 2, in the middle of the futures
    calm = {"overrun": 1e-6, "price_left_after_year": 1, "owner_leaves": 1e-9, "vendor_withdraws": 1e-9}
    fan, _ = simulate(tickets.with_measured(calm, "test", AS_OF), 24, 5_000)
    costs = by_option(tickets.with_measured(calm, "test", AS_OF))["lora"]
    low, _, high = fan["lora"][:, -1]
    each = 12 * 95 + 3 * 2 + 6 * 95
    assert (high - low) / each == pytest.approx(1, abs=0.2) and low < costs.total < high


def test_regret_is_measured_against_the_cheapest_path_in_the_same_future(answers, tickets):
    _, regret = simulate(answers, 24, 2_000)
    assert set(regret) == {"rag", "lora", "hybrid", "train_first"}
    assert set(simulate(tickets, 24, 200)[1]) == {"prompt_only", "cheap_classifier", "lora", "hybrid", "train_first"}
    assert all(0 <= low <= middle <= high for low, middle, high in regret.values())
    assert regret["rag"] == (0, 0, 0)  # the cheapest in nine futures of ten and more
    assert regret["train_first"][1] > regret["lora"][1]


def test_giving_up_training_after_six_months_costs_what_was_paid_for_it(answers):
    calm = {"overrun": 1e-6, "price_left_after_year": 1, "owner_leaves": 1e-9, "vendor_withdraws": 1e-9}
    sure = answers.with_measured({**calm, "rebuild_chance": 1, "rebuild_after_months": 6}, "test", AS_OF)
    never = answers.with_measured({**calm, "rebuild_chance": 1e-9}, "test", AS_OF)
    rag, lora = (by_option(sure)[o] for o in ("rag", "lora"))
    # the adapter, six months of it, and none of RAG's first six months
    assert simulate(sure, 24, 2_000)[1]["train_first"][1] == pytest.approx(
        lora.once + 6 * (lora.monthly - rag.monthly), rel=0.03
    )
    late = answers.with_measured({**calm, "rebuild_chance": 1, "rebuild_after_months": 30}, "test", AS_OF)
    for unchanged in (never, late):
        regret = simulate(unchanged, 24, 500)[1]
        assert regret["train_first"] == regret["lora"]


@pytest.mark.parametrize("paths", [0, 99, 100_001])
def test_paths_out_of_range(tickets, paths):
    with pytest.raises(ValueError, match=f"paths is {paths}; give a number from 100"):
        simulate(tickets, 24, paths)


# --- sizing: against published figures (sources: the price book's lines) -------------------------------------------


def shape(book, size):
    return [book.line(f"size.{size}.{part}").value for part in ("parameters", "layers", "width", "words")]


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_memory_of_a_7b_adapter_follows_the_published_table(book, bits):
    # rank 8 on all linear layers, one text of 2,048 tokens
    _, memory, _ = sizing(shape(book, "7b"), 8, bits, 19, 2048, 1e6, 1e12)
    assert memory == pytest.approx(book.line(f"published.7b_{bits}bit").value, rel=0.07)


def test_file_memory_and_time_of_a_measured_run(book):
    # 3B, rank 32, queries (3072 -> 3072) and values (3072 -> 1024), batches of 4 x 768, nothing recomputed
    flops = 1e9 * book.line("gflops.48gb").value
    found = sizing(shape(book, "3b"), 32, 16, (6144 + 4096) / 3072, 4 * 768, 4.2e6, flops, redo=False)
    published = [book.line(f"published.3b_{what}").value for what in ("adapter_mb", "memory_gb", "hours")]
    assert found == (pytest.approx(published[0], rel=0.01), *(pytest.approx(x, rel=0.12) for x in published[1:]))


def test_a_65b_model_in_4_bits_trains_on_one_48_gb_card_and_in_16_bits_does_not(book):
    need = [sizing((65.2e9, 80, 8192, 32000), 64, bits, 19, 512, 1e6, 1e12)[1] for bits in (4, 16)]
    assert need[0] == pytest.approx(book.line("published.65b_memory_gb").value, rel=0.08)
    assert need[1] > 130


def test_hours_of_an_8b_adapter_lie_in_the_source_range(book):
    # S1: 10,000 pairs, one 40 GB card; at 4 bits the same operations in half the memory
    tokens = 10_000 * book.line("sizing.tokens_per_example").value * book.line("sizing.passes").value
    flops = 1e9 * book.line("gflops.a100_40gb").value
    full, small = (sizing(shape(book, "8b"), 16, bits, 20, 2048, tokens, flops) for bits in (16, 4))
    hours, size = book.line("training_run_hours"), book.line("adapter_mb")
    assert hours.low <= full[2] <= hours.high and full[2] == small[2]
    assert small[1] < 16 < 24 > full[1] > 2 * small[1]
    queries_and_values, _, _ = sizing(shape(book, "7b"), 16, 16, 4, 2048, tokens, flops)
    assert size.low <= queries_and_values <= size.high


def test_the_embedded_adapter_has_the_size_that_was_measured(book):
    measured, _, _ = sizing(shape(book, "22m"), 16, 32, 42_240 / 6 / 384, 3072, 384_000, 1e11)
    assert measured == pytest.approx(4 * 675_840 / 1e6)  # 675,840 trained numbers in the sample run


@pytest.mark.parametrize("change", [{"rank": 0}, {"bits": -4}, {"flops": math.nan}, {"tokens": math.inf}])
def test_sizing_refuses_what_cannot_be(book, change):
    given = {"rank": 16, "bits": 16, "spread": 20, "batch": 2048, "tokens": 1e6, "flops": 1e14}
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} is .*; give a number above 0"):
        sizing(shape(book, "8b"), **{**given, **change})


# --- the result -------------------------------------------------------------------------------------------------------


def test_result_of_the_sample_client(client):
    result = evaluate_economics(client, AS_OF, paths=1_000)
    assert len(result.options) == 2 * len(OPTIONS)
    assert all(o.p10 <= o.p50 <= o.p90 for o in result.options)
    assert {a.origin for a in result.assumptions} == {"client", "literature", "our_estimate"}
    assert all(a.source for a in result.assumptions)
    own = break_even(**client_case(client.use_cases[0]))
    assert own.months is None and own.saving_per_month == pytest.approx(2600 * (600 - 0.5 * 560) * 1.25 / 1e6)
    assert [reading.split(":")[0] for reading in result.flip_points[:2]] == ["ticket_codes", "answers"]
    assert "training saves 1.04 USD of tokens a month, never pays back" in result.headline
    assert set(result.regret) == {"ticket_codes", "answers"}
    assert EconomicsResult.model_validate_json(result.model_dump_json()) == result


def test_an_option_names_the_old_price_lines_it_rests_on(client, tickets):
    result = evaluate_economics(client, AS_OF, paths=200)
    old = {o.option: o.stale for o in result.options if o.use_case == "ticket_codes"}
    assert old["prompt_only"] == ("tokens_in.mid", "tokens_out.mid")
    assert old["lora"] == ("tokens_in.small", "tokens_out.small")
    assert old["do_nothing"] == old["cheap_classifier"] == ()
    assert not any(o.stale for o in evaluate_economics(client, date(2026, 7, 1), paths=200).options)
    asked = {"tokens_in.mid": 1.25, "tokens_out.mid": 5}  # looked up again: no longer the book's
    renewed = client.model_copy(update={"use_cases": (tickets.with_measured(asked, "asked", AS_OF),)})
    assert {o.option: o.stale for o in evaluate_economics(renewed, AS_OF, paths=200).options}["prompt_only"] == ()


def test_a_flip_volume_is_solved_for(tickets):
    case = client_case(tickets)
    calls, _ = payback_needs(12, **case)
    assert break_even(**{**case, "calls_per_month": 1.01 * calls}).months < 12
    assert break_even(**{**case, "calls_per_month": 0.99 * calls}).months > 12


def test_flip_points_say_when_no_volume_helps(client):
    dear = [i.with_measured({"tuned_premium": 3}, "test", AS_OF) for i in client.use_cases]
    flips = evaluate_economics(client.model_copy(update={"use_cases": tuple(dear)}), AS_OF, paths=200).flip_points
    assert any("no number of calls pays training back" in flip for flip in flips)


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
        ("gpu_hour.t4", {"as_of": "soon"}, "as_of 'soon' is not a date; write it as YYYY-MM-DD"),
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  - {id: gpu_hour.z9, value: 1, colour: red}", "unknown field 'colour'"),
        ("  - {id: gpu_hour.z9, value: -1}", "gpu_hour.z9 is -1; give a number above 0"),
    ],
)
def test_the_very_line_of_a_mistake_is_named(tmp_path, line, message):
    text = (TABLES / "price_book.yaml").read_text(encoding="utf-8").splitlines()
    at = next(n for n, t in enumerate(text) if "id: gpu_hour.t4" in t)
    (tmp_path / "price_book.yaml").write_text("\n".join([*text[:at], line, *text[at:]]), encoding="utf-8")
    with pytest.raises(ValueError, match=f"line {at + 1}: groups 'gpu_hour.z9': {message}"):
        load_price_book(tmp_path / "price_book.yaml")


def test_a_group_without_a_source_is_refused_by_its_line(tmp_path):
    text = "currency: USD\ngroups:\n  - {origin: our_estimate, as_of: 2026-10-15}\n  - {id: x, value: 1}\n"
    (tmp_path / "price_book.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="line 4: groups 'x': 'source' is missing; add it"):
        load_price_book(tmp_path / "price_book.yaml")


def test_a_cost_line_that_does_not_exist_is_refused(tmp_path):
    text = (TABLES / "price_book.yaml").read_text(encoding="utf-8").replace("    hosting.once: &", "    hoting.once: &")
    (tmp_path / "price_book.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"line \d+: 'costs.prompt_only.hoting.once.*should match pattern"):
        load_price_book(tmp_path / "price_book.yaml")


def test_a_formula_names_the_figure_that_is_missing(tickets):
    costs = {**tickets.book.costs, "rag": {"hosting.monthly": "hosting.{option} * forrks"}}
    wrong = tickets.model_copy(update={"book": tickets.book.model_copy(update={"costs": costs})})
    with pytest.raises(ValueError, match="'forrks' is not in the price book; correct the id"):
        option_costs(wrong, 24)


@pytest.mark.parametrize("currency", ["", "usd", "USD, EUR", "<b>"])
def test_a_price_book_is_in_one_currency(tmp_path, currency):
    raw = yaml.safe_load((TABLES / "price_book.yaml").read_text(encoding="utf-8"))
    raw["groups"] = [{k: v for k, v in e.items() if k != "currency"} for e in raw["groups"]]
    (tmp_path / "price_book.yaml").write_text(
        yaml.safe_dump({**raw, "currency": currency}, sort_keys=False), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="line 1: 'currency' is "):
        load_price_book(tmp_path / "price_book.yaml")


def test_stages_of_time_have_ranges_and_names(book):
    stages = [line for line in book.lines.values() if line.id.startswith("stage.")]
    assert [(s.unit, s.low < s.high, bool(s.what)) for s in stages] == [
        ("hours", True, True), ("working days", True, True), ("weeks", True, True)
    ]  # fmt: skip
    assert book.line("stage.production").range == (4, 6)


def test_no_card_is_sold_that_does_not_exist(book):
    assert not [i for i in book.lines if "a100" in i and "24" in i]


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
        (
            lambda r: r["use_cases"]["answers"]["values"]["minutes_saved"].update(currency="EUR"),
            "EUR is not the file's",
        ),
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


@pytest.mark.parametrize("name", ["<script>", "../answers", "{book}", "$x^", "a\nb", "a" * 41, "Answers", ""])
def test_a_hostile_name_of_a_use_case_is_refused_by_its_line(tmp_path, book, name):
    raw = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    raw["use_cases"][name] = raw["use_cases"].pop("answers")
    (tmp_path / "economics.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"(?s)economics.yaml, line \d+: 'use_cases.*should match pattern.*; correct it"
    ):
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
