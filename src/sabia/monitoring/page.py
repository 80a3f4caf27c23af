"""The report: facts as one page that needs nothing else, or as JSON."""

from __future__ import annotations

from importlib import resources

import jinja2
import msgspec

from sabia.monitoring import plots
from sabia.monitoring.document import Feature, Report, VersionReport
from sabia.monitoring.quality import Estimate, share
from sabia.rollout.summary import duration


def to_json(report: Report) -> bytes:
    """The facts, for programs."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def to_html(report: Report) -> str:
    """One file for people: no script, no font, nothing from elsewhere."""
    page = environment().get_template("report.html.j2")
    return page.render(
        report=report,
        plots=plots,
        style=style(),
        measured=[served for served in report.versions if served.quality is not None],
        total=sum(served.requests for served in report.versions),
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
    """Templates of this package; what they are given is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("sabia.monitoring", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> str:
    """The style of every page."""
    return resources.files("sabia.monitoring").joinpath("pages/style.css").read_text()


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %" if 0 < value < 0.1 or 0.9 < value < 1 else f"{100 * value:.1f} %"


def _points(found: Estimate) -> str:
    return f"{100 * found.value:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def _interval(found: Estimate) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.3g} ms"


def _features(served: VersionReport) -> dict[str, Feature]:
    return {feature.name: feature for feature in served.features}
