"""What commands and the live page need of the platform that serves a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from sabia.contract.layout import Version
from sabia.rollout.events import Action
from sabia.rollout.plan import Plan
from sabia.rollout.ports import Source, Split
from sabia.store.objects import Store


@dataclass(frozen=True, slots=True)
class Status:
    """What is served.

    Attributes:
        platform: facts about the platform, by name; JSON can hold them.
        versions: facts about each version, by name; every version has the same names.
        notes: lines for people.
    """

    platform: dict[str, Any]
    versions: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model takes V1 predictions: the URL, and the headers that a request needs to reach it."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """How versions are deployed.

    Attributes:
        replicas: pods of each version; None takes the manifest's number.
        host: host name of the route that the first version of a model makes; None takes `<model>.example.com`.
        faults: failures to inject, see `sabia.serving.inference.faults`.
        baseline: deploy a second copy of the version.
        seconds: the longest wait for a version to become ready.
        image: of a user's, with their class; None serves the version's artifact.
        model_class: the class in it, as `package.module:Class`.
        artifact: the class is given the version's artifact, as an `ArtifactModel` is.
    """

    replicas: int | None = None
    host: str | None = None
    faults: str | None = None
    baseline: bool = False
    seconds: float = 180.0
    image: str | None = None
    model_class: str | None = None
    artifact: bool = False


@dataclass(frozen=True, slots=True)
class RolloutView:
    """The state of a rollout.

    Attributes:
        phase: see `sabia.rollout.state`.
        conditions: `Paused` and `Held`, those that are true.
        summary: one sentence.
        details: everything that the last decision is based on, a line each.
        eta: seconds until the step can end at this traffic; None when that is unknown.
        at: time of the last look.
    """

    name: str
    model: str
    phase: str
    conditions: list[str]
    weights: dict[str, int]
    summary: str
    details: list[str]
    eta: float | None
    at: str
    ended: bool

    @property
    def label(self) -> str:
        """The phase with its conditions, such as `Stepping (Paused)`."""
        return f"{self.phase} ({', '.join(self.conditions)})" if self.conditions else self.phase

    def facts(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "name": self.name,
            "model": self.model,
            "phase": self.phase,
            "conditions": self.conditions,
            "weights": self.weights,
            "summary": self.summary,
            "details": self.details,
            "eta": self.eta,
            "at": self.at,
        }


class Platform(Protocol):
    """Where models are served. All but `models` is about one of them.

    Every method raises a `SabiaError` when the platform cannot be reached.
    """

    @property
    def model(self) -> str:
        """The model that was named, or the only one that is served."""

    def models(self) -> list[str]:
        """The models that are served, sorted."""

    def versions(self) -> list[str]:
        """The versions that it serves, baselines among them."""

    def store(self) -> Store:
        """The store that holds the versions and the records of rollouts."""

    def split(self) -> Split:
        """The weights and the mirror."""

    def source(self, prometheus: str | None = None) -> Source:
        """The counters of the versions: the servers' own, or those of the Prometheus at a URL."""

    def status(self) -> Status:
        """What is served."""

    def address(self, gateway: str) -> Address:
        """Where predictions are requested; `gateway` is the URL of a cluster's gateway."""

    def deploy(self, version: Version, options: Deployment) -> str:
        """Serve one more version, and return its name once it is ready; it gets no weight.

        Raises:
            NotOffered: this platform does not deploy.
        """

    def undeploy(self, version: str, *, quiet: float, seconds: float) -> None:
        """Remove a version once it has got no request for `quiet` seconds, waiting `seconds` at most.

        Raises:
            NotOffered: this platform does not deploy.
        """

    def start_rollout(self, plan: Plan, *, name: str | None, actor: str) -> str:
        """Start a rollout and return its name; no weight has moved yet.

        Raises:
            Incomparable: the plan's versions differ in what they predict.
        """

    def carry_out(self, name: str | None, *, foreground: bool, prometheus: str | None) -> None:
        """Carry out a rollout (None: the latest) until it ends; `foreground` does so in this process.

        Raises:
            NotOffered: another process always does.
        """

    def rollout(self, name: str | None) -> RolloutView:
        """One rollout, by name, else the latest."""

    def act(self, name: str | None, action: Action, *, actor: str, version: str | None) -> str:
        """Take an action on a rollout (None: the latest) and return its name.

        The engine, or the operator, carries it out; `version` names the canary of a rollout with several.
        """
