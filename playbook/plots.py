"""Charts of results: colour-blind safe, labelled where the line is, large enough for a projector.

The only module that imports matplotlib. It draws what it is given and deliberately computes nothing that a decision
rests on.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from playbook.checked import TABLES

if TYPE_CHECKING:  # only names of types: drawing needs none of the libraries behind them
    from playbook import arms, attribution, refusal, training_data
    from playbook.economics import BreakEven, Fan

Waits = Sequence[tuple[float, float | None]]  # (calls a month, months to payback or None for never)
BLUE = "#0072B2"  # the style's first colour
plt.style.use(TABLES / "charts.mplstyle")  # for a notebook's own charts too: one look everywhere


def break_even_chart(
    cases: "Mapping[str, BreakEven]", payback: Mapping[str, Waits], months: int, next_base: float, currency: str
) -> Figure:
    """Left: money won or lost month by month for each case. Right: months to payback against calls a month.

    `next_base` is months between base models.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), width_ratios=(3, 2))
    time = np.arange(months + 1)
    for release in np.arange(next_base, months + 0.01, next_base):
        left.axvline(release, color="#999999", lw=1, ls=":", zorder=0)
    for name, case in cases.items():
        left.plot(time, time * case.net_per_month - case.upfront, label=name)
    left.axhline(0, color="black", lw=1)
    left.set(xlabel="months (dotted: a new base model)", xlim=(0, months), title="Won or lost so far")
    left.yaxis.set_major_formatter("{x:,.0f} " + currency)
    _label_ends(left, months)
    for points in payback.values():
        right.plot(*zip(*points, strict=True))  # None leaves a gap
    right.axhline(next_base, color="#666666", lw=1, ls=":")
    at_edge = {"xycoords": ("axes fraction", "data"), "ha": "right", "color": "#444444"}
    _note(right, "next base model", (1, next_base), (-2, 4), **at_edge)
    right.set(xscale="log", yscale="log", xlabel="calls a month", title="Months until it has paid back")
    right.xaxis.set_major_formatter(EngFormatter(sep=""))  # 100k, 1M
    right.yaxis.set_major_formatter("{x:,.12g}")
    return figure


def cost_fan_chart(fans: "Mapping[str, Fan]", currency: str, budget: float) -> Figure:
    """One panel for each use case: what every option has cost by each month; line: median, band: 10th to 90th."""
    figure, axes = plt.subplots(1, len(fans), figsize=(5.6 * len(fans), 4.6), sharey=True, squeeze=False)
    for axis, (use_case, fan) in zip(axes[0], fans.items(), strict=True):
        months = len(next(iter(fan.values()))[0])
        time = np.arange(1, months + 1)
        for option, (low, middle, high) in fan.items():
            (line,) = axis.plot(time, middle, label=option.replace("_", " "))
            axis.fill_between(time, low, high, color=line.get_color(), alpha=0.15, lw=0)
        axis.axhline(budget, color="black", lw=1, ls=":")
        _note(axis, "first-year budget", (1, budget), (4, 5), bbox={"fc": "white", "ec": "none", "pad": 1})
        axis.set(title=use_case, xlabel="months", xlim=(1, months))
        axis.yaxis.set_major_formatter("{x:,.0f} " + currency)
        _label_ends(axis, months)
    axes[0, 0].set(ylim=(0, None), ylabel="cost so far")
    return figure


def arms_chart(scores: "Sequence[arms.ArmScore]", title: str) -> Figure:
    """Share right of each arm (dot) with its 95 % interval (bar), on one axis; hollow dots are proxy evidence."""
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.55 * max(len(scores), 1)))
    rows = scores[::-1]
    for row, line in enumerate(rows):
        share, fill = line.right, "white" if line.evidence == "proxy" else BLUE
        axis.hlines(row, share.low, share.high, color=BLUE, lw=2.5)
        axis.plot(share.share, row, "o", ms=10, mec=BLUE, mew=2, mfc=fill)
        _note(axis, f"{share.share:.0%}", (share.share, row), (0, 9), ha="center")
    names = [line.name + (" (proxy)" if line.evidence == "proxy" else "") for line in rows]
    axis.set(yticks=range(len(scores)), yticklabels=names, xlim=(0, 1), ylim=(-0.6, len(scores) - 0.2), title=title)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def cause_chart(mixes: "Mapping[str, attribution.CauseMix]") -> Figure:
    """Failures by cause, one group of bars for each kind of item, with the count at the end of each bar."""
    figure, axis = plt.subplots(figsize=(9, 4))
    counts = pd.DataFrame({name: {c: p.hits for c, p in mix.shares.items()} for name, mix in mixes.items()})
    if len(counts):
        counts[::-1].fillna(0).plot.barh(ax=axis, width=0.8, xlabel="failed items")
    for bars in axis.containers:
        axis.bar_label(bars, padding=4)
    axis.grid(axis="y", visible=False)
    return figure


def curve_chart(points: "Sequence[training_data.CurvePoint]") -> Figure:
    """Share right on the tuning split against the number of training examples; bars span the repeats."""
    figure, axis = plt.subplots(figsize=(8, 4.2))
    axis.plot([p.examples for p in points], [p.mean for p in points], "o-", color=BLUE, ms=8)
    for p in points:
        axis.vlines(p.examples, p.low, p.high, color=BLUE, lw=2.5, alpha=0.5)
        _note(axis, f"{p.mean:.0%}", (p.examples, p.mean), (9, -13))
    axis.set(xlabel="training examples", ylim=(0, 1), title="Does more labelling help? (linear probe, tuning split)")
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def risk_chart(curves: "Mapping[str, Sequence[refusal.Point]]") -> Figure:
    """Share of shown answers that are wrong against the share of questions answered; one line a way to decide."""
    figure, axis = plt.subplots(figsize=(8, 4.2))
    for name, points in curves.items():
        axis.step([p.coverage for p in points], [p.risk for p in points], where="post", label=name)
    axis.set(xlabel="questions answered", ylabel="wrong among these", title="What does caution buy?")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.legend()
    return figure


def figure_uri(figure: Figure) -> str:
    """A chart as a PNG data URI for the report (150 dpi), closed afterwards so that a notebook does not show it again."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _note(axis: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **style: Any) -> None:
    """Write a text `shift` points away from a place in the data."""
    axis.annotate(text, at, shift, textcoords="offset points", **style)


def _label_ends(axis: Axes, x: float) -> None:
    """Write each named line's name beside its end, in its colour, moved apart where they would touch."""
    gap, last = 0.065 * np.ptp(axis.get_ylim()), -np.inf
    named = [line for line in axis.get_lines() if not line.get_label().startswith("_")]
    for line in sorted(named, key=lambda line: line.get_ydata()[-1]):
        y, colour = line.get_ydata()[-1], line.get_color()
        last = max(y, last + gap)
        arrow = {"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.6}
        place = {"xytext": (x + 0.03 * x, last), "va": "center", "annotation_clip": False}
        axis.annotate(line.get_label(), (x, y), color=colour, arrowprops=arrow, **place)
