"""What a stack serves: the route and the predictors of the manifests, with the changes that `sabia up` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.contract.names import PIN_HEADER
from sabia.kubernetes import manifests
from sabia.kubernetes.errors import ManifestProblem
from sabia.kubernetes.specs import PredictorSpec, RouteSpec, of_version


@dataclass(frozen=True, slots=True)
class Serving:
    """Changes to what the manifests serve, by version.

    Attributes:
        extra: versions without a manifest; each can be pinned, and its weight is 0.
        replicas: the number of servers, where it is not one.
        faults: failures to inject, see `sabia.serving.inference.faults`.
        baselines: versions that get a second copy, named by `sabia.contract.names.baseline`; its weight is 0.
    """

    extra: Sequence[str] = ()
    replicas: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    baselines: Sequence[str] = ()


def compose(root: Path, serving: Serving) -> tuple[RouteSpec, dict[str, PredictorSpec]]:
    """The route of the manifests in `root`, and its predictors by Service, with the changes of `serving`.

    Raises:
        ManifestProblem: a manifest cannot be used, or `serving` changes a version that is not served.
    """
    route = manifests.route(manifests.render(root / "traffic"), where="traffic")
    return _changed(serving, route, _specs_of(route, list(manifests.predictors(root))))


def _specs_of(route: RouteSpec, specs: list[PredictorSpec]) -> dict[str, PredictorSpec]:
    """The predictors that the route names, by Service."""
    known = {spec.service: spec for spec in specs}
    missing = [service for service in route.services if service not in known]
    if missing:
        raise ManifestProblem("traffic", f"no folder under versions/ makes the Service {missing[0]!r}")
    found = {service: known[service] for service in route.services}
    if len({spec.model for spec in found.values()}) != 1:
        raise ManifestProblem("traffic", "its versions are of more than one model")
    return found


def _changed(
    serving: Serving, route: RouteSpec, specs: dict[str, PredictorSpec]
) -> tuple[RouteSpec, dict[str, PredictorSpec]]:
    """The route and its predictors with the changes of `serving`."""
    first = next(iter(specs.values()))
    for version in serving.extra:
        spec = of_version(first, version)
        if spec.service not in specs:
            route, specs = route.with_version(spec, PIN_HEADER), {**specs, spec.service: spec}
    for version in serving.baselines:
        for spec in [spec for spec in specs.values() if spec.version == version]:
            name = names.inference_service(spec.model, Version.parse(version), baseline=True)
            copy = replace(spec, name=name, version=names.baseline(version))
            route, specs = route.with_version(copy, PIN_HEADER), {**specs, copy.service: copy}
    known = {spec.version for spec in specs.values()}
    unknown = sorted({*serving.replicas, *serving.faults, *serving.baselines} - known)
    if unknown:
        raise ManifestProblem(
            "the versions to serve", f"there is no version {unknown[0]}; there are {', '.join(sorted(known))}"
        )
    return route, {service: _changed_spec(spec, serving) for service, spec in specs.items()}


def _changed_spec(spec: PredictorSpec, serving: Serving) -> PredictorSpec:
    faults = serving.faults.get(spec.version)
    env = spec.env | ({"SABIA_FAULTS": faults} if faults else {})
    return replace(spec, replicas=serving.replicas.get(spec.version, spec.replicas), env=env)
