"""Where models are served: this machine, or a namespace of a cluster. `choose` decides once; nothing else asks."""

from sabia.platforms.choice import DEFAULT_FOLDER, choose, open_store
from sabia.platforms.port import Address, Deployment, Platform, RolloutView, Status

__all__ = [
    "DEFAULT_FOLDER",
    "Address",
    "Deployment",
    "Platform",
    "RolloutView",
    "Status",
    "choose",
    "open_store",
]
