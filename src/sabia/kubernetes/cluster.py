"""A namespace of a Kubernetes cluster, through its API: what is deployed, its state, and changes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import msgspec
import urllib3.exceptions
from kubernetes import client
from kubernetes.config import ConfigException, load_config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from sabia.contract import names
from sabia.contract.metrics import REQUESTS, samples
from sabia.contract.names import API_GROUP, API_VERSION, MODEL_LABEL, SERVICE_LABEL, SPEC_ANNOTATION, VERSION_LABEL
from sabia.kubernetes import pods
from sabia.kubernetes.definition import PLURAL
from sabia.kubernetes.errors import ClusterRefused, ClusterUnreachable, NotCounted

Document = dict[str, Any]

FIELD_MANAGER = "sabia"
_KSERVE = ("serving.kserve.io", "v1beta1", "inferenceservices")
_ROLLOUTS = (API_GROUP, API_VERSION, PLURAL)
_ROUTES = ("gateway.networking.k8s.io", "v1", "httproutes")
# Seconds to connect, and to wait for a response; a poll must not hang on an API server that is gone.
_TIMEOUT = (5, 30)


@dataclass(frozen=True, slots=True)
class Deployed:
    """One version on the cluster: its InferenceService."""

    name: str
    model: str
    version: str
    ready: bool
    reason: str

    @property
    def service(self) -> str:
        """The Service that KServe makes for it."""
        return names.service(self.name)


class Cluster:
    """One namespace of the cluster that `api` reaches.

    Every method raises `ClusterUnreachable` when the API does not respond, and `ClusterRefused` when it refuses.
    """

    def __init__(self, namespace: str, api: client.ApiClient) -> None:
        self.namespace = namespace
        self._api = api
        self._core = client.CoreV1Api(api)
        self._apps = client.AppsV1Api(api)
        self._custom = client.CustomObjectsApi(api)

    @property
    def api(self) -> client.ApiClient:
        """The client of the API."""
        return self._api

    @classmethod
    def connect(cls, namespace: str) -> Self:
        """The cluster that KUBECONFIG's current context names or, in a pod, the pod's own.

        Raises:
            ClusterUnreachable: neither exists.
        """
        try:
            configuration = client.Configuration()
            load_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise ClusterUnreachable("no kubeconfig is there; KUBECONFIG names one") from error
        configuration.retries = False
        return cls(namespace, client.ApiClient(configuration))

    def versions(self, model: str | None = None) -> list[Deployed]:
        """The deployed versions of one model or of all, ordered by model and version."""
        selector = f"{MODEL_LABEL}={model}" if model else MODEL_LABEL
        with _translated("to list InferenceServices"):
            found = self._custom.list_namespaced_custom_object(
                *_at(_KSERVE, self.namespace), label_selector=selector, _request_timeout=_TIMEOUT
            )
        deployed = map(_deployed, found["items"])
        return sorted(deployed, key=lambda item: (item.model, [part.zfill(9) for part in item.version.split(".")]))

    def models(self) -> list[str]:
        """The deployed models."""
        return sorted({item.model for item in self.versions()})

    def apply(self, documents: list[Document]) -> None:
        """Server-side apply, in this order; takes over fields that other managers own.

        Raises:
            ClusterRefused: one was refused; those before it are applied.
        """
        for document in documents:
            what = f"{document['kind']} {document['metadata']['name']}"
            with _translated(what):
                resource = self._dynamic.resources.get(api_version=document["apiVersion"], kind=document["kind"])
                self._dynamic.server_side_apply(
                    resource,
                    body=document,
                    namespace=document["metadata"].get("namespace", self.namespace) if resource.namespaced else None,
                    field_manager=FIELD_MANAGER,
                    force_conflicts=True,
                    _request_timeout=_TIMEOUT,
                )

    def delete(self, api_version: str, kind: str, name: str) -> None:
        """Delete one object and what it owns, if it exists."""
        with _translated(f"to delete {kind} {name}"):
            resource = self._dynamic.resources.get(api_version=api_version, kind=kind)
            try:
                resource.delete(name=name, namespace=self.namespace, _request_timeout=_TIMEOUT)
            except client.ApiException as error:
                if error.status != 404:
                    raise

    def route(self, name: str) -> Document | None:
        """The HTTPRoute, or None."""
        with _translated(f"to read HTTPRoute {name}"):
            try:
                found: Document = self._custom.get_namespaced_custom_object(
                    *_at(_ROUTES, self.namespace), name, _request_timeout=_TIMEOUT
                )
            except client.ApiException as error:
                if error.status == 404:
                    return None
                raise
            return found

    def replace_route(self, document: Document) -> Document | None:
        """Replace an HTTPRoute by a changed copy of it; None if it was changed concurrently."""
        name = document["metadata"]["name"]
        with _translated(f"HTTPRoute {name}"):
            try:
                found: Document = self._custom.replace_namespaced_custom_object(
                    *_at(_ROUTES, self.namespace),
                    name,
                    document,
                    field_manager=FIELD_MANAGER,
                    _request_timeout=_TIMEOUT,
                )
            except client.ApiException as error:
                if error.status == 409:
                    return None
                raise
            return found

    def rollouts(self) -> list[Document]:
        """The `Rollout` resources of the namespace."""
        with _translated("to list Rollouts"):
            found = self._custom.list_namespaced_custom_object(
                *_at(_ROLLOUTS, self.namespace), _request_timeout=_TIMEOUT
            )
        items: list[Document] = found["items"]
        return items

    def patch_rollout(self, name: str, patch: Document, *, status: bool = False) -> None:
        """Merge a patch into a `Rollout`, or into its status."""
        call = "patch_namespaced_custom_object" + ("_status" if status else "")
        with _translated(f"Rollout {name}"):
            getattr(self._custom, call)(*_at(_ROLLOUTS, self.namespace), name, patch, _request_timeout=_TIMEOUT)

    def has_rolled_out(self, deployed: Deployed, digest: str, *, at_least: int) -> bool:
        """Whether all pods of a version carry this digest (`SPEC_ANNOTATION`) and `at_least` of them are available."""
        call, selector = self._apps.list_namespaced_deployment, f"metadata.name={deployed.service}"
        deployments = self._items(f"to read Deployment {deployed.service}", call, field_selector=selector)
        return any(pods.has_rolled_out(item, SPEC_ANNOTATION, digest, at_least=at_least) for item in deployments)

    def trouble(self, deployed: Deployed) -> str:
        """Why a version is not ready, in one line, from the status of its pods; empty when that does not tell."""
        for pod in self.pods_of(deployed):
            found = pods.trouble(pod)
            if found is not None:
                line = self._last_line(pod, found) if found.container else ""
                return f"{found.what}: {line}" if line else found.what
        return ""

    def why_not_ready(self, deployed: Deployed) -> str:
        """The reason in the status of its pods or, without one, in that of KServe."""
        return self.trouble(deployed) or deployed.reason

    def requests_of(self, deployed: Deployed) -> int:
        """Requests that the pods of a version have counted since each of them started.

        Raises:
            NotCounted: a ready pod does not return its metrics.
        """
        return sum(self._counted(deployed, pod) for pod in self.pods_of(deployed) if pods.is_running(pod))

    def pods_of(self, deployed: Deployed) -> list[Document]:
        """Its pods, newest first: while pods are replaced, the new one's trouble matters."""
        call, selector = self._core.list_namespaced_pod, f"{SERVICE_LABEL}={deployed.name}"
        items = self._items("to list pods", call, label_selector=selector)
        return sorted(items, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)

    def _items(self, what: str, call: Callable[..., Any], **selector: str) -> list[Document]:
        """The documents that a listing call of the client returns for the namespace."""
        with _translated(what):
            found = call(self.namespace, _preload_content=False, _request_timeout=_TIMEOUT, **selector)
        items: list[Document] = msgspec.json.decode(found.data)["items"]
        return items

    @cached_property
    def _dynamic(self) -> DynamicClient:
        """The client for any kind. It reads the kinds from the API when made, so it is made once, when needed."""
        return DynamicClient(self._api)

    def _last_line(self, pod: Document, found: pods.Trouble) -> str:
        """The last line of a container's log; empty when there is no log."""
        try:
            answer = self._core.read_namespaced_pod_log(
                pod["metadata"]["name"],
                self.namespace,
                container=found.container,
                previous=found.previous,
                tail_lines=5,
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            )
        except (client.ApiException, urllib3.exceptions.HTTPError):
            return ""
        lines = [line.strip() for line in answer.data.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def _counted(self, deployed: Deployed, pod: Document) -> int:
        """Requests counted by one pod, through the API server, so that no port has to be opened for it."""
        name = pod["metadata"]["name"]
        try:
            answer = self._core.connect_get_namespaced_pod_proxy_with_path(
                f"{name}:8080", self.namespace, "metrics", _preload_content=False, _request_timeout=_TIMEOUT
            )
        except client.ApiException as error:
            # A pod that is not ready gets no request. The requests of a ready one must not be guessed.
            if any(item["metadata"]["name"] == name and pods.is_ready(item) for item in self.pods_of(deployed)):
                raise NotCounted(deployed.version, error.status) from error
            return 0
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnreachable(type(error).__name__) from error
        return int(sum(sample.value for sample in samples(answer.data.decode()) if sample.name == REQUESTS))


def _at(resource: tuple[str, str, str], namespace: str) -> tuple[str, str, str, str]:
    group, version, plural = resource
    return group, version, namespace, plural


def _deployed(document: Document) -> Deployed:
    metadata, status = document["metadata"], document.get("status", {})
    conditions = {item["type"]: item for item in status.get("conditions", [])}
    ready = conditions.get("Ready", {})
    # In Standard mode the generation in its status is the Deployment's, not this object's.
    return Deployed(
        name=metadata["name"],
        model=metadata["labels"][MODEL_LABEL],
        version=metadata["labels"].get(VERSION_LABEL, "0.0"),
        ready=ready.get("status") == "True",
        reason=" ".join(filter(None, (ready.get("reason", ""), ready.get("message", "")))) or "it has no status yet",
    )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Translate the errors of the client library."""
    try:
        yield
    except client.ApiException as error:
        raise ClusterRefused(what, _reason(error)) from error
    except ResourceNotFoundError as error:
        raise ClusterRefused(what, "it has no such kind of object; is the platform installed?") from error
    except urllib3.exceptions.HTTPError as error:
        raise ClusterUnreachable(type(error).__name__) from error


def _reason(error: client.ApiException) -> str:
    try:
        return str(msgspec.json.decode(error.body or b"")["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {error.status}"
