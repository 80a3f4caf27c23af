"""Classes as teams write them for KServe's SDK; tests serve them here and by KServe's own server."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import kserve
import numpy as np
from fastapi import HTTPException
from kserve.errors import InvalidInput, ModelNotReady

from sabia import Bins, Input, Output, Signature


class Sums(kserve.Model):
    """The sum of each row, by both protocols, with a header each way."""

    def __init__(self, name: str = "sums") -> None:
        super().__init__(name, return_response_headers=True)
        self.offset = 0.0

    def load(self) -> bool:
        self.offset = 1.0
        self.ready = True
        return True

    async def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        if isinstance(payload, dict) and "rows" in payload:
            return {"instances": payload["rows"]}
        return payload

    def predict(
        self, payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        assert headers is not None
        assert response_headers is not None
        response_headers["x-tenant"] = headers.get("x-tenant", "none")
        if isinstance(payload, bytes):
            return {"predictions": [len(payload)]}
        if isinstance(payload, kserve.InferRequest):
            rows = payload.inputs[0].as_numpy()
            sums = rows.sum(axis=1) + self.offset
            output = kserve.InferOutput("prediction", list(sums.shape), "FP64", data=sums)
            return kserve.InferResponse(
                payload.id or "none",
                self.name,
                [output],
                use_binary_outputs=payload.use_binary_outputs,
                requested_outputs=payload.request_outputs,
            )
        if any(len(row) == 0 for row in payload["instances"]):
            raise InvalidInput("a row is empty")
        return {"predictions": [sum(row) + self.offset for row in payload["instances"]]}

    def explain(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        return {"explanations": [{"largest": max(row)} for row in payload["instances"]]}

    async def postprocess(
        self, result: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        if isinstance(result, dict):
            result["unit"] = "mm"
        return result

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]


class Troubles(kserve.Model):
    """Whatever code can do wrong, one kind for each word."""

    def __init__(self, name: str = "troubles") -> None:
        super().__init__(name)
        self.kept: list[bytearray] = []

    def predict(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        word, *more = payload["instances"]
        return getattr(self, f"do_{word}", self.do_answer)(*more)

    def do_answer(self, value: float = 1.0) -> Any:
        return {"predictions": [value]}

    def do_raise(self) -> Any:
        raise RuntimeError("the password is hunter2")

    def do_refuse(self) -> Any:
        raise InvalidInput("the colour is not one")

    def do_teapot(self) -> Any:
        raise HTTPException(status_code=429, detail="come back later", headers={"retry-after": "7"})

    def do_unready(self) -> Any:
        raise ModelNotReady(self.name)

    def do_unimplemented(self) -> Any:
        raise NotImplementedError

    def do_none(self) -> Any:
        return None

    def do_object(self) -> Any:
        return {"predictions": [object()]}

    def do_array(self) -> Any:
        return {"predictions": np.array([1.5, 2.5]), "best": np.float32(0.5)}

    def do_text(self) -> Any:
        return "one, two"

    def do_stream(self) -> Any:
        async def parts() -> AsyncIterator[str]:
            for part in ("one", ", ", "two"):
                await asyncio.sleep(0)
                yield part

        return parts()

    def do_spin(self) -> Any:
        while True:
            pass

    def do_hold(self) -> Any:
        """Hang in C without letting any other thread of the process run."""
        ctypes.PyDLL(None).sleep(60)

    def do_crash(self) -> Any:
        os.abort()

    def do_exit(self) -> Any:
        raise SystemExit(3)

    def do_cancel(self) -> Any:
        raise asyncio.CancelledError

    def do_interrupt(self) -> Any:
        raise KeyboardInterrupt

    def do_later(self) -> Any:
        """Return something to await, though nothing about the class says so."""

        async def later() -> Any:
            async with asyncio.timeout(5):
                await asyncio.sleep(0.01)
            return {"predictions": [3.0]}

        return later()

    def do_huge(self) -> Any:
        return {"predictions": "x" * (80 * 1024 * 1024)}

    def do_leak(self) -> Any:
        self.kept.append(bytearray(os.urandom(1)) * (64 * 1024 * 1024))
        return {"predictions": [len(self.kept)]}

    def do_pid(self) -> Any:
        return {"predictions": [os.getpid()]}

    def do_wait(self, seconds: float) -> Any:
        time.sleep(seconds)
        return {"predictions": [seconds]}


class Awaits(kserve.Model):
    """Awaits what the request names."""

    async def predict(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        seconds = payload["instances"][0]
        if seconds == -2:
            raise asyncio.CancelledError
        if seconds == -3:
            raise KeyboardInterrupt
        if seconds < 0:
            await asyncio.Event().wait()
        await asyncio.sleep(seconds)
        return {"predictions": [seconds]}


class Versioned(kserve.Model):
    """Names its version, as a class of a team may."""

    version = "3.4"

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        return {"predictions": [3.4 for _ in payload["instances"]]}


class Broken(kserve.Model):
    """Cannot load."""

    def load(self) -> bool:
        raise FileNotFoundError(2, "No such file or directory", "weights.bin")


class Unready(kserve.Model):
    """Says that it did not load."""

    def load(self) -> bool:
        return False


class Fares(kserve.Model):
    """Says what its requests and responses are; answers rows of another form as well."""

    signature = Signature(
        inputs=[
            Input(name="Distance", dtype="float64", nullable=True, minimum=0, maximum=100),
            Input(name="airport", dtype="string", categories=["JFK", "LGA"]),
        ],
        outputs=[Output(name="fare", dtype="string", role="label", classes=["cheap", "dear"])],
        primary="fare",
        bins=Bins(kind="classes", classes=["cheap", "dear"]),
    )

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        if isinstance(payload, kserve.InferRequest):
            fares = [self._fare(each) for each in payload.inputs[0].as_numpy().ravel().tolist()]
            output = kserve.InferOutput("fare", [len(fares)], "BYTES", data=fares)
            return kserve.InferResponse(payload.id or "none", self.name, [output])
        if "distances" in payload:
            return {"predictions": [self._fare(each) for each in payload["distances"]]}
        rows = payload["instances"]
        fares = [self._fare(row.pop("Distance")) for row in rows]
        return {"predictions": fares[:1] if len(fares) > 2 else fares}

    def _fare(self, distance: float | None) -> str:
        return "free" if distance is None else "dear" if distance > 50 else "cheap"


class Spelled(Fares):
    """Declares a signature that is none."""

    signature = Signature(
        inputs=[Input(name="instances", dtype="string")],
        outputs=[Output(name="fare", dtype="string", role="label", classes=["cheap"])],
        primary="fare",
        bins=Bins(kind="none"),
    )
