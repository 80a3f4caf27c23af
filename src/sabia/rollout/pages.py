"""Counters from the servers' own pages: every replica of every version asked at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

from sabia.contract.metrics import samples
from sabia.contract.names import METRICS_PATH
from sabia.rollout import page
from sabia.rollout.counters import Counters, Gateway, Scrape
from sabia.rollout.errors import NotScraped

_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One server of a version: what it is called, and its URL."""

    version: str
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Found:
    """Where to look now.

    Attributes:
        replicas: servers that answer calls.
        trouble: versions that cannot serve, and why.
    """

    replicas: list[Replica]
    trouble: Mapping[str, str]


class Pages:
    """The pages of the replicas that `find` names at every scrape, and what the gateway counts apart, if it does."""

    def __init__(
        self, find: Callable[[], Found], gateway: Callable[[], dict[str, Gateway]] = dict[str, Gateway]
    ) -> None:
        self._find = find
        self._gateway = gateway

    def scrape(self) -> Scrape:
        """See `Source.scrape`."""
        found = self._find()
        with ThreadPoolExecutor(len(found.replicas) + 1) as pool:
            asked = pool.submit(self._gateway)
            pages = list(pool.map(_read, found.replicas))
            gateway = asked.result()
        arms: dict[str, dict[str, Counters]] = {}
        trouble = dict(found.trouble)
        for replica, text in zip(found.replicas, pages, strict=True):
            if text is None:
                trouble.setdefault(replica.version, "its server does not answer")
            else:
                arms.setdefault(replica.version, {})[replica.name] = page.counters(samples(text))
        if not arms:
            raise NotScraped("no server of any version answers")
        return Scrape(arms, gateway, trouble)


def _read(replica: Replica) -> str | None:
    """The page; None when nobody is there.

    Raises:
        NotScraped: somebody is, and does not give it.
    """
    try:
        answer = requests.get(f"{replica.url}{METRICS_PATH}", timeout=_TIMEOUT)
    except requests.ConnectionError:
        return None
    except requests.RequestException as error:
        raise NotScraped(f"{replica.version} does not answer in time ({type(error).__name__})") from error
    if not answer.ok:
        raise NotScraped(f"{replica.version} answers {answer.status_code} for its metrics")
    return answer.text
