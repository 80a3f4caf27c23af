"""What a stack serves: the routes and the predictors of manifests, with the versions and changes that `sabia up` names.

One stack serves several models; each has a route of its own, and its versions compete for that route's requests alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sabia.contract import names
from sabia.contract.layout import Version, check_model_name
from sabia.contract.names import PIN_HEADER
from sabia.kubernetes import documents, manifests
from sabia.kubernetes import route as routes
from sabia.kubernetes.errors import ManifestProblem
from sabia.kubernetes.specs import PredictorSpec, RouteSpec, of_version

_WHERE = "the versions to serve"
_NAMESPACE = "sabia"


@dataclass(frozen=True, slots=True)
class Serving:
    """Changes to what the manifests serve. A version is named `1.2`, or `MODEL/1.2` where there are several models.

    Attributes:
        extra: versions without a manifest. Each can be pinned, and its weight is 0; the first one of a model that has
            no route makes the route, and gets every request.
        replicas: the number of servers, where it is not one.
        faults: failures to inject, see `sabia.serving.inference.faults`.
        baselines: versions that get a second copy, named by `sabia.contract.names.baseline`; its weight is 0.
    """

    extra: Sequence[str] = ()
    replicas: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    baselines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Composition:
    """The routes by model, and the predictors by Service."""

    routes: dict[str, RouteSpec]
    specs: dict[str, PredictorSpec]

    def of_model(self, model: str) -> list[PredictorSpec]:
        """The predictors of one model."""
        return [spec for spec in self.specs.values() if spec.model == model]

    def find(self, text: str) -> tuple[str, str]:
        """The model and the version that `MODEL/VERSION` or `VERSION` names; the version may be unknown.

        Raises:
            ManifestProblem: no model is named, and there is not exactly one.
        """
        model, separator, version = text.rpartition("/")
        if separator:
            return check_model_name(model), version
        if len(self.routes) != 1:
            known = ", ".join(self.routes) or "none"
            raise ManifestProblem(_WHERE, f"{text} names no model, and there are {known}; write MODEL/{text}")
        return next(iter(self.routes)), version


def compose(root: Path | None, serving: Serving) -> Composition:
    """What the manifests in `root` serve, with the changes of `serving`; without `root`, its extra versions alone.

    Raises:
        ManifestProblem: a manifest cannot be used, or `serving` changes a version that is not served.
    """
    composition = _of_manifests(root) if root is not None else Composition({}, {})
    for text in serving.extra:
        composition = _with_version(composition, text)
    for text in serving.baselines:
        composition = _with_baseline(composition, text)
    replicas = {composition.find(text): count for text, count in serving.replicas.items()}
    faults = {composition.find(text): fault for text, fault in serving.faults.items()}
    _check_known(composition, [*replicas, *faults])
    specs = {
        service: _changed(spec, replicas.get((spec.model, spec.version)), faults.get((spec.model, spec.version)))
        for service, spec in composition.specs.items()
    }
    return replace(composition, specs=specs)


def _of_manifests(root: Path) -> Composition:
    """The routes of `traffic/`, and the predictors of `versions/` that they name."""
    known = {spec.service: spec for spec in manifests.predictors(root)}
    found = Composition({}, {})
    for route in manifests.routes(manifests.render(root / "traffic"), where="traffic"):
        missing = [service for service in route.services if service not in known]
        if missing:
            raise ManifestProblem("traffic", f"no folder under versions/ makes the Service {missing[0]!r}")
        specs = {service: known[service] for service in route.services}
        models = sorted({spec.model for spec in specs.values()})
        if len(models) != 1:
            raise ManifestProblem("traffic", f"the versions of route {route.name!r} are of {len(models)} models")
        if models[0] in found.routes:
            raise ManifestProblem("traffic", f"there are two routes of {models[0]!r}")
        found = Composition({**found.routes, models[0]: route}, {**found.specs, **specs})
    return found


def _with_version(composition: Composition, text: str) -> Composition:
    """The composition with one version more, which is like the model's first, or like the base."""
    model, version = composition.find(text)
    existing = composition.of_model(model)
    if existing:
        spec = of_version(existing[0], version)
        if spec.service in composition.specs:
            return composition
        return _joined(composition, spec)
    name = names.inference_service(model, Version.parse(version))
    rendered = documents.documents(model, Version.parse(version), namespace=_NAMESPACE)
    spec = manifests.predictor(rendered, where=name)
    template = manifests.only(manifests.render(manifests.ROOT / "traffic"), "HTTPRoute", "traffic")
    backend = routes.Backend(model, version, spec.service)
    made = routes.new(template, backend, namespace=_NAMESPACE, host=f"{model}.example.com")
    route = manifests.route([made], where=model)
    return Composition({**composition.routes, model: route}, {**composition.specs, spec.service: spec})


def _with_baseline(composition: Composition, text: str) -> Composition:
    model, version = composition.find(text)
    _check_known(composition, [(model, version)])
    for spec in [spec for spec in composition.of_model(model) if spec.version == version]:
        name = names.inference_service(model, Version.parse(version), baseline=True)
        composition = _joined(composition, replace(spec, name=name, version=names.baseline(version)))
    return composition


def _joined(composition: Composition, spec: PredictorSpec) -> Composition:
    route = composition.routes[spec.model].with_version(spec, PIN_HEADER)
    return Composition({**composition.routes, spec.model: route}, {**composition.specs, spec.service: spec})


def _check_known(composition: Composition, versions: Iterable[tuple[str, str]]) -> None:
    known = {(spec.model, spec.version) for spec in composition.specs.values()}
    for model, version in versions:
        if (model, version) not in known:
            served = ", ".join(sorted(each for owner, each in known if owner == model)) or "none"
            raise ManifestProblem(_WHERE, f"there is no version {version} of {model}; there are {served}")


def _changed(spec: PredictorSpec, replicas: int | None, faults: str | None) -> PredictorSpec:
    env = spec.env | ({"SABIA_FAULTS": faults} if faults else {})
    return replace(spec, replicas=replicas or spec.replicas, env=env)
