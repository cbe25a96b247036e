"""Charts of results: colour-blind safe, labelled where the line is, large enough for a projector.

The only module that imports matplotlib. It draws what it is given and deliberately computes nothing that a decision
rests on.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

if TYPE_CHECKING:  # only names of types: drawing needs none of the libraries behind them
    from playbook.arms import ArmScore
    from playbook.attribution import CauseMix
    from playbook.economics import BreakEven, Fan
    from playbook.training_data import CurvePoint


# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), without its yellow, which fades on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
FONT = {"figure.dpi": 80, "font.size": 11, "axes.grid": True, "grid.alpha": 0.25}
FONT |= {"axes.spines.top": False, "axes.spines.right": False}


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
    with plt.rc_context(FONT):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), width_ratios=(3, 2), layout="constrained")
        time = np.arange(months + 1)
        for release in np.arange(next_base, months + 0.01, next_base):
            left.axvline(release, color="#999999", lw=1, ls=":", zorder=0)
        ends = []
        for i, (name, case) in enumerate(cases.items()):
            won = time * case.net_per_month - case.upfront
            left.plot(time, won, color=PALETTE[i], ls=DASHES[i], lw=2.2)
            ends.append((won[-1], name, PALETTE[i]))
        left.axhline(0, color="black", lw=1)
        left.set(xlabel="months (dotted: a new base model)", xlim=(0, months), title="Won or lost so far")
        left.yaxis.set_major_formatter(_money(currency))
        _label_ends(left, months, ends)
        for i, (name, points) in enumerate(payback.items()):
            known = [(calls, wait) for calls, wait in points if wait is not None]
            if known:
                right.plot(*zip(*known, strict=True), color=PALETTE[i], ls=DASHES[i], lw=2.2, label=name)
        right.axhline(next_base, color="#666666", lw=1, ls=":")
        right.annotate("next base model", (1, next_base), (-2, 4), xycoords=("axes fraction", "data"),
                       textcoords="offset points", ha="right", color="#444444")  # fmt: skip
        right.set(xscale="log", yscale="log", xlabel="calls a month", title="Months until it has paid back")
        millions = FuncFormatter(lambda value, _: f"{value / 1e6:,.12g}M" if value >= 1e6 else f"{value / 1e3:g}k")
        right.xaxis.set_major_formatter(millions)
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        return figure


def cost_fan_chart(fans: Mapping[str, Fan], currency: str, budget: float | None = None) -> Figure:
    """One panel for each use case: what every option has cost by each month; line: median, band: 10th to 90th."""
    with plt.rc_context(FONT):
        size = (5.6 * len(fans), 4.6)
        figure, axes = plt.subplots(1, len(fans), figsize=size, sharey=True, squeeze=False, layout="constrained")
        for axis, (use_case, fan) in zip(axes[0], fans.items(), strict=True):
            ends, months = [], len(next(iter(fan.values()))[0])
            time = np.arange(1, months + 1)
            for i, (option, (low, middle, high)) in enumerate(fan.items()):
                axis.fill_between(time, low, high, color=PALETTE[i], alpha=0.15, lw=0)
                axis.plot(time, middle, color=PALETTE[i], ls=DASHES[i], lw=2.2)
                ends.append((middle[-1], option.replace("_", " "), PALETTE[i]))
            if budget is not None:
                axis.axhline(budget, color="black", lw=1, ls=":")
                axis.annotate("first-year budget", (1, budget), (4, 5), textcoords="offset points",
                              bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1})  # fmt: skip
            axis.set(title=use_case, xlabel="months", xlim=(1, months))
            axis.yaxis.set_major_formatter(_money(currency))
            _label_ends(axis, months, ends)
        axes[0, 0].set_ylim(bottom=0)
        axes[0, 0].set_ylabel("cost so far")
        return figure


def arms_chart(scores: Sequence[ArmScore], title: str) -> Figure:
    """Share right of each arm (dot) with its 95 % interval (bar), on one axis; hollow dots are proxy evidence."""
    with plt.rc_context(FONT):
        figure, axis = plt.subplots(figsize=(9, 1.2 + 0.55 * max(len(scores), 1)), layout="constrained")
        for row, line in enumerate(reversed(scores)):
            share = line.right
            axis.plot((share.low, share.high), (row, row), color=PALETTE[0], lw=2.5)
            axis.plot(
                share.share,
                row,
                "o",
                ms=10,
                mec=PALETTE[0],
                mew=2,
                mfc="white" if line.evidence == "proxy" else PALETTE[0],
            )
            axis.annotate(f"{share.share:.0%}", (share.share, row), (0, 9), textcoords="offset points", ha="center")
        names = [f"{s.arm.replace('_', ' ')}{' (proxy)' if s.evidence == 'proxy' else ''}" for s in reversed(scores)]
        axis.set(yticks=range(len(scores)), yticklabels=names, xlim=(0, 1), ylim=(-0.6, len(scores) - 0.2), title=title)
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        return figure


def cause_chart(mixes: Mapping[str, CauseMix]) -> Figure:
    """Failures by cause, one group of bars for each kind of item, with the count at the end of each bar."""
    with plt.rc_context(FONT):
        figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
        height = 0.8 / max(len(mixes), 1)
        causes = list(reversed(next((list(mix.shares) for mix in mixes.values() if mix.shares), [])))
        for group, (name, mix) in enumerate(mixes.items()):
            for row, cause in enumerate(causes):
                count = mix.shares[cause].hits if mix.shares else 0
                where = row + height * (len(mixes) - 1 - group)
                axis.barh(where, count, height * 0.9, color=PALETTE[group], label=name if row == 0 else None)
                axis.annotate(str(count), (count, where), (4, 0), textcoords="offset points", va="center")
        axis.set(yticks=np.arange(len(causes)) + 0.4 - height / 2, yticklabels=causes, xlabel="failed items")
        axis.grid(axis="y", visible=False)
        axis.legend(frameon=False, loc="lower right")
        return figure


def curve_chart(points: Sequence[CurvePoint]) -> Figure:
    """Share right on the tuning split against the number of training examples; bars span the repeats."""
    with plt.rc_context(FONT):
        figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
        x = [p.examples for p in points]
        axis.vlines(x, [p.low for p in points], [p.high for p in points], color=PALETTE[0], lw=2.5, alpha=0.5)
        axis.plot(x, [p.mean for p in points], "o-", color=PALETTE[0], lw=2.2, ms=8)
        for p in points:
            axis.annotate(f"{p.mean:.0%}", (p.examples, p.mean), (9, -13), textcoords="offset points")
        axis.set(
            xlabel="training examples", ylim=(0, 1), title="Does more labelling help? (linear probe, tuning split)"
        )
        axis.yaxis.set_major_formatter(PercentFormatter(1))
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


def _label_ends(axis: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write (y, text, colour) beside the end of each line, moved apart where they would touch."""
    low, high = axis.get_ylim()
    gap, last = 0.065 * (high - low), -np.inf
    for y, text, colour in sorted(ends):
        last = max(y, last + gap)
        axis.annotate(text, (x, y), (x + 0.03 * x, last), color=colour, va="center", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.6})  # fmt: skip
