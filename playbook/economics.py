"""What each option costs, when training pays back, and what would have to change for that to flip.

Arithmetic and a seeded simulation on figures that the price book has checked. It deliberately does not know whether an
option is any good: quality is measured later; here it is only asked how good an option would have to be.
"""

import math
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from playbook.checked import Frozen
from playbook.prices import ClientEconomics, Figure, PriceBook, UseCaseInputs, positive, stale_lines

Fan = dict[str, np.ndarray]  # option -> (3, months): cumulated cost at the 10th, 50th, 90th percentile
Regret = dict[str, tuple[float, float, float]]  # path -> its cost above the cheapest: 10th, 50th, 90th percentile
OPTIONS = ("do_nothing", "prompt_only", "rag", "cheap_classifier", "lora", "hybrid")
TRAINED = ("lora", "hybrid")
COST_LINES = "prompting labelling ingestion evaluation hosting tokens retraining ownership waiting overrun".split()


class BreakEven(NamedTuple):
    """When saved tokens have paid for the training; `months` is None for never."""

    upfront: float
    saving_per_month: float
    maintenance_per_month: float
    net_per_month: float
    months: float | None
    before_next_base: bool


class CostLine(Frozen):
    """One line of an option's cost; `reason` says why a part is zero."""

    line: str
    once: float
    monthly: float
    reason: str


class OptionCost(Frozen):
    """What one option costs for one use case; `per_item` is what one more ticket or question costs.

    `p10`, `p50`, `p90` are the simulated totals at the end of the horizon, None before the simulation. `assumed` is the
    total before measured figures came in (None: nothing measured yet), `stale` names the old price lines it rests on.
    """

    use_case: str
    option: str
    months: int
    lines: tuple[CostLine, ...]
    once: float
    monthly: float
    first_year: float
    total: float
    per_item: float
    p10: float | None = None
    p50: float | None = None
    p90: float | None = None
    assumed: float | None = None
    stale: tuple[str, ...] = ()


class EconomicsResult(Frozen):
    """What 02_economics hands over; `regret` is by use case, from the simulated futures."""

    currency: str
    months: int
    budget: float
    options: tuple[OptionCost, ...]
    work_today: dict[str, float]
    flip_points: tuple[str, ...]
    stale: tuple[Figure, ...]
    assumptions: tuple[Figure, ...]
    headline: str
    regret: dict[str, Regret] = {}


def break_even(
    tokens_saved: float,
    calls_per_month: float,
    price_per_million: float,
    upfront: float,
    cadence_months: float,
    cost_per_base: float = 0,
    prompt_tokens: float = math.inf,
    hosting_per_month: float = 0,
    premium: float = 0,
) -> BreakEven:
    """When a training that shortens every prompt has paid for itself.

    Saving = tokens saved x calls x price (S1), less the `premium` (a share of the price) that a tuned model asks for each
    of the tokens that remain of the prompt's `prompt_tokens`. Training and testing again, `cost_per_base`, returns with
    every base model, every `cadence_months`. Raises ValueError.
    """
    positive(tokens_saved=tokens_saved, calls_per_month=calls_per_month, price_per_million=price_per_million)
    positive(upfront=upfront, cadence_months=cadence_months)
    positive(True, cost_per_base=cost_per_base, hosting_per_month=hosting_per_month, premium=premium)
    if tokens_saved >= prompt_tokens:
        raise ValueError(f"tokens_saved is {tokens_saved:g}; it must be below prompt_tokens ({prompt_tokens:g})")
    if premium:
        positive(prompt_tokens=prompt_tokens)  # without its length nobody knows what remains
        tokens_saved -= premium * (prompt_tokens - tokens_saved)
    saving = tokens_saved * calls_per_month * price_per_million / 1e6
    maintenance = cost_per_base / cadence_months + hosting_per_month
    net = saving - maintenance
    months = upfront / net if net > 0 else None
    return BreakEven(upfront, saving, maintenance, net, months, months is not None and months <= cadence_months)


def payback_needs(months: float, **case: Any) -> tuple[float | None, float | None]:
    """The reverse question: calls a month, or tokens saved per call, for payback in `months` (1 to 120).

    `case` holds the arguments of `break_even`; each answer changes one of them and keeps the others. None: no number of
    calls is enough because nothing is saved, or even an empty prompt is not enough.
    """
    now, premium = break_even(**case), case.get("premium", 0)
    _check_months(months)
    needed = now.upfront / months + now.maintenance_per_month
    calls = case["calls_per_month"] * needed / now.saving_per_month if now.saving_per_month > 0 else None
    saved = needed * 1e6 / case["calls_per_month"] / case["price_per_million"]  # tokens, after the premium
    tokens = (saved + premium * case.get("prompt_tokens", 0)) / (1 + premium)
    return calls, tokens if tokens <= case.get("prompt_tokens", math.inf) else None


def source_scenarios(book: PriceBook) -> dict[str, dict[str, float]]:
    """Arguments of `break_even`: the source's own case (S1), then with what its arithmetic leaves out."""
    cases = book.scenarios.items()
    return {name: {k: _worth(formula, lambda id: book.line(id).value) for k, formula in c.items()} for name, c in cases}


def client_case(inputs: UseCaseInputs) -> dict[str, float]:
    """Arguments of `break_even` for the client: training takes the examples (or the passages) out of every prompt.

    Generous to training: it counts retraining for new base models only, not for changed documents. The tuned model asks
    the price book's premium on the price of the model that was only prompted.
    """
    option, removed = ("rag", "passages") if inputs.need == "knowledge" else ("prompt_only", "few_shot")
    lora, events = next(c for c in option_costs(inputs, 12) if c.option == "lora"), _events("lora", inputs)
    parts = inputs.book.token_parts[option][inputs.need]
    return {
        "tokens_saved": inputs.get(f"tokens.{removed}"),
        "calls_per_month": inputs.get("items_per_month"),
        "price_per_million": inputs.get(f"tokens_in.{inputs.book.model_class[option]}"),
        "upfront": sum(x.once for x in lora.lines if x.line in ("labelling", "retraining")),
        "cost_per_base": events["retrainings"][2] + events["releases"][2],
        "cadence_months": inputs.get("base_release_months"),
        "prompt_tokens": sum(inputs.get(f"tokens.{p}") for p in parts),
        "premium": inputs.get("tuned_premium"),
    }


def option_costs(inputs: UseCaseInputs, months: int) -> tuple[OptionCost, ...]:
    """What every option costs for one use case over `months` (1 to 120), one-off and monthly, line by line.

    A tuned model pays a premium per token. Costs of events (a new base model, a changed document ...) are averages.
    Raises ValueError for a horizon out of range and for a zero that the price book does not explain.
    """
    _check_months(months)
    return tuple(_option_cost(option, inputs, int(months)) for option in OPTIONS)


def value_per_month(inputs: UseCaseInputs) -> float:
    """Money a month for the minutes that a tool which is always right would save."""
    return inputs.get("items_per_month") * inputs.get("minutes_saved") * inputs.get("staff_cost_per_hour") / 60


def right_share_needed(cost: OptionCost, inputs: UseCaseInputs) -> float:
    """Share of items (above 1: impossible) that must be right for an option to earn its cost.

    A right item saves minutes s, a wrong one loses l, every item is answered: p x s - (1 - p) x l = cost per item.
    """
    saved, lost = inputs.get("minutes_saved"), inputs.get("minutes_lost")
    minutes = cost.total / cost.months / value_per_month(inputs) * saved
    return (minutes + lost) / (saved + lost)


def points_needed(dear: OptionCost, cheap: OptionCost, inputs: UseCaseInputs) -> float:
    """How many items more in 100 the dearer option must get right to earn what it costs more."""
    return 100 * (right_share_needed(dear, inputs) - right_share_needed(cheap, inputs))


def flip_volume(first: OptionCost, second: OptionCost, items_per_month: float) -> float | None:
    """Items a month at which two options cost the same; None if one of them is cheaper at every volume."""
    slope = (first.per_item - second.per_item) * first.months
    positive(items_per_month=items_per_month)
    gap = second.total - first.total + slope * items_per_month
    return gap / slope if slope and gap / slope > 0 else None


def simulate(inputs: UseCaseInputs, months: int = 24, paths: int = 10_000, seed: int = 0) -> tuple[Fan, Regret]:
    """What every option costs in many possible futures: cumulated cost for each month, and the regret at the end.

    Drawn: time between base models and fall of token prices (uniform), changed documents (Poisson), owner leaving and
    vendor withdrawing (a chance each month), overrun of the one-off cost (triangular). All options live through the
    same futures. Regret: how much more a path costs than the cheapest one in the same future. Paths are the options that
    can do the work (price book), and `train_first`: LoRA that, with the price book's chance, is given up after some
    months and built again as the first choice (S3). Raises ValueError as `option_costs`, and for `paths` outside 100 to
    100,000.
    """
    costs, fan, lives = option_costs(inputs, months), {}, {}
    if not 100 <= paths <= 100_000:
        raise ValueError(f"paths is {paths}; give a number from 100 to 100,000")
    future = _futures(inputs, int(months), paths, np.random.default_rng(seed))
    for cost in costs:
        lines = {x.line: x for x in cost.lines}
        flow = cost.monthly + lines["tokens"].monthly * (future["price"] - 1)
        for event, (_, rate, each) in _events(cost.option, inputs).items():
            flow = flow + (future[event] - rate) * each  # what happens instead of what happens on average
        once = (cost.once - lines["overrun"].once) * (1 + future["overrun"])
        fan[cost.option] = np.percentile(once + np.cumsum(flow, axis=1), (10, 50, 90), axis=0)
        lives[cost.option] = once[:, 0], flow
    ends = {o: lives[o][0] + lives[o][1].sum(axis=1) for o in (*inputs.book.first_choice[inputs.need], *TRAINED)}
    (once, flow), (again, after) = lives["lora"], lives[_first_choice(inputs, costs).option]
    kept = np.arange(int(months)) < future["given_up"]
    ends["train_first"] = once + np.where(kept, flow, after).sum(axis=1) + again * ~kept.all(axis=1)
    least = np.min(list(ends.values()), axis=0)
    return fan, {path: tuple(np.percentile(end - least, (10, 50, 90)).round().tolist()) for path, end in ends.items()}


def sizing(
    shape: Sequence[float],
    rank: float,
    bits: float,
    spread: float,
    batch: float,
    tokens: float,
    flops: float,
    redo: bool = True,
) -> tuple[float, float, float]:
    """Megabytes of a LoRA adapter, gigabytes and hours for training it, on a base model held in `bits`.

    `shape`: the base model's parameters, layers, width and words of the vocabulary.
    Trained numbers = rank x (inputs + outputs) of every adapted matrix (Hu et al. 2021), here rank x layers x width x
    `spread`: 4 bytes each in the file, 16 in memory (weight, gradient, two moments of Adam). The frozen base takes
    bits / 8 bytes a number, below 16 bits 0.127 bits more (Dettmers et al. 2023). Activations of the `batch` (tokens), in
    16 bits: 34 bytes x width for each layer (Korthikanti et al. 2022, without attention scores); with `redo`, computed
    again, one such layer and 2 bytes x width for the others; 10 bytes for each word. 0.8 GB for the libraries (ours).
    Time for `tokens`, all passes together: 4 operations a parameter (Kaplan et al. 2020; the base is frozen), 6 with
    `redo`, at `flops` a second, which is what a card reaches and not its peak. Raises ValueError.
    """
    parameters, layers, width, words = shape
    positive(parameters=parameters, layers=layers, width=width, words=words, rank=rank, bits=bits)
    positive(spread=spread, batch=batch, tokens=tokens, flops=flops)
    trained = rank * layers * width * spread
    base = parameters * (bits + (0.127 if bits < 16 else 0)) / 8
    each = 10 * words + (34 * width + 2 * width * layers if redo else 34 * width * layers)
    hours = tokens * parameters * (6 if redo else 4) / flops / 3600
    return 4 * trained / 1e6, (base + 16 * trained + batch * each) / 1e9 + 0.8, hours


def flip_points(inputs: UseCaseInputs, costs: Sequence[OptionCost]) -> tuple[str, ...]:
    """Sentences on the values at which the choice for one use case would change, the most telling first; words: price book's."""
    by, case, first = {c.option: c for c in costs}, client_case(inputs), _first_choice(inputs, costs)
    calls_needed, tokens_needed = payback_needs(12, **case)
    items, tokens = case["calls_per_month"], case["tokens_saved"]
    extra, right = {o: points_needed(by[o], first, inputs) for o in TRAINED}, 100 * right_share_needed(first, inputs)
    words = {"first": first.option, "items": items, "tokens": tokens}
    rows: list[tuple[str, float | None, dict[str, Any]]] = [
        ("extra_right", extra["lora"] if extra["lora"] > 0 else None, {"option": "lora"}),
        ("right", right if right <= 100 else None, {}),
        ("calls", calls_needed, {}),
        ("tokens", tokens_needed, {}),
        ("premium", 100 * tokens / (case["prompt_tokens"] - tokens), {"now": 100 * case["premium"]}),
        ("extra_right", extra["hybrid"] if extra["hybrid"] > 0 else None, {"option": "hybrid"}),
    ]
    for one, other in ((by["prompt_only"], by["rag"]), (by["prompt_only"], by["lora"]), (by["rag"], by["lora"])):
        above, now = min(one, other, key=lambda c: c.per_item), min(one, other, key=lambda c: c.total)
        pair = {"one": one.option, "other": other.option, "above": above.option, "now": now.option}
        rows.append(("volume", flip_volume(one, other, items), pair))
    text = inputs.book.flip_readings
    said = (text[n]["never" if v is None else "value"].format(value=v, **words, **more) for n, v, more in rows)
    return tuple(f"{inputs.name}: {sentence}" for sentence in said)


def evaluate_economics(
    client: ClientEconomics, as_of: date, months: int = 24, seed: int = 0, paths: int = 10_000
) -> EconomicsResult:
    """Everything the notebook hands over: costs with their spread, regret, flip points, assumptions, old prices."""
    book, options, flips, said, regret = client.use_cases[0].book, [], [], [], {}
    for inputs in client.use_cases:
        costs = option_costs(inputs, months)
        fan, regret[inputs.name] = simulate(inputs, months, paths, seed)
        for cost in costs:
            ends = dict(zip(("p10", "p50", "p90"), fan[cost.option][:, -1].round().tolist(), strict=True))
            options.append(cost.model_copy(update={**ends, "stale": _stale(cost, inputs, as_of)}))
        said.append(_headline(inputs, costs))
        flips.append(flip_points(inputs, costs))
    own = {(a.use_case, a.id): a for i in client.use_cases for a in i.values.values()}
    rest = [line for line in book.lines.values() if ("", line.id) not in own]
    return EconomicsResult(
        currency=book.currency, months=months, budget=client.budget.value, options=tuple(options), regret=regret,
        work_today={i.name: value_per_month(i) for i in client.use_cases}, stale=stale_lines(book, as_of),
        flip_points=sum(zip(*flips, strict=True), ()), assumptions=(client.budget, *own.values(), *rest),
        headline=" ".join(said),
    )  # fmt: skip


def _stale(cost: OptionCost, inputs: UseCaseInputs, as_of: date) -> tuple[str, ...]:
    """Ids of the old price lines that an option's cost rests on: twice the value would change it."""
    old = {f.id: inputs.with_measured({f.id: 2 * f.value}, f.source, as_of) for f in stale_lines(inputs.book, as_of)}
    own = (id for id in old if id not in inputs.values)
    return tuple(id for id in own if _option_cost(cost.option, old[id], cost.months).total != cost.total)


def _option_cost(option: str, inputs: UseCaseInputs, months: int) -> OptionCost:
    """One option's cost lines, each with a reason where a part is zero."""
    amounts, per_item = _amounts(option, inputs)
    lines: list[CostLine] = []
    for line in COST_LINES:
        if line == "overrun":  # the last line: on all that is built once
            amounts[line, "once"] = inputs.get("overrun") * sum(x.once for x in lines)
        pair = {p: amounts.get((line, p), 0.0) + _effort(option, line, p, inputs) for p in ("once", "monthly")}
        reasons = [_reason(option, line, part, inputs.book) for part, x in pair.items() if x == 0]
        lines.append(CostLine(line=line, reason="; ".join(dict.fromkeys(reasons)), **pair))
    once, monthly = sum(x.once for x in lines), sum(x.monthly for x in lines)
    return OptionCost(
        use_case=inputs.name, option=option, months=months, lines=tuple(lines), once=once, monthly=monthly,
        first_year=once + 12 * monthly, total=once + months * monthly, per_item=per_item,
    )  # fmt: skip


def _amounts(option: str, inputs: UseCaseInputs) -> tuple[dict[tuple[str, str], float], float]:
    """Cost parts that follow from volumes and events by (line, part), and what one item costs: tokens and waiting."""
    if option == "do_nothing":
        return {}, 0.0
    get, minute = inputs.get, inputs.get("staff_cost_per_hour") / 60
    needed = get(f"examples.{option}") if f"examples.{option}" in inputs.book.lines else 0.0
    ready = min(needed, get("examples_ready"))
    labelling = (needed - ready) * get("label_minutes") + ready * get("check_minutes")
    tokens, waiting = _token_cost(option, inputs), get("waited_for") * get(f"wait_seconds.{option}") / 60 * minute
    amounts = {
        ("labelling", "once"): labelling * minute,
        ("evaluation", "once"): get("frozen_questions") * get("question_minutes") * minute,
        ("hosting", "monthly"): get(f"hosting.{option}"),
        ("tokens", "once"): tokens * get("frozen_questions") * get("trial_rounds"),
        ("tokens", "monthly"): tokens * get("items_per_month"),
        ("retraining", "once"): get("training_project") if option in TRAINED else 0.0,
        ("waiting", "monthly"): waiting * get("items_per_month"),
    }
    for line, rate, each in _events(option, inputs).values():
        amounts[line, "monthly"] = amounts.get((line, "monthly"), 0.0) + rate * each
    return amounts, tokens + waiting


def _events(option: str, inputs: UseCaseInputs) -> dict[str, tuple[str, float, float]]:
    """What makes an option cost money again: event -> (cost line, times a month, money each time)."""
    releases, changes = 1 / inputs.get("base_release_months"), inputs.get("documents_changed")
    # Facts in the weights age: for a knowledge need, a month with a changed document means retraining.
    aging = 1 - math.exp(-changes) if inputs.need == "knowledge" else 0.0
    rates = {"releases": releases, "documents": changes, "retrainings": releases + max(1 - releases, 0) * aging}
    rates |= {event: _monthly_chance(inputs.get(event)) for event in ("owner_leaves", "vendor_withdraws")}
    table = inputs.book.events[option].items()
    return {event: (line, rates[event], _worth(formula, inputs.get)) for event, (line, formula) in table}


def _worth(formula: str, get: Callable[[str], float]) -> float:
    """The value of a sum of products of price lines, as the price book writes it."""
    return sum(math.prod(get(id) for id in term.split(" * ")) for term in formula.split(" + "))


def _futures(inputs: UseCaseInputs, months: int, paths: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What happens, the same for all options: events and `price` are (paths, months), the others are (paths, 1).

    `given_up` is the month in which a training that came first is given up; infinite if it never is.
    """
    shape, once, get = (paths, months), (paths, 1), inputs.get
    low, high = inputs.figure("base_release_months").range
    gaps = rng.uniform(low, high, (paths, math.ceil(months / low) + 1))
    gaps[:, 0] *= rng.uniform(0, 1, paths)  # nobody knows how long ago the last release was
    when = np.cumsum(gaps, axis=1).astype(int)
    releases = np.stack([(when == month).sum(axis=1) for month in range(months)], axis=1)
    documents = rng.poisson(get("documents_changed"), shape)
    least, worst = inputs.figure("overrun").range
    after = rng.uniform(*inputs.figure("rebuild_after_months").range, once)
    return {
        "releases": releases,
        "documents": documents,
        "retrainings": np.maximum(releases, (documents > 0) & (inputs.need == "knowledge")),
        "owner_leaves": rng.random(shape) < _monthly_chance(get("owner_leaves")),
        "vendor_withdraws": rng.random(shape) < _monthly_chance(get("vendor_withdraws")),
        "price": rng.uniform(*inputs.figure("price_left_after_year").range, once) ** (np.arange(months) / 12),
        "overrun": rng.triangular(least, get("overrun"), max(worst, least + 1e-9), once),
        "given_up": np.where(rng.random(once) < get("rebuild_chance"), after, np.inf),
    }


def _token_cost(option: str, inputs: UseCaseInputs) -> float:
    """Money for the tokens of one item, sent and answered; 0 for an option that calls no model."""
    book, get = inputs.book, inputs.get
    if option not in book.token_parts:
        return 0.0
    size = book.model_class[option]
    sent = sum(get(f"tokens.{p}") for p in book.token_parts[option][inputs.need]) * get(f"tokens_in.{size}")
    answered = get(f"tokens_answer.{inputs.need}") * get(f"tokens_out.{size}")
    return (sent + answered) * (1 + (get("tuned_premium") if option in TRAINED else 0)) / 1e6


def _effort(option: str, line: str, part: str, inputs: UseCaseInputs) -> float:
    """Money for an effort line of the price book, 0 if the book has none; its unit says whose hours."""
    found = inputs.book.lines.get(f"effort.{option}.{line}.{part}")
    if found is None:
        return 0.0
    who = "specialist" if found.unit.startswith("specialist") else "staff"
    bought_in = line == "ownership" and option in TRAINED and not inputs.training_owner
    factor = inputs.get("missing_owner_factor") if bought_in else 1
    return inputs.get(found.id) * inputs.get(f"{who}_cost_per_hour") * factor


def _reason(option: str, line: str, part: str, book: PriceBook) -> str:
    """Why a part is zero; raises ValueError if the price book does not say."""
    for key in (f"{option}.{line}.{part}", f"{option}.{line}", f"{line}.{part}"):
        if key in book.zero_reasons:
            return book.zero_reasons[key]
    raise ValueError(f"{option}.{line}.{part} is 0 without a reason; add a cost line or a line in zero_reasons")


def _first_choice(inputs: UseCaseInputs, costs: Sequence[OptionCost]) -> OptionCost:
    """What training is compared with: the cheapest untrained option that can do the work (price book)."""
    return min((c for c in costs if c.option in inputs.book.first_choice[inputs.need]), key=lambda c: c.total)


def _headline(inputs: UseCaseInputs, costs: Sequence[OptionCost]) -> str:
    """One sentence for one use case: the first choice's cost, and what training would have to earn (words: table's)."""
    words, first, case = inputs.book.headline, _first_choice(inputs, costs), break_even(**client_case(inputs))
    points = points_needed(next(c for c in costs if c.option == "lora"), first, inputs)
    pays = words["never"] if case.months is None else words["pays"].format(months=case.months)
    earn = words["more" if points > 0 else "equal"].format(points=points)
    known = {"use_case": inputs.name, "money": inputs.book.currency, "saving": case.saving_per_month}
    return words["sentence"].format(first=first.option, year=first.first_year, pays=pays, earn=earn, **known)


def _monthly_chance(yearly: float) -> float:
    """The chance in one month that gives this chance in a year."""
    return 1 - (1 - min(yearly, 1)) ** (1 / 12)


def _check_months(months: float) -> None:
    """Raise ValueError unless a horizon is from 1 to 120 months."""
    if not 1 <= months <= 120:
        raise ValueError(f"months is {months:g}; give a number from 1 to 120")
