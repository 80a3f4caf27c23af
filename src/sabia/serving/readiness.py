"""Whether new traffic should come to this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Readiness:
    """The readiness that every protocol reports.

    Attributes:
        model_ready: False when the model must not be asked.
        draining: True after SIGTERM: readiness is off, requests are still answered, connections are asked to close.
    """

    model_ready: bool = True
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether new traffic should come here."""
        return self.model_ready and not self.draining
