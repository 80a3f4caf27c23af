"""The report as one self-contained page, or as JSON."""

from __future__ import annotations

from importlib import resources

import jinja2
import msgspec

from sabia.monitoring import plots
from sabia.monitoring.document import Feature, Report, VersionReport
from sabia.monitoring.quality import Estimate, share
from sabia.rollout.summary import duration


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
        measured=[version for version in report.versions if version.quality is not None],
        total=sum(version.requests for version in report.versions),
        share=lambda count, total: share(round(count), round(total)),
        percent=_percent,
        points=_points,
        interval=_interval,
        milliseconds=_milliseconds,
        number=lambda value: "" if value is None else f"{value:.3f}",
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


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.3g} ms"


def _features(version: VersionReport) -> dict[str, Feature]:
    return {feature.name: feature for feature in version.features}
