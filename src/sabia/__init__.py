"""Publishes models as numbered versions, serves each of them, and moves traffic between them by evidence.

`__all__` is the public API, described in docs/python.md; everything else is internal and may change in any release. A
name is imported on first use: `import sabia` loads no library, and a missing extra matters only to what needs it.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from sabia.loopback import exempt_loopback

# ONNX Runtime's wheels report usage to their vendor, from a thread of their own, unless this is set before the import.
# The operator of a server has not agreed to that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Companies set a proxy for every process; the store, the servers and the gateway of this machine are not behind it.
exempt_loopback(os.environ)

if TYPE_CHECKING:
    from sabia.api import claim, import_model, load, open_store, publish, serve
    from sabia.client import Client, RequestFailed, ServerUnavailable
    from sabia.contract.layout import Version
    from sabia.contract.manifest import Manifest
    from sabia.contract.signature import Bins, Input, Output, Signature
    from sabia.errors import SabiaError
    from sabia.publishing.drafting import draft
    from sabia.publishing.model import Floor
    from sabia.registry.claim import Draft, Published
    from sabia.rollout.plan import Plan
    from sabia.serving.inference.model import Model
    from sabia.store.objects import Store

    __version__: str
else:
    _MODULES = {
        "Bins": "sabia.contract.signature",
        "Client": "sabia.client",
        "Draft": "sabia.registry.claim",
        "Floor": "sabia.publishing.model",
        "Input": "sabia.contract.signature",
        "Manifest": "sabia.contract.manifest",
        "Model": "sabia.serving.inference.model",
        "Output": "sabia.contract.signature",
        "Plan": "sabia.rollout.plan",
        "Published": "sabia.registry.claim",
        "RequestFailed": "sabia.client",
        "SabiaError": "sabia.errors",
        "ServerUnavailable": "sabia.client",
        "Signature": "sabia.contract.signature",
        "Store": "sabia.store.objects",
        "Version": "sabia.contract.layout",
        "claim": "sabia.api",
        "draft": "sabia.publishing.drafting",
        "import_model": "sabia.api",
        "load": "sabia.api",
        "open_store": "sabia.api",
        "publish": "sabia.api",
        "serve": "sabia.api",
    }

    def __getattr__(name: str) -> object:
        """A public name, imported on first use; the installed package's version is read then too."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415  slower than this module

            return version("sabia")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)


__all__ = [
    "Bins",
    "Client",
    "Draft",
    "Floor",
    "Input",
    "Manifest",
    "Model",
    "Output",
    "Plan",
    "Published",
    "RequestFailed",
    "SabiaError",
    "ServerUnavailable",
    "Signature",
    "Store",
    "Version",
    "__version__",
    "claim",
    "draft",
    "import_model",
    "load",
    "open_store",
    "publish",
    "serve",
]
