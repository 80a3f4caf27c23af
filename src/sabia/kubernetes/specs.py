"""What a stack takes from the manifests: predictors, and a route."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sabia.contract import names
from sabia.contract.layout import Version


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe: GET `path`, every `period` seconds, `failures` times before it counts."""

    path: str
    period: float
    timeout: float
    failures: int


@dataclass(frozen=True, slots=True)
class PredictorSpec:
    """The container of an InferenceService."""

    name: str
    model: str
    version: str
    args: list[str]
    env: dict[str, str]
    storage_uri: str
    startup: Probe
    readiness: Probe
    replicas: int = 1

    @property
    def service(self) -> str:
        """The Service that KServe makes for it, which routes name as their backend."""
        return names.service(self.name)


def of_version(spec: PredictorSpec, version: str) -> PredictorSpec:
    """The same server for another version of the same model."""
    name = names.inference_service(spec.model, Version.parse(version))
    args = [f"--model_version={version}" if arg.startswith("--model_version=") else arg for arg in spec.args]
    uri = spec.storage_uri.removesuffix(f"/{spec.version}/") + f"/{version}/"
    return replace(spec, name=name, version=version, args=args, storage_uri=uri)


@dataclass(frozen=True, slots=True)
class Match:
    """One way to be matched: a path, whole or as a prefix of whole elements, and headers that must be equal."""

    path: str
    exact: bool
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """Matching requests go to the backends (Service names) by weight, and a copy of each to the mirrors."""

    matches: list[Match]
    weights: dict[str, int]
    mirrors: list[str]
    timeout: float | None

    @property
    def pinned(self) -> bool:
        """Whether a request needs a header to meet it."""
        return any(match.headers for match in self.matches)


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """An HTTPRoute: the split, which takes every request that is not pinned, and the pins."""

    name: str
    hostnames: list[str]
    split: Rule
    pins: list[Rule]

    @property
    def rules(self) -> list[Rule]:
        """All of them."""
        return [self.split, *self.pins]

    @property
    def services(self) -> list[str]:
        """Every Service that some rule names, in their order."""
        return list(dict.fromkeys(name for rule in self.rules for name in [*rule.weights, *rule.mirrors]))

    def with_version(self, spec: PredictorSpec, header: str) -> RouteSpec:
        """The route with one version more: a pin by a header, and no weight."""
        matches = [replace(match, headers={header: spec.version}) for match in self.split.matches]
        if not names.is_baseline(spec.version):
            # A V2 path that names the version is a pin too.
            matches.append(Match(f"{names.v2_model(spec.model)}/versions/{spec.version}", exact=False, headers={}))
        pin = Rule(matches, {spec.service: 1}, [], self.split.timeout)
        split = replace(self.split, weights={**self.split.weights, spec.service: 0})
        return replace(self, split=split, pins=[*self.pins, pin])
