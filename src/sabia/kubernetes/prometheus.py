"""Counters from a Prometheus that scrapes the predictors: instant queries, all of them for one instant.

Prometheus scrapes its targets at different times, so both arms are up to one scrape interval apart. That is fine while
the interval is short beside the time between two looks; the servers' own pages (`sabia.kubernetes.scraping`) are exact.
A sample older than `stale` seconds is taken for a server that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import requests

from sabia.contract import metrics, names
from sabia.contract.metrics import Sample
from sabia.rollout.counters import Counters, Scrape
from sabia.rollout.errors import InvalidPlan, NotScraped
from sabia.rollout.samples import counters_from_samples

_TIMEOUT = 10.0
# One query for each kind of sample; the instant is given, so that all are of one.
_COMPARED = (
    metrics.REQUESTS,
    metrics.REQUEST_SECONDS + metrics.BUCKET_SUFFIX,
    metrics.DECISION_SECONDS + metrics.BUCKET_SUFFIX,
    metrics.PREDICTIONS,
)


class Prometheus:
    """The source of one model's versions in a Prometheus.

    Args:
        url: where it is.
        model: whose counters.
        versions: the versions of the rollout; one that it knows nothing of is in trouble.
        stale: seconds after which a server's last sample does not count.
        clock: seconds since the epoch, as Prometheus counts them.

    Raises:
        InvalidPlan: one of the versions is a baseline, whose servers export the number of the version that they copy.
    """

    def __init__(
        self,
        url: str,
        model: str,
        versions: Sequence[str],
        *,
        stale: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if any(names.is_baseline(version) for version in versions):
            raise InvalidPlan(
                "baseline", "cannot be distinguished from its original in Prometheus; read the servers' own pages"
            )
        self._url = url.rstrip("/")
        self._model = model
        self._versions = tuple(versions)
        self._stale = stale
        self._clock = clock

    def scrape(self) -> Scrape:
        """See `Source.scrape`."""
        at = self._clock()
        fresh = {
            (labels["version"], labels["instance"])
            for labels, value in self._ask(f'timestamp({metrics.MODEL_INFO}{{model="{self._model}"}})', at)
            if at - float(value) <= self._stale
        }
        if not fresh:
            raise NotScraped(f"Prometheus has no sample of {self._model} that is newer than {self._stale:g} s")
        found: dict[tuple[str, str], list[Sample]] = {}
        for name in _COMPARED:
            for labels, value in self._ask(f'{name}{{model="{self._model}",route="{names.SPLIT}"}}', at):
                replica = labels["version"], labels["instance"]
                if replica in fresh:
                    found.setdefault(replica, []).append(Sample(labels["__name__"], labels, float(value)))
        arms: dict[str, dict[str, Counters]] = {}
        for (version, instance), samples in found.items():
            arms.setdefault(version, {})[instance] = counters_from_samples(samples)
        trouble = {v: "Prometheus has no recent sample of it" for v in self._versions if v not in arms}
        return Scrape(arms, {}, trouble)

    def _ask(self, query: str, at: float) -> list[tuple[Mapping[str, str], str]]:
        """The vector that a query gives at an instant: labels and value.

        Raises:
            NotScraped: there is no answer, or not one of that kind.
        """
        parameters = {"query": query, "time": f"{at:.3f}"}
        try:
            answer = requests.get(f"{self._url}/api/v1/query", params=parameters, timeout=_TIMEOUT)
            document: dict[str, Any] = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise NotScraped(f"Prometheus does not answer ({type(error).__name__})") from error
        if document.get("status") != "success":
            raise NotScraped(f"Prometheus refuses a query: {document.get('error', answer.status_code)}")
        return [(item["metric"], item["value"][1]) for item in document["data"]["result"]]
