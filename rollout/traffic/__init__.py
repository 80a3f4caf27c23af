"""The split between versions, and the two places that can hold it: Envoy's files here, an HTTPRoute on a cluster."""

from rollout.traffic.envoy import EnvoySplit
from rollout.traffic.httproute import HttpRouteSplit
from rollout.traffic.split import Split

__all__ = ["EnvoySplit", "HttpRouteSplit", "Split"]
