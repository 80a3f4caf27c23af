"""Counters from the predictors' own `/metrics` pages: every replica of every version, scraped concurrently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

from sabia.contract.metrics import samples
from sabia.contract.names import METRICS_PATH
from sabia.rollout.counters import Counters, Gateway, Scrape
from sabia.rollout.errors import NotScraped
from sabia.rollout.samples import counters_from_samples

_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One server of a version: its name and URL."""

    version: str
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Replicas:
    """The servers of a model at one moment.

    Attributes:
        serving: servers that answer requests.
        trouble: versions that cannot serve, and why.
    """

    serving: list[Replica]
    trouble: Mapping[str, str]


class PageSource:
    """The pages of the replicas that `discover` lists at every scrape, and the gateway's counters of each version."""

    def __init__(
        self, discover: Callable[[], Replicas], gateway: Callable[[], dict[str, Gateway]] = dict[str, Gateway]
    ) -> None:
        self._discover = discover
        self._gateway = gateway

    def scrape(self) -> Scrape:
        """See `Source.scrape`."""
        replicas = self._discover()
        with ThreadPoolExecutor(len(replicas.serving) + 1) as pool:
            gateway_counts = pool.submit(self._gateway)
            pages = list(pool.map(_page, replicas.serving))
            gateway = gateway_counts.result()
        arms: dict[str, dict[str, Counters]] = {}
        trouble = dict(replicas.trouble)
        for replica, text in zip(replicas.serving, pages, strict=True):
            if text is None:
                trouble.setdefault(replica.version, "its server does not respond")
            else:
                arms.setdefault(replica.version, {})[replica.name] = counters_from_samples(samples(text))
        if not arms:
            raise NotScraped("no server of any version responds")
        return Scrape(arms, gateway, trouble)


def _page(replica: Replica) -> str | None:
    """The page; None if nothing listens there.

    Raises:
        NotScraped: the server does not return it.
    """
    try:
        response = requests.get(f"{replica.url}{METRICS_PATH}", timeout=_TIMEOUT)
    except requests.ConnectionError:
        return None
    except requests.RequestException as error:
        raise NotScraped(f"{replica.version} does not respond in time ({type(error).__name__})") from error
    if not response.ok:
        raise NotScraped(f"{replica.version} returns {response.status_code} for its metrics")
    return response.text
