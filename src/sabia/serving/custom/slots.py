"""Numbers that the server and the processes of its models share: each process writes its own slot.

A process that hangs or has crashed sends nothing any more; what it last wrote here says what it was doing.
"""

from __future__ import annotations

from collections.abc import Callable

from sabia.serving.telemetry.shared import Shared

_BEATS, _EXECUTING, _HEALTHY = range(3)


class Slots:
    """The slots of every process that one server may have."""

    def __init__(self, count: int) -> None:
        self._shared = Shared(count, integers=3, floats=0)
        self._free = list(range(count))[::-1]

    def take(self) -> int | None:
        """A free slot, cleared; None when all are taken."""
        if not self._free:
            return None
        slot = self._free.pop()
        self._shared.integers(slot)[:] = memoryview(bytes(24)).cast("q")
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back; its process has ended."""
        self._free.append(slot)

    def beats(self, slot: int) -> int:
        """The number of heartbeats."""
        beats: int = self._shared.integers(slot)[_BEATS]
        return beats

    def executing(self, slot: int) -> int:
        """The number of the call whose step is being executed; 0 for none."""
        number: int = self._shared.integers(slot)[_EXECUTING]
        return number

    def healthy(self, slot: int) -> bool:
        """Whether the model said that it is ready, when it was last asked."""
        return bool(self._shared.integers(slot)[_HEALTHY])

    def beat(self, slot: int, *, healthy: bool) -> None:
        """Beat: called by the slot's process."""
        numbers = self._shared.integers(slot)
        numbers[_HEALTHY] = healthy
        numbers[_BEATS] += 1

    def note(self, slot: int) -> Callable[[int], None]:
        """A function that notes the number of the call that is executed; for the slot's process."""
        numbers = self._shared.integers(slot)

        def executing(number: int) -> None:
            numbers[_EXECUTING] = number

        return executing
