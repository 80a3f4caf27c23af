"""Where models are served: this machine, or a namespace of a cluster. `choose` decides once; nothing else asks."""

from sabia.platforms.choice import choose
from sabia.platforms.port import Address, Deployment, Platform, RolloutView, Status
from sabia.platforms.store import DEFAULT_FOLDER, open_store

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
