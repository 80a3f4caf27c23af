"""The report as one self-contained page, or as JSON."""

from __future__ import annotations

from importlib import resources

import jinja2
import msgspec

from sabia.monitoring import plots
from sabia.monitoring.document import Feature, Report, VersionReport
from sabia.monitoring.drift import FeatureDrift
from sabia.monitoring.quality import ClassQuality, Estimate, Quality, ValueQuality, share
from sabia.rollout.summary import duration

# A table of drift has at most this many features; the JSON document has all.
_TABLE_ROWS = 200


def to_json(report: Report) -> bytes:
    """The report for programs."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def to_html(report: Report) -> str:
    """The report for people: one file without scripts or external resources."""
    page = environment().get_template("report.html.j2")
    return page.render(
        report=report,
        plots=plots,
        style=style(),
        binary=[each for each in report.versions if isinstance(each.quality, Quality)],
        classes=[each for each in report.versions if isinstance(each.quality, ClassQuality)],
        values=[each for each in report.versions if isinstance(each.quality, ValueQuality)],
        headline=_headline,
        largest=_largest,
        unit=_unit,
        total=sum(version.requests for version in report.versions),
        share=lambda count, total: share(round(count), round(total)),
        percent=_percent,
        points=_points,
        interval=_interval,
        milliseconds=_milliseconds,
        number=lambda value: "" if value is None else f"{value:.3f}",
        figure=_figure,
        signed=_signed,
        duration=duration,
        features=_features,
    )


def environment() -> jinja2.Environment:
    """The templates of this package, with escaping."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("sabia.monitoring", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> str:
    """The style sheet of all pages."""
    return resources.files("sabia.monitoring").joinpath("pages/style.css").read_text()


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %" if 0 < value < 0.1 or 0.9 < value < 1 else f"{100 * value:.1f} %"


def _points(estimate: Estimate) -> str:
    return f"{100 * estimate.value:+.2f} ({100 * estimate.low:+.2f} to {100 * estimate.high:+.2f})"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _figure(estimate: Estimate) -> str:
    """An estimate of any size, with its interval."""
    return f"{estimate.value:,.4g} ({estimate.low:,.4g} to {estimate.high:,.4g})"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+,.4g} ({estimate.low:+,.4g} to {estimate.high:+,.4g})"


def _unit(version: VersionReport) -> str:
    """The unit of a prediction, behind a space; empty if there is none."""
    return "" if version.unit in ("1", "unstated") else f" {version.unit}"


def _headline(version: VersionReport) -> str:
    """The first metric of a version's quality, and the same at publishing; empty without labels."""
    if version.quality is None:
        return ""
    name, estimate = next(iter(version.quality.scores.items()))
    shown = _percent if name == "accuracy" else "{:.4g}".format
    published = f" ({shown(version.published[name])} when published)" if name in version.published else ""
    return f"{name.replace('_', ' ')} {shown(estimate.value)} on {version.quality.rows:,} labelled rows{published}"


def _largest(version: VersionReport) -> list[FeatureDrift]:
    """The features of a version's table of drift: drifted ones first, then by index."""
    return sorted(version.drift, key=lambda each: (not each.drifted, -each.index))[:_TABLE_ROWS]


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.3g} ms"


def _features(version: VersionReport) -> dict[str, Feature]:
    return {feature.name: feature for feature in version.features}
