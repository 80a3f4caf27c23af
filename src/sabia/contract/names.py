"""Names by which servers, routes, rollouts and reports know a version: resources, labels, headers, paths.

A version of a model is served by one InferenceService, `<model>-v<MAJOR>-<MINOR>`; KServe makes its Service,
`<InferenceService>-predictor`. A rollout may compare the canary with a second copy of the stable version, its baseline:
`<MAJOR>.<MINOR>-baseline`, served by `<model>-v<MAJOR>-<MINOR>-baseline`.
"""

from __future__ import annotations

from sabia.contract.layout import Version

API_GROUP = "sabia.dev"
API_VERSION = "v1beta1"

# Labels of an InferenceService.
MODEL_LABEL = f"{API_GROUP}/model"
VERSION_LABEL = f"{API_GROUP}/version"
# On a version's pods: the digest of the spec that they were made from. KServe records nothing that tells whether its
# "Ready" is of the last change or of the one before.
SPEC_ANNOTATION = f"{API_GROUP}/spec"
# KServe's own label on the pods of an InferenceService.
SERVICE_LABEL = "serving.kserve.io/inferenceservice"

BASELINE_SUFFIX = "-baseline"
SERVICE_SUFFIX = "-predictor"

# The route by which a request came: by the weights; by a header that names the version; as a copy whose response is
# discarded. Only the first are a fair sample: a comparison of versions leaves the others out.
SPLIT, PIN, MIRROR = "split", "pin", "mirror"
ROUTES = (SPLIT, PIN, MIRROR)

# Names the version that a request is pinned to, and the version that made a response.
PIN_HEADER = "x-model-version"
# Names the injected fault that changed a response.
FAULT_HEADER = "x-sabia-fault"
REQUEST_ID_HEADER = "x-request-id"
# Envoy appends this to the host name of a mirrored request.
MIRROR_HOST_SUFFIX = "-shadow"

METRICS_PATH = "/metrics"


def inference_service(model: str, version: Version, *, baseline: bool = False) -> str:
    """The name of the InferenceService of a version, or of its baseline: `breast-cancer-v1-2`."""
    return f"{model}-v{version.major}-{version.minor}{BASELINE_SUFFIX if baseline else ''}"


def service(inference_service: str) -> str:
    """The name of the Service that KServe makes for an InferenceService; routes name it as their backend."""
    return inference_service + SERVICE_SUFFIX


def baseline(version: str) -> str:
    """The name of a version's baseline: `1.2-baseline`."""
    return version + BASELINE_SUFFIX


def is_baseline(version: str) -> bool:
    """Whether this is the name of a baseline."""
    return version.endswith(BASELINE_SUFFIX)


def published(version: str) -> str:
    """The number of the version that an arm serves: `1.2`, of `1.2` and of `1.2-baseline`."""
    return version.removesuffix(BASELINE_SUFFIX)


def v1_model(model: str) -> str:
    """The path of a model in V1: ready or not."""
    return f"/v1/models/{model}"


def v1_predict(model: str) -> str:
    """The path of V1 predictions."""
    return f"{v1_model(model)}:predict"


def v1_explain(model: str) -> str:
    """The path of V1 explanations."""
    return f"{v1_model(model)}:explain"


def v2_model(model: str) -> str:
    """The path of a model in V2: its metadata, and the prefix of its calls."""
    return f"/v2/models/{model}"


def v2_infer(model: str) -> str:
    """The path of V2 predictions."""
    return f"{v2_model(model)}/infer"
