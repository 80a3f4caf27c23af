"""The steps of a model: its own code, in the order of KServe's `Model.__call__`.

KServe's method feeds histograms of its process, which are never exported from here and cost more than a small model
itself; so its steps are taken without it. A class with a `__call__` of its own is called.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Generator
from types import coroutine
from typing import Any

_HANDLERS = ("preprocess", "predict", "postprocess", "explain")

Outcome = tuple[Any, dict[str, str]]


class Steps:
    """The steps of one model.

    Attributes:
        awaits: whether the code that the model brings awaits; the defaults of KServe's own class do not count.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        sdk = sys.modules.get("kserve.model")
        base = getattr(sdk, "Model", None)
        own_call = inspect.getattr_static(type(model), "__call__", None)
        self._in_order = base is not None and own_call is base.__call__
        self._passing = (
            {getattr(base, name, None) for name in ("preprocess", "postprocess")} if self._in_order else set()
        )
        methods = [getattr(type(model), name, None) for name in _HANDLERS]
        if not self._in_order:
            methods.append(own_call)
        self.awaits = any(inspect.iscoroutinefunction(each) and not _is_sdk(each) for each in methods)

    async def take(self, payload: Any, headers: dict[str, str], *, explain: bool) -> Outcome:
        """The model's result, and the headers that it gives the response."""
        if self._in_order and not self._model.enable_latency_logging:
            result, extra = await self._take_in_order(payload, headers, explain=explain)
        else:
            more = {"verb": _verb("EXPLAIN")} if explain else {}
            outcome = await self._settled(self._model(payload, headers=headers, **more))
            result, extra = outcome if isinstance(outcome, tuple) and len(outcome) == 2 else (outcome, {})
        if hasattr(result, "__aiter__"):
            parts = [part if isinstance(part, bytes) else str(part).encode() async for part in result]
            result = b"".join(parts)
        return result, dict(extra or {})

    async def _take_in_order(self, payload: Any, headers: dict[str, str], *, explain: bool) -> Outcome:
        model = self._model
        extra: dict[str, str] = {}
        more = (extra,) if model.required_response_headers else ()
        if not self._is_passing(model.preprocess):
            payload = await self._settled(model.preprocess(payload, headers))
        payload = model.validate(payload)
        if explain:
            result = await self._settled(model.explain(payload, headers))
        else:
            result = await self._settled(model.predict(payload, headers, *more))
        if not self._is_passing(model.postprocess):
            result = await self._settled(model.postprocess(result, headers, *more))
        return result, extra

    def _is_passing(self, method: Callable[..., Any]) -> bool:
        """Whether a step is KServe's default, which passes its argument on."""
        return getattr(method, "__func__", None) in self._passing

    async def _settled(self, outcome: Any) -> Any:
        if not hasattr(outcome, "__await__"):
            return outcome
        # Outside a task when nothing is expected to await: what does nevertheless gets one.
        return await (outcome if self.awaits else asyncio.ensure_future(outcome))


def _is_sdk(method: Callable[..., Any]) -> bool:
    return getattr(method, "__module__", "").startswith("kserve.model")


def _verb(name: str) -> Any:
    module = sys.modules.get("kserve.model")
    return name if module is None else module.InferenceVerb[name]


@coroutine
def watched(work: Any, executing: Callable[[int], None], number: int) -> Generator[Any, Any, Any]:
    """Await work, and note the number before each step of it, and 0 after.

    What a process was executing when it ended is then known.
    """
    step = work.send
    given: Any = None
    while True:
        executing(number)
        try:
            waited = step(given)
        except StopIteration as end:
            return end.value
        finally:
            executing(0)
        try:
            given = yield waited
            step = work.send
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001  cancellation above all
            given, step = error, work.throw


@coroutine
def continued(work: Any, waited: Any) -> Generator[Any, Any, Any]:
    """Await work that was started outside a task and is waiting for `waited`."""
    step: Callable[[Any], Any]
    while True:
        try:
            given = yield waited
            step = work.send
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001  cancellation above all
            given, step = error, work.throw
        try:
            waited = step(given)
        except StopIteration as end:
            return end.value
