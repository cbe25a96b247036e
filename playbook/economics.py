"""What each option costs, when training pays back, and what would have to change for that to flip.

Arithmetic and a seeded simulation on figures that the price book has checked. It deliberately does not know whether an
option is any good: quality is measured later; here it is only asked how good an option would have to be.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from playbook import rules
from playbook.checked import Frozen
from playbook.prices import COST_LINES, ClientEconomics, Figure, PriceBook, UseCaseInputs, positive, stale_lines

Fan = dict[str, np.ndarray]  # option -> (3, months): cumulated cost at the 10th, 50th, 90th percentile
Shape = Sequence[float]  # of a base model: parameters, layers, width, words of the vocabulary
Regret = dict[str, tuple[float, float, float]]  # path -> its cost above the cheapest: 10th, 50th, 90th percentile
OPTIONS = ("do_nothing", "prompt_only", "rag", "cheap_classifier", "lora", "hybrid")
TRAINED = ("lora", "hybrid")
BY_CHANCE = ("owner_leaves", "vendor_withdraws")


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
    """What 02_economics hands over; by use case: `regret` from the simulated futures, `payback` in months (None: never)."""

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
    payback: dict[str, float | None] = {}


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
    return {name: _case(formulas, lambda id: book.line(id).value, {}) for name, formulas in book.scenarios.items()}


def client_case(inputs: UseCaseInputs) -> dict[str, float]:
    """Arguments of `break_even` for the client: training takes the examples (or the passages) out of every prompt.

    Generous to training: it counts retraining for new base models only, not for changed documents. The tuned model asks
    the price book's premium on the price of the model that was only prompted. The price book has the formulas.
    """
    month = _usual(inputs) | {"releases": 1.0, "retrainings": 1.0}  # one with a new base model
    return _case(inputs.book.client_case[inputs.need], inputs.get, _parts("lora", inputs, month))


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
    costs, fan, lives, shape = option_costs(inputs, months), {}, {}, (paths, int(months))
    if not 100 <= paths <= 100_000:
        raise ValueError(f"paths is {paths}; give a number from 100 to 100,000")
    future = _futures(inputs, shape, np.random.default_rng(seed))
    for option in OPTIONS:
        parts = _parts(option, inputs, future)
        once, flow = parts["once"], np.broadcast_to(parts["monthly"], shape)
        fan[option] = np.percentile(once + np.cumsum(flow, axis=1), (10, 50, 90), axis=0)
        lives[option] = once[:, 0], flow
    ends = {o: lives[o][0] + lives[o][1].sum(axis=1) for o in (*inputs.book.first_choice[inputs.need], *TRAINED)}
    (once, flow), (again, after) = lives["lora"], lives[_first_choice(inputs, costs).option]
    kept = np.arange(int(months)) < future["given_up"]
    ends["train_first"] = once + np.where(kept, flow, after).sum(axis=1) + again * ~kept.all(axis=1)
    least = np.min(list(ends.values()), axis=0)
    return fan, {path: tuple(np.percentile(end - least, (10, 50, 90)).round().tolist()) for path, end in ends.items()}


def sizing(
    shape: Shape, rank: float, bits: float, spread: float, batch: float, tokens: float, flops: float, redo: bool = True
) -> tuple[float, float, float]:
    """Megabytes of a LoRA adapter, gigabytes and hours for training it, on a base model held in `bits`.

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


def evaluate_economics(
    client: ClientEconomics, as_of: date, months: int = 24, seed: int = 0, paths: int = 10_000
) -> EconomicsResult:
    """Everything the notebook hands over: costs with their spread, regret, flip points, assumptions, old prices."""
    book, options, said, regret = client.use_cases[0].book, [], [], {}
    stale = stale_lines(book, as_of)
    for inputs in client.use_cases:
        costs, old = option_costs(inputs, months), [line for line in stale if line.id not in inputs.values]
        twice = [option_costs(inputs.with_measured({x.id: 2 * x.value}, x.source, as_of), months) for x in old]
        fan, regret[inputs.name] = simulate(inputs, months, paths, seed)
        for cost, *others in zip(costs, *twice, strict=True):
            p10, p50, p90 = fan[cost.option][:, -1].round().tolist()
            rests_on = tuple(x.id for x, other in zip(old, others, strict=True) if other.total != cost.total)
            options.append(cost.model_copy(update={"p10": p10, "p50": p50, "p90": p90, "stale": rests_on}))
        said.append(_readings(inputs, costs))
    headlines, *flips = zip(*said, strict=True)  # the most telling sentence of every use case, then the next ones
    own = {(a.use_case, a.id): a for i in client.use_cases for a in i.values.values()}
    rest = [line for line in book.lines.values() if ("", line.id) not in own]
    return EconomicsResult(
        currency=book.currency, months=months, budget=client.budget.value, options=tuple(options), regret=regret,
        work_today={i.name: value_per_month(i) for i in client.use_cases}, stale=stale,
        flip_points=sum(flips, ()), assumptions=(client.budget, *own.values(), *rest), headline=" ".join(headlines),
        payback={i.name: break_even(**client_case(i)).months for i in client.use_cases},
    )  # fmt: skip


def _option_cost(option: str, inputs: UseCaseInputs, months: int) -> OptionCost:
    """One option's cost lines, each with a reason where a part is zero."""
    parts, lines = _parts(option, inputs, _usual(inputs)), []
    for line in COST_LINES:
        pair = {part: parts.get(f"{line}.{part}", 0.0) for part in ("once", "monthly")}
        reasons = [_reason(option, line, part, inputs.book) for part, money in pair.items() if money == 0]
        lines.append(CostLine(line=line, reason="; ".join(dict.fromkeys(reasons)), **pair))
    once, monthly = parts["once"], parts["monthly"]
    return OptionCost(
        use_case=inputs.name, option=option, months=months, lines=tuple(lines), once=once, monthly=monthly,
        first_year=once + 12 * monthly, total=once + months * monthly,
        per_item=sum(x.monthly for x in lines if x.line in ("tokens", "waiting")) / inputs.get("items_per_month"),
    )  # fmt: skip


def _parts(option: str, inputs: UseCaseInputs, happens: Mapping[str, Any]) -> dict[str, Any]:
    """Money for each "line.part" of an option that the price book has a formula for, and for all together, by part.

    The part is once or monthly. `happens` says how often things happen in a month: numbers (`_usual`), or arrays with
    many futures (`_futures`).
    """
    known, costs = {**happens, **_volumes(option, inputs)}, inputs.book.costs[option]
    parts = {name: _worth(formula.format(option=option), inputs.get, known) for name, formula in costs.items()}
    built, monthly = (sum(parts[name] for name in parts if name.endswith(part)) for part in (".once", ".monthly"))
    overrun = happens["overrun"] * built
    return parts | {"overrun.once": overrun, "once": built + overrun, "monthly": monthly}


def _usual(inputs: UseCaseInputs) -> dict[str, float]:
    """How often things happen in an average month; the share of today's token price; the overrun of one-off costs."""
    releases, changes = 1 / inputs.get("base_release_months"), inputs.get("documents_changed")
    # Facts in the weights age: for a knowledge need, a month with a changed document means retraining.
    aging = 1 - math.exp(-changes) if inputs.need == "knowledge" else 0.0
    often = {"releases": releases, "documents": changes, "retrainings": releases + max(1 - releases, 0) * aging}
    chances = {event: 1 - (1 - min(inputs.get(event), 1)) ** (1 / 12) for event in BY_CHANCE}  # a year's, in a month
    return {**often, **chances, "price": 1.0, "overrun": inputs.get("overrun")}


def _case(formulas: Mapping[str, str], get: Callable[[str], float], known: Mapping[str, Any]) -> dict[str, float]:
    """Arguments of `break_even` from the price book's formulas."""
    return {argument: _worth(formula, get, known) for argument, formula in formulas.items()}


def _worth(formula: str, get: Callable[[str], float], known: Mapping[str, Any]) -> Any:
    """The value of a sum of products, as the price book writes it, of what is `known` and of figures."""
    terms = (term.split(" * ") for term in formula.split(" + "))
    return sum(math.prod(known[id] if id in known else get(id) for id in term) for term in terms)


def _futures(inputs: UseCaseInputs, shape: tuple[int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What happens, the same for all options: events and `price` have `shape` (paths, months), the others (paths, 1).

    `given_up` is the month in which a training that came first is given up; infinite if it never is.
    """
    (paths, months), once, usual = shape, (shape[0], 1), _usual(inputs)
    (low, high), (least, worst) = (inputs.figure(id).range for id in ("base_release_months", "overrun"))
    gaps = rng.uniform(low, high, (paths, math.ceil(months / low) + 1))
    gaps[:, 0] *= rng.uniform(0, 1, paths)  # nobody knows how long ago the last release was
    when = np.cumsum(gaps, axis=1).astype(int)
    releases = np.stack([(when == month).sum(axis=1) for month in range(months)], axis=1)
    documents = rng.poisson(usual["documents"], shape)
    after = rng.uniform(*inputs.figure("rebuild_after_months").range, once)
    return {
        "releases": releases,
        "documents": documents,
        "retrainings": np.maximum(releases, (documents > 0) & (inputs.need == "knowledge")),
        **{event: rng.random(shape) < usual[event] for event in BY_CHANCE},
        "price": rng.uniform(*inputs.figure("price_left_after_year").range, once) ** (np.arange(months) / 12),
        "overrun": rng.triangular(least, usual["overrun"], max(worst, least + 1e-9), once),
        "given_up": np.where(rng.random(once) < inputs.get("rebuild_chance"), after, np.inf),
    }


def _volumes(option: str, inputs: UseCaseInputs) -> dict[str, float]:
    """Names for formulas: examples to label and to check, money for an item's tokens, for a minute and a second of staff."""
    book, get = inputs.book, inputs.get
    needed = get(f"examples.{option}") if f"examples.{option}" in book.lines else 0.0
    ready, staff = min(needed, get("examples_ready")), get("staff_cost_per_hour")
    tokens = _worth(book.item_tokens[option][inputs.need], get, {}) / 1e6 if option in book.item_tokens else 0.0
    factor = 1.0 if inputs.training_owner else get("missing_owner_factor")
    names = {"new_examples": needed - ready, "ready_examples": ready, "item_tokens": tokens, "owner_factor": factor}
    return names | {"staff_minute": staff / 60, "staff_second": staff / 3600}


def _reason(option: str, line: str, part: str, book: PriceBook) -> str:
    """Why a part is zero; raises ValueError if the price book does not say."""
    for key in (f"{option}.{line}.{part}", f"{option}.{line}", f"{line}.{part}"):
        if key in book.zero_reasons:
            return book.zero_reasons[key]
    raise ValueError(f"{option}.{line}.{part} is 0 without a reason; add a cost line or a line in zero_reasons")


def _first_choice(inputs: UseCaseInputs, costs: Sequence[OptionCost]) -> OptionCost:
    """What training is compared with: the cheapest untrained option that can do the work (price book)."""
    return min((c for c in costs if c.option in inputs.book.first_choice[inputs.need]), key=lambda c: c.total)


def _readings(inputs: UseCaseInputs, costs: Sequence[OptionCost]) -> tuple[str, ...]:
    """The headline, then the values at which the choice for one use case would change, the most telling first."""
    by, case, first = {c.option: c for c in costs}, client_case(inputs), _first_choice(inputs, costs)
    calls, tokens = payback_needs(12, **case)
    known = {"name": inputs.name, "money": inputs.book.currency, "by": by, "case": case, "first": first, "calls": calls}
    known |= {"tokens": tokens, "pays": break_even(**case), "right": 100 * right_share_needed(first, inputs)}
    known |= {"more": {o: max(points_needed(by[o], first, inputs), 0) for o in TRAINED}, "flip_volume": flip_volume}
    return tuple(rules.say(inputs.book.readings, known))


def _check_months(months: float) -> None:
    """Raise ValueError unless a horizon is from 1 to 120 months."""
    if not 1 <= months <= 120:
        raise ValueError(f"months is {months:g}; give a number from 1 to 120")
