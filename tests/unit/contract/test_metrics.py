"""The parser of `/metrics` pages, against Prometheus' own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sabia.contract.metrics import REQUESTS, Sample, samples

# What a feature's name may hold: braces, quotes, commas, backslashes, line ends.
TEXT = st.text(st.sampled_from('ab {}=",\\\n# é'), max_size=12)


def reference(page: str) -> list[Sample]:
    """The samples as Prometheus' client parses them."""
    families = text_string_to_metric_families(page)
    return [Sample(found.name, found.labels, found.value) for family in families for found in family.samples]


@given(st.lists(st.tuples(TEXT, TEXT, st.floats(0, 1e9)), max_size=5))
def test_a_page_is_parsed_as_prometheus_parses_it(rows: list[tuple[str, str, float]]) -> None:
    registry = CollectorRegistry()
    counter = Counter("sabia_requests", "Requests.", ["model", "feature"], registry=registry)
    histogram = Histogram("sabia_request_duration_seconds", 'With "quotes" {1}.', ["model"], registry=registry)
    Gauge("process_open_fds", "No labels.", registry=registry).set(3)
    for model, feature, value in rows:
        counter.labels(model, feature).inc(value)
        histogram.labels(model).observe(value)
    page = generate_latest(registry).decode()
    assert list(samples(page)) == reference(page)


def test_a_feature_whose_name_holds_a_brace_hides_no_other_sample() -> None:
    """A page with such a feature stopped the rollout: what followed the brace was taken for the value."""
    page = (
        'sabia_inputs_out_of_range_total{feature="mean} area",model="m",version="1.0"} 1.0\n'
        f'{REQUESTS}{{model="m",route="split",status_class="2xx",version="1.0"}} 4.0 1700000000\n'
    )
    labels = {"model": "m", "route": "split", "status_class": "2xx", "version": "1.0"}
    assert list(samples(page))[1:] == [Sample(REQUESTS, labels, 4.0)]


def test_values_that_are_not_finite_are_parsed() -> None:
    assert [sample.value for sample in samples("a +Inf\nb -Inf\n")] == [float("inf"), float("-inf")]
