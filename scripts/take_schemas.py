"""`python scripts/take_schemas.py`: take from a live cluster the schemas that the manifests are checked against.

Reads the OpenAPI documents of the cluster that KUBECONFIG points to, keeps the kinds that the manifests use, drops
descriptions, and writes one file for each API group and version to tests/unit/manifests/schemas/, with `versions.json`
beside them: what the cluster ran when they were taken.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "tests" / "unit" / "manifests" / "schemas"

KINDS = {
    "api/v1": ["ConfigMap", "Namespace", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"],
    "apis/apiextensions.k8s.io/v1": ["CustomResourceDefinition"],
    "apis/apps/v1": ["Deployment", "StatefulSet"],
    "apis/autoscaling/v2": ["HorizontalPodAutoscaler"],
    "apis/batch/v1": ["CronJob", "Job"],
    "apis/gateway.networking.k8s.io/v1": ["Gateway", "GatewayClass", "HTTPRoute"],
    "apis/gateway.envoyproxy.io/v1alpha1": ["BackendTrafficPolicy", "EnvoyProxy", "SecurityPolicy"],
    "apis/networking.k8s.io/v1": ["NetworkPolicy"],
    "apis/policy/v1": ["PodDisruptionBudget"],
    "apis/rbac.authorization.k8s.io/v1": ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    "apis/serving.kserve.io/v1alpha1": ["ClusterStorageContainer", "ServingRuntime"],
    "apis/serving.kserve.io/v1beta1": ["InferenceService"],
}


def kubectl(*arguments: str) -> str:
    """What kubectl prints."""
    return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Write the schemas and the versions."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for path, kinds in KINDS.items():
        document = json.loads(kubectl("get", "--raw", f"/openapi/v3/{path}"))
        schemas = document["components"]["schemas"]
        roots = {kind: name for kind in kinds for name, schema in schemas.items() if _is_kind(schema, kind)}
        missing = sorted(set(kinds) - set(roots))
        if missing:
            raise SystemExit(f"{path} has no {', '.join(missing)}")
        wanted = _with_references(set(roots.values()), schemas)
        kept = {name: _bare(schemas[name]) for name in sorted(wanted)}
        _write(path.removeprefix("apis/").replace("/", "_"), {"kinds": roots, "components": {"schemas": kept}})
    _write("versions", _versions())


def _is_kind(schema: dict[str, Any], kind: str) -> bool:
    return any(item["kind"] == kind for item in schema.get("x-kubernetes-group-version-kind", []))


def _with_references(names: set[str], schemas: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    while names:
        found |= names
        names = {ref for name in names for ref in _references(schemas[name])} - found
    return found


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {ref for item in value for ref in _references(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
    return own | {ref for item in value.values() for ref in _references(item)}


def _bare(value: Any) -> Any:
    """The schema without prose. A property may itself be called "description"; that one is an object and stays."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _bare(item) for key, item in value.items() if not (key == "description" and isinstance(item, str))}


def _versions() -> dict[str, str]:
    server = json.loads(kubectl("get", "--raw", "/version"))["gitVersion"]
    bundle = r"jsonpath={.metadata.annotations.gateway\.networking\.k8s\.io/bundle-version}"
    gateway = kubectl("get", "crd", "httproutes.gateway.networking.k8s.io", "-o", bundle)
    image = r"jsonpath={.spec.template.spec.containers[0].image}"
    kserve = kubectl("get", "deployment", "-n", "kserve", "kserve-controller-manager", "-o", image)
    return {"kubernetes": server, "gateway-api": gateway, "kserve": kserve.rpartition(":")[2]}


def _write(name: str, document: Any) -> None:
    (TARGET / f"{name}.json").write_text(json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
