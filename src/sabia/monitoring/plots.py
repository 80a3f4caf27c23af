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
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sabia.monitoring.document import VersionReport
from sabia.monitoring.drift import MINIMUM_INDEX, FeatureDrift
from sabia.monitoring.quality import ClassQuality, Quality, ValueQuality
from sabia.monitoring.rollouts import Rollout

BLUE, ORANGE, GREEN, PURPLE = "#2B85C0", "#D55E00", "#009E73", "#B8659A"
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D")
# The colours of the confusion matrix, from no rows (the page's background) to all of them: readable under its text on a
# light and on a dark page.
_TINTS = [(0.17, 0.52, 0.75, 0.0), (0.17, 0.52, 0.75, 0.55)]
# Longer names of classes are cut.
_LONGEST = 18
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
            if not isinstance(version.quality, Quality):
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
            if not isinstance(version.quality, Quality) or version.quality.auc is None:
                continue
            false, true = zip(*version.quality.curve, strict=True)
            label = f"{version.version}: {version.quality.auc.value:.3f}"
            axes.plot(false, true, color=_COLOURS[at % 4], linestyle=_LINES[at % 4], label=label)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _finish(axes, "lower right")
        return _svg(figure, "roc")


def confusion(version: VersionReport) -> str:
    """The share of each label's rows by predicted class; in every cell the number of rows."""
    quality = version.quality
    if not isinstance(quality, ClassQuality):
        raise TypeError(version.task)
    matrix = np.asarray(quality.confusion)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = max(2.6, 0.9 + 0.42 * len(matrix))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(size + 0.8, size), layout="constrained")
        axes = figure.subplots()
        axes.pcolormesh(shares, cmap=LinearSegmentedColormap.from_list("share", _TINTS), vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                axes.annotate(f"{count:,}", (column + 0.5, row + 0.5), ha="center", va="center", fontsize=7)
        ticks = np.arange(len(matrix)) + 0.5
        names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in quality.names]
        axes.set_xticks(ticks, names, rotation=45, ha="right", fontsize=7)
        axes.set_yticks(ticks, names, fontsize=7)
        axes.invert_yaxis()
        axes.set_xlabel("predicted")
        axes.set_ylabel("label")
        return _svg(figure, f"confusion-{version.version}")


def residuals(versions: Sequence[VersionReport]) -> str:
    """Label minus prediction by prediction: the median, the middle half, and nine tenths of the rows."""
    measured = [(each.version, each.quality) for each in versions if isinstance(each.quality, ValueQuality)]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color=_INK, linewidth=0.8, alpha=0.5)
        for at, (name, quality) in enumerate(measured):
            colour, predicted = _COLOURS[at % 4], [each.predicted for each in quality.residuals]
            low, lower, median, upper, high = np.asarray([each.quantiles for each in quality.residuals]).T
            axes.fill_between(predicted, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.fill_between(predicted, lower, upper, color=colour, alpha=0.25, linewidth=0)
            axes.plot(predicted, median, color=colour, marker=_MARKERS[at % 4], markersize=3.5, label=name)
        axes.set_xlabel("predicted")
        axes.set_ylabel("label minus prediction")
        _finish(axes)
        return _svg(figure, "residuals")


def days(versions: Sequence[VersionReport]) -> str:
    """The first metric of quality and the largest stability index, day by day."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        metric, index = figure.subplots(1, 2)
        names = [name for version in versions for day in version.days for name in list(day.scores)[:1]]
        for at, version in enumerate(versions):
            style: dict[str, Any] = {
                "color": _COLOURS[at % 4],
                "marker": _MARKERS[at % 4],
                "markersize": 4,
                "label": version.version,
            }
            known = [
                (day.day[5:], day.scores[names[0]].value) for day in version.days if names and names[0] in day.scores
            ]
            metric.plot([day for day, _ in known], [value for _, value in known], **style)
            index.plot([day.day[5:] for day in version.days], [day.index for day in version.days], **style)
        metric.set_ylabel(names[0].replace("_", " ") if names else "quality")
        index.set_ylabel("largest stability index")
        for axes in (metric, index):
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
