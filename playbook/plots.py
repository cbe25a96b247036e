"""Charts of results: colour-blind safe, labelled where the line is, large enough for a projector.

The only module that imports matplotlib. It draws what it is given and deliberately computes nothing that a decision
rests on.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

if TYPE_CHECKING:  # only names of types: drawing needs none of the libraries behind them
    from playbook.arms import ArmScore
    from playbook.attribution import CauseMix
    from playbook.economics import BreakEven, Fan
    from playbook.refusal import Point
    from playbook.training_data import CurvePoint


# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), without its yellow, which fades on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
LINES = [{"color": color, "ls": dash, "lw": 2.2} for color, dash in zip(PALETTE, DASHES, strict=False)]
FONT = {"figure.dpi": 80, "font.size": 11, "axes.grid": True, "grid.alpha": 0.25}
FONT |= {"axes.spines.top": False, "axes.spines.right": False}


@plt.rc_context(FONT)
def break_even_chart(
    cases: Mapping[str, BreakEven],
    payback: Mapping[str, Sequence[tuple[float, float | None]]],
    months: int,
    next_base: float,
    currency: str,
) -> Figure:
    """Left: money won or lost month by month for each case. Right: months to payback against calls a month.

    `payback` holds, per case, (calls a month, months or None for never); `next_base` is months between base models.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), width_ratios=(3, 2), layout="constrained")
    time = np.arange(months + 1)
    for release in np.arange(next_base, months + 0.01, next_base):
        left.axvline(release, color="#999999", lw=1, ls=":", zorder=0)
    won = {name: time * case.net_per_month - case.upfront for name, case in cases.items()}
    for line, values in zip(cycle(LINES), won.values(), strict=False):
        left.plot(time, values, **line)
    left.axhline(0, color="black", lw=1)
    left.set(xlabel="months (dotted: a new base model)", xlim=(0, months), title="Won or lost so far")
    left.yaxis.set_major_formatter(_money(currency))
    _label_ends(left, months, won)
    for line, (name, points) in zip(cycle(LINES), payback.items(), strict=False):
        known = [(calls, wait) for calls, wait in points if wait is not None]
        if known:
            right.plot(*zip(*known, strict=True), **line, label=name)
    right.axhline(next_base, color="#666666", lw=1, ls=":")
    at_edge = {"xycoords": ("axes fraction", "data"), "ha": "right", "color": "#444444"}
    _note(right, "next base model", (1, next_base), (-2, 4), **at_edge)
    right.set(xscale="log", yscale="log", xlabel="calls a month", title="Months until it has paid back")
    millions = FuncFormatter(lambda value, _: f"{value / 1e6:,.12g}M" if value >= 1e6 else f"{value / 1e3:g}k")
    right.xaxis.set_major_formatter(millions)
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    return figure


@plt.rc_context(FONT)
def cost_fan_chart(fans: Mapping[str, Fan], currency: str, budget: float | None = None) -> Figure:
    """One panel for each use case: what every option has cost by each month; line: median, band: 10th to 90th."""
    size = (5.6 * len(fans), 4.6)
    figure, axes = plt.subplots(1, len(fans), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, (use_case, fan) in zip(axes[0], fans.items(), strict=True):
        months = len(next(iter(fan.values()))[0])
        time = np.arange(1, months + 1)
        for line, (low, middle, high) in zip(cycle(LINES), fan.values(), strict=False):
            axis.fill_between(time, low, high, color=line["color"], alpha=0.15, lw=0)
            axis.plot(time, middle, **line)
        if budget is not None:
            axis.axhline(budget, color="black", lw=1, ls=":")
            box = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
            _note(axis, "first-year budget", (1, budget), (4, 5), bbox=box)
        axis.set(title=use_case, xlabel="months", xlim=(1, months))
        axis.yaxis.set_major_formatter(_money(currency))
        _label_ends(axis, months, {option.replace("_", " "): middle for option, (_, middle, _) in fan.items()})
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel("cost so far")
    return figure


@plt.rc_context(FONT)
def arms_chart(scores: Sequence[ArmScore], title: str) -> Figure:
    """Share right of each arm (dot) with its 95 % interval (bar), on one axis; hollow dots are proxy evidence."""
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.55 * max(len(scores), 1)), layout="constrained")
    names = []
    for row, line in enumerate(reversed(scores)):
        share, proxy = line.right, line.evidence == "proxy"
        dot = {"ms": 10, "mec": PALETTE[0], "mew": 2, "mfc": "white" if proxy else PALETTE[0]}
        axis.plot((share.low, share.high), (row, row), color=PALETTE[0], lw=2.5)
        axis.plot(share.share, row, "o", **dot)
        _note(axis, f"{share.share:.0%}", (share.share, row), (0, 9), ha="center")
        names.append(line.arm.replace("_", " ") + (" (proxy)" if proxy else ""))
    axis.set(yticks=range(len(scores)), yticklabels=names, xlim=(0, 1), ylim=(-0.6, len(scores) - 0.2), title=title)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


@plt.rc_context(FONT)
def cause_chart(mixes: Mapping[str, CauseMix]) -> Figure:
    """Failures by cause, one group of bars for each kind of item, with the count at the end of each bar."""
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    height = 0.8 / max(len(mixes), 1)
    causes = list(reversed(next((list(mix.shares) for mix in mixes.values() if mix.shares), [])))
    for group, (name, mix) in enumerate(mixes.items()):
        counts = [mix.shares[cause].hits if mix.shares else 0 for cause in causes]
        where = np.arange(len(causes)) + height * (len(mixes) - 1 - group)
        bars = axis.barh(where, counts, height * 0.9, color=PALETTE[group], label=name)
        axis.bar_label(bars, padding=4)
    axis.set(yticks=np.arange(len(causes)) + 0.4 - height / 2, yticklabels=causes, xlabel="failed items")
    axis.grid(axis="y", visible=False)
    axis.legend(frameon=False, loc="lower right")
    return figure


@plt.rc_context(FONT)
def curve_chart(points: Sequence[CurvePoint]) -> Figure:
    """Share right on the tuning split against the number of training examples; bars span the repeats."""
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    x = [p.examples for p in points]
    axis.vlines(x, [p.low for p in points], [p.high for p in points], color=PALETTE[0], lw=2.5, alpha=0.5)
    axis.plot(x, [p.mean for p in points], "o-", color=PALETTE[0], lw=2.2, ms=8)
    for p in points:
        _note(axis, f"{p.mean:.0%}", (p.examples, p.mean), (9, -13))
    axis.set(xlabel="training examples", ylim=(0, 1), title="Does more labelling help? (linear probe, tuning split)")
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


@plt.rc_context(FONT)
def risk_chart(curves: Mapping[str, Sequence[Point]]) -> Figure:
    """Share of shown answers that are wrong against the share of questions answered; one line a way to decide."""
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for (name, points), style in zip(curves.items(), LINES, strict=False):
        axis.step([p.coverage for p in points], [p.risk for p in points], where="post", label=name, **style)
    axis.set(
        xlabel="questions answered",
        ylabel="wrong among these",
        ylim=(0, 1),
        xlim=(0, 1),
        title="What does caution buy?",
    )
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.legend(frameon=False)
    return figure


def figure_uri(figure: Figure) -> str:
    """A chart as a PNG data URI for the report (150 dpi), closed afterwards so that a notebook does not show it again."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _money(currency: str) -> FuncFormatter:
    """Axis labels with thousands separators and the currency."""
    return FuncFormatter(lambda value, _: f"{value:,.0f} {currency}")


def _note(axis: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **style: Any) -> None:
    """Write a text `shift` points away from a place in the data."""
    axis.annotate(text, at, shift, textcoords="offset points", **style)


def _label_ends(axis: Axes, x: float, lines: Mapping[str, Sequence[float]]) -> None:
    """Write each line's name beside its end, in its colour, moved apart where they would touch."""
    low, high = axis.get_ylim()
    gap, last = 0.065 * (high - low), -np.inf
    ends = [
        (values[-1], name, line["color"]) for line, (name, values) in zip(cycle(LINES), lines.items(), strict=False)
    ]
    for y, text, colour in sorted(ends):
        last = max(y, last + gap)
        arrow = {"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.6}
        place = {"xytext": (x + 0.03 * x, last), "va": "center", "annotation_clip": False}
        axis.annotate(text, (x, y), color=colour, arrowprops=arrow, **place)
