"""Charts of results: colour-blind safe, labelled where the line is, large enough for a projector.

The only module that imports matplotlib. It draws what it is given and deliberately computes nothing that a decision
rests on.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from playbook.checked import TABLES

if TYPE_CHECKING:  # only names of types: drawing needs none of the libraries behind them
    from playbook import arms
    from playbook.economics import Fan

BLUE = "#0072B2"  # the style's first colour
plt.style.use(TABLES / "charts.mplstyle")  # for a notebook's own charts too: one look everywhere


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
