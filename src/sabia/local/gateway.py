"""The gateway's configuration, derived from HTTPRoutes: documents in, documents out, no process.

Envoy watches two files: one lists the backends (clusters), one the routes with their weights. A file is replaced by
renaming a new one over it, so that Envoy never reads half of it, and a change of weights touches nothing but the
route: connections and requests under way stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sabia.kubernetes.specs import Match, PredictorSpec, RouteSpec, Rule

Document = dict[str, Any]

CLUSTERS_FILE = "clusters.json"
ROUTES_FILE = "routes.json"
ROUTE_CONFIG = "split"

_TYPE = "type.googleapis.com/"
_CLUSTER = _TYPE + "envoy.config.cluster.v3.Cluster"
_ROUTES = _TYPE + "envoy.config.route.v3.RouteConfiguration"
_ROUTER = _TYPE + "envoy.extensions.filters.http.router.v3.Router"
_MANAGER = _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_HEADER_MUTATION = _TYPE + "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Shorter than the predictor keeps idle connections, so that the gateway is the one that closes them.
_IDLE = "60s"
_DEFAULT_TIMEOUT = 60.0

# Pinned and mirrored requests go to a cluster of their own with the same server: Envoy's counters of the other cluster
# are then of requests that the weights sent, and can be compared.
ASIDE = ".aside"


# Envoy marks the copies that it mirrors by the end of the host name, so no client's may end so.
_NO_SHADOW: Document = {
    "name": "no-shadow-host",
    "match": {
        "prefix": "/",
        "headers": [{"name": ":authority", "string_match": {"safe_regex": {"regex": ".*-shadow(:.*)?"}}}],
    },
    "direct_response": {
        "status": 400,
        "body": {"inline_string": '{"error":"A host name that ends in -shadow is the mark of a mirrored request."}'},
    },
}


def bootstrap(*, port: int, admin_port: int, folder: Path) -> Document:
    """Envoy's bootstrap: one listener and the admin page on loopback, everything else from the files in `folder`."""
    return {
        "node": {"id": "sabia", "cluster": "sabia"},
        "admin": {"address": _address(admin_port)},
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"overload.global_downstream_max_connections": 50000}}]
        },
        "dynamic_resources": {"cds_config": _file(folder, CLUSTERS_FILE)},
        "static_resources": {
            "listeners": [
                {
                    "name": "http",
                    "address": _address(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": _manager(folder)}]}],
                }
            ]
        },
    }


def _manager(folder: Path) -> Document:
    return {
        "@type": _MANAGER,
        "stat_prefix": "gateway",
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": _file(folder, ROUTES_FILE)},
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # Every client is outside, also one on loopback, or one that says that it was forwarded: Envoy's own headers
        # would let it choose timeouts and retries, which are counted against a version.
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "early_header_mutation_extensions": [
            {
                "name": "own-headers",
                "typed_config": {
                    "@type": _HEADER_MUTATION,
                    "mutations": [{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-", "ignore_case": True}}}],
                },
            }
        ],
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
    }


def _file(folder: Path, name: str) -> Document:
    source = {"path": str(folder / name), "watched_directory": {"path": str(folder)}}
    return {"path_config_source": source, "resource_api_version": "V3"}


def _address(port: int) -> Document:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def clusters(backends: Mapping[str, tuple[PredictorSpec, Sequence[int]]]) -> Document:
    """The clusters file: two clusters for each Service, with the ports of its predictors."""
    found = [(service + suffix, backend) for service, backend in sorted(backends.items()) for suffix in ("", ASIDE)]
    return _discovery([_cluster(name, spec, ports) for name, (spec, ports) in found])


def _cluster(name: str, spec: PredictorSpec, ports: Sequence[int]) -> Document:
    probe = spec.readiness
    return {
        "@type": _CLUSTER,
        "name": name,
        "alt_stat_name": name.replace(".", "_"),
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}} for port in ports]}],
        },
        # The readiness probe, polled by the gateway: a server that is not ready gets no request, as on a cluster.
        "health_checks": [
            {
                "http_health_check": {"path": probe.path},
                "timeout": f"{probe.timeout:g}s",
                "interval": f"{probe.period:g}s",
                "no_traffic_interval": f"{probe.period:g}s",
                "unhealthy_threshold": probe.failures,
                "healthy_threshold": 1,
            }
        ],
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": _TYPE + _HTTP_OPTIONS,
                "common_http_protocol_options": {"idle_timeout": _IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def routes(specs: Sequence[RouteSpec]) -> Document:
    """The routes file of several models. Every host name matches, so that clients need not send the routes' own."""
    return _routes([entry for spec in specs for entry in _entries_of(spec)])


def replaced(document: Document, spec: RouteSpec) -> Document:
    """The routes file with another route for one model; those of the other models stay."""
    others = [route for route in _entries(document) if route["name"] != spec.name]
    return _routes([*others, *_entries_of(spec)])


def _routes(entries: list[Document]) -> Document:
    # The Gateway API's precedence: exact paths, then longer prefixes, then more headers, then the order of the rules.
    entries = sorted(entries, key=lambda entry: _precedence(entry["match"]))
    host = {"name": "models", "domains": ["*"], "routes": [_NO_SHADOW, *entries]}
    return _discovery([{"@type": _ROUTES, "name": ROUTE_CONFIG, "virtual_hosts": [host]}])


def _entries_of(spec: RouteSpec) -> list[Document]:
    """The entries of a route: each path, and its form with a colon that is escaped, which is the same path."""
    return [
        _route(spec.name, replace(match, path=path), rule)
        for rule in spec.rules
        for match in rule.matches
        for path in dict.fromkeys(match.path.replace(":", colon) for colon in (":", "%3A", "%3a"))
    ]


def _precedence(match: Document) -> tuple[bool, int, int]:
    path = match.get("path") or match["path_separated_prefix"]
    return "path" not in match, -len(path), -len(match["headers"])


def _route(name: str, match: Match, rule: Rule) -> Document:
    path = {"path": match.path} if match.exact else {"path_separated_prefix": match.path}
    headers = [{"name": header, "string_match": {"exact": value}} for header, value in match.headers.items()]
    suffix = ASIDE if rule.pinned else ""
    weighted = [{"name": service + suffix, "weight": weight} for service, weight in rule.weights.items()]
    return {
        "name": name,
        "match": path | {"headers": headers},
        "route": {
            "weighted_clusters": {"clusters": weighted},
            "timeout": f"{rule.timeout or _DEFAULT_TIMEOUT:g}s",
            "request_mirror_policies": [{"cluster": service + ASIDE} for service in rule.mirrors],
        },
    }


def weights_of(document: Document, name: str) -> dict[str, int]:
    """The weights of a route in a routes file, by Service name, for requests that are not pinned."""
    return {item["name"]: item["weight"] for item in _unpinned(document, name)["weighted_clusters"]["clusters"]}


def mirrors_of(document: Document, name: str) -> list[str]:
    """The Services to which a route in a routes file mirrors requests that are not pinned."""
    return [item["cluster"].removesuffix(ASIDE) for item in _unpinned(document, name)["request_mirror_policies"]]


def _unpinned(document: Document, name: str) -> Document:
    own = [entry for entry in _entries(document) if entry["name"] == name]
    action: Document = next(entry["route"] for entry in own if not _is_pin(entry))
    return action


def _is_pin(entry: Document) -> bool:
    return all(item["name"].endswith(ASIDE) for item in entry["route"]["weighted_clusters"]["clusters"])


def _entries(document: Document) -> list[Document]:
    routes: list[Document] = document["resources"][0]["virtual_hosts"][0]["routes"]
    return [entry for entry in routes if entry != _NO_SHADOW]


def _discovery(resources: list[Document]) -> Document:
    body = json.dumps(resources, sort_keys=True)
    return {"version_info": hashlib.sha256(body.encode()).hexdigest()[:16], "resources": resources}


def with_weights(spec: RouteSpec, weights: Mapping[str, int]) -> RouteSpec:
    """The route with other weights (by Service name) in its split; Services that are not named keep theirs."""
    return replace(spec, split=replace(spec.split, weights={**spec.split.weights, **weights}))


def with_mirrors(spec: RouteSpec, services: list[str]) -> RouteSpec:
    """The route whose split mirrors requests to these Services."""
    return replace(spec, split=replace(spec.split, mirrors=services))
