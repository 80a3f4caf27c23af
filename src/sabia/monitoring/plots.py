"""The plots of a report, as self-contained SVG with selectable text.

Text and axes have the colour of the page's text, for a light and a dark background alike. Series differ in line style
or marker and in colour; the colours are close to Okabe and Ito's, which remain distinct under colour blindness, and
have enough contrast with white and black.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sabia.monitoring.document import VersionReport
from sabia.monitoring.drift import MINIMUM_INDEX, FeatureDrift
from sabia.monitoring.rollouts import Rollout

BLUE, ORANGE, GREEN, PURPLE = "#2B85C0", "#D55E00", "#009E73", "#B8659A"
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D")
# The plot of drift shows at most this many features.
LARGEST = 40
# Replaced by the colour of the page's text.
_INK = "#010203"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "grid.color": _INK,
    "grid.alpha": 0.15,
}


def rollout(rollout: Rollout) -> str:
    """Weights over time, and below them the evidence with its thresholds; one marker per entry of the record."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 4.6), layout="constrained")
        weights, evidence = figure.subplots(2, 1, sharex=True)
        elapsed = [entry.elapsed for entry in rollout.entries]
        for at, canary in enumerate(rollout.canaries):
            weights.step(
                elapsed,
                [entry.weights.get(canary, 0) for entry in rollout.entries],
                where="post",
                color=_COLOURS[at % 4],
                linestyle=_LINES[at % 4],
                label=f"{canary}, percent of traffic",
            )
            for name, series, marker, colour in (
                ("harm", [entry.harm.get(canary, 0.0) for entry in rollout.entries], "o", ORANGE),
                ("safe at this step", [entry.safe.get(canary, 0.0) for entry in rollout.entries], "^", BLUE),
            ):
                values = np.clip(series, -3, 6)
                evidence.plot(elapsed, values, marker=marker, markersize=3.5, color=colour, label=f"{canary}: {name}")
        evidence.axhline(rollout.harm_limit, color=ORANGE, linestyle="--", linewidth=1)
        evidence.axhline(rollout.safe_limit, color=BLUE, linestyle=":", linewidth=1)
        evidence.annotate("rolls back", (0, rollout.harm_limit), xytext=(2, 2), textcoords="offset points")
        evidence.annotate("next step", (0, rollout.safe_limit), xytext=(2, 2), textcoords="offset points")
        weights.set_ylim(-3, 103)
        weights.set_ylabel("weight, %")
        evidence.set_ylabel("evidence, log10 of odds")
        evidence.set_xlabel("seconds since the start")
        for axes in (weights, evidence):
            axes.grid(visible=True)
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        return _svg(figure, f"rollout-{rollout.name}")


def drift(version: VersionReport) -> str:
    """The stability index of each feature beside its threshold, the largest first; of many features the largest."""
    features = sorted(version.drift, key=lambda feature: feature.index)[-LARGEST:]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 0.9 + 0.19 * len(features)), layout="constrained")
        axes = figure.subplots()
        at = np.arange(len(features))
        colours = [ORANGE if feature.drifted else BLUE for feature in features]
        axes.barh(at, [feature.index for feature in features], color=colours, height=0.62)
        for place, feature in enumerate(features):
            threshold = feature.index_threshold
            if threshold is not None:
                axes.plot([threshold] * 2, [place - 0.42, place + 0.42], color=_INK, linewidth=1.4)
            if feature.drifted:
                axes.annotate(" drifted", (feature.index, place), va="center", fontsize=8)
        axes.set_yticks(at, [feature.name for feature in features], fontsize=8)
        axes.set_xlabel("population stability index; the vertical line is the threshold")
        axes.set_ylim(-0.7, len(features) - 0.3)
        axes.set_xlim(0, 1.12 * max([MINIMUM_INDEX * 1.5, *(_reach(feature) for feature in features)]))
        return _svg(figure, f"drift-{version.version}")


def latency(versions: Sequence[VersionReport]) -> str:
    """The share of requests completed within a time."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.7, 2.9), layout="constrained")
        axes = figure.subplots()
        for at, version in enumerate(each for each in versions if each.latency_cdf):
            seconds, shares = zip(*version.latency_cdf, strict=True)
            axes.plot(
                1000 * np.array(seconds),
                shares,
                color=_COLOURS[at % 4],
                linestyle=_LINES[at % 4],
                label=version.version,
            )
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("share completed")
        _finish(axes)
        return _svg(figure, "latency")


def reliability(versions: Sequence[VersionReport]) -> str:
    """Observed frequency by predicted probability."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.7, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, alpha=0.5)
        for at, version in enumerate(versions):
            if version.quality is None:
                continue
            bins = version.quality.calibration
            observed = np.array([each.observed.value for each in bins])
            reach = [
                observed - np.array([each.observed.low for each in bins]),
                np.array([each.observed.high for each in bins]) - observed,
            ]
            axes.errorbar(
                [each.predicted for each in bins],
                observed,
                yerr=np.abs(reach),
                color=_COLOURS[at % 4],
                marker=_MARKERS[at % 4],
                markersize=4,
                linewidth=1,
                capsize=2,
                label=version.version,
            )
        axes.set_xlabel("predicted")
        axes.set_ylabel("observed")
        _finish(axes)
        return _svg(figure, "reliability")


def roc(versions: Sequence[VersionReport]) -> str:
    """The ROC curves."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.7, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, alpha=0.5)
        for at, version in enumerate(versions):
            if version.quality is None or not version.quality.curve or version.quality.auc is None:
                continue
            false, true = zip(*version.quality.curve, strict=True)
            label = f"{version.version}: {version.quality.auc.value:.3f}"
            axes.plot(false, true, color=_COLOURS[at % 4], linestyle=_LINES[at % 4], label=label)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _finish(axes, "lower right")
        return _svg(figure, "roc")


def days(versions: Sequence[VersionReport]) -> str:
    """Accuracy and the largest stability index, day by day."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        accuracy, index = figure.subplots(1, 2)
        for at, version in enumerate(versions):
            style: dict[str, Any] = {
                "color": _COLOURS[at % 4],
                "marker": _MARKERS[at % 4],
                "markersize": 4,
                "label": version.version,
            }
            known = [day for day in version.days if day.accuracy is not None]
            accuracy.plot(
                [day.day[5:] for day in known], [day.accuracy.value for day in known if day.accuracy], **style
            )
            index.plot([day.day[5:] for day in version.days], [day.index for day in version.days], **style)
        accuracy.set_ylabel("accuracy")
        index.set_ylabel("largest stability index")
        for axes in (accuracy, index):
            axes.grid(visible=True)
            axes.tick_params(axis="x", rotation=30)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8)
        return _svg(figure, "days")


def _reach(feature: FeatureDrift) -> float:
    return max(feature.index, feature.index_threshold or 0.0)


def _finish(axes: Axes, where: Literal["best", "lower right"] = "best") -> None:
    axes.grid(visible=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=where, fontsize=8)


def _svg(figure: Figure, name: str) -> str:
    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = sink.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # Described by its caption and its table; ids of several plots on one page must differ.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r"<svg ", '<svg aria-hidden="true" focusable="false" ', text, count=1)
