"""What the platform reads out of the manifests: a predictor, and a route. Facts only."""

from __future__ import annotations

from dataclasses import dataclass

_SERVICE_SUFFIX = "-predictor"


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe: GET `path`, every `period` seconds, `failures` times before it counts."""

    path: str
    period: float
    timeout: float
    failures: int


@dataclass(frozen=True, slots=True)
class PredictorSpec:
    """What an InferenceService says of its container."""

    name: str
    model: str
    version: str
    args: list[str]
    env: dict[str, str]
    storage_uri: str
    startup: Probe
    readiness: Probe

    @property
    def service(self) -> str:
        """The Service that KServe makes for it, which routes name as their backend."""
        return self.name + _SERVICE_SUFFIX


@dataclass(frozen=True, slots=True)
class Match:
    """One way to be matched: a path, whole or as a prefix of whole elements, and headers that must be equal."""

    path: str
    exact: bool
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests that match go to the backends (Service names) by weight, and a copy of each to the mirrors."""

    matches: list[Match]
    weights: dict[str, int]
    mirrors: list[str]
    timeout: float | None


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What an HTTPRoute says. The last rule is the split: the one that every request without a pin meets."""

    name: str
    hostnames: list[str]
    rules: list[Rule]

    @property
    def split(self) -> Rule:
        """The rule that carries stable, canary and weight."""
        return self.rules[-1]

    @property
    def services(self) -> list[str]:
        """Every Service that some rule names, in their order."""
        return list(dict.fromkeys(name for rule in self.rules for name in [*rule.weights, *rule.mirrors]))
