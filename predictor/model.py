"""The `kserve.Model`: what KServe's own model server, and anything else written for it, can load and call.

It holds the same model that `sabia.serving` predicts with; only the protocol around it is KServe's.

`python -m predictor.model` takes the settings of `python -m predictor` that KServe's server has a use for (the source,
the names and the port) and serves it there: an order of magnitude slower, for features that only that server has.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from uuid import uuid4

import kserve
from kserve.errors import InvalidInput as KServeInvalidInput

from sabia.contract.tensors import INPUT, OUTPUT
from sabia.serving.errors import InvalidInput, LoadFailed, NotReady, RequestError
from sabia.serving.inference.loading import load
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.protocols import typedrows, typedtensors, v2
from sabia.serving.protocols.instances import parse_instances
from sabia.serving.protocols.parsers import parsers_of
from sabia.serving.settings import Settings, parse


class Predictor(kserve.Model):
    """One version of a model behind KServe's interface."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.model_name or "unnamed")
        self._settings = settings
        self._model: Served | None = None

    @property
    def loaded(self) -> Served:
        """The loaded version.

        Raises:
            NotReady: it is not loaded, or stopped.
        """
        if self._model is None or not self.ready:
            raise NotReady(self.name)
        return self._model

    def load(self) -> bool:
        """Verify and open the artifact; ready only after the smoke test.

        Raises:
            LoadFailed: with the one sentence that says why.
        """
        self._model = load(self._settings)
        self.name = self._model.name
        self.ready = True
        return self.ready

    def start(self) -> None:
        """Nothing: KServe's default declares a model ready that was never loaded."""

    def predict(
        self,
        payload: dict[str, Any] | kserve.InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | kserve.InferResponse:
        """Predict for a decoded V1 body or V2 request."""
        del headers, response_headers
        try:
            if isinstance(payload, kserve.InferRequest):
                return self._infer(payload)
            return {"predictions": self._predictions(payload)}
        except RequestError as error:
            if error.http_status >= 500:
                raise
            raise KServeInvalidInput(str(error)) from error

    def get_input_types(self) -> list[dict[str, Any]]:
        """The V2 metadata of the inputs."""
        return [_plain(each) for each in self._metadata["inputs"]]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The V2 metadata of the outputs."""
        return [_plain(each) for each in self._metadata["outputs"]]

    @property
    def _metadata(self) -> dict[str, Any]:
        return parsers_of(self.loaded).metadata(self.loaded)

    def _predictions(self, payload: dict[str, Any]) -> list[Any]:
        model = self.loaded
        if isinstance(model, TypedModel):
            return typedrows.writer(model.signature)(model.predict(typedrows.read(payload, model.signature)))
        predictions: list[Any] = model.predict(parse_instances(payload, model)).tolist()
        return predictions

    def _infer(self, request: kserve.InferRequest) -> kserve.InferResponse:
        model = self.loaded
        if isinstance(model, TypedModel):
            outputs = _typed_outputs(request, model)
        else:
            prediction = model.predict(parse_instances({"instances": _values(request)}, model))
            outputs = [kserve.InferOutput(OUTPUT, [len(prediction)], "FP64", data=prediction.tolist())]
        # KServe's server fails on a response without an id, which the protocol makes optional.
        name = request.id or str(uuid4())
        return kserve.InferResponse(name, self.name, model_version=model.version, infer_outputs=outputs)


def _plain(tensor: dict[str, Any]) -> dict[str, Any]:
    return {key: tensor[key] for key in ("name", "datatype", "shape")}


def _typed_outputs(request: kserve.InferRequest, model: TypedModel) -> list[kserve.InferOutput]:
    inputs = []
    for at, tensor in enumerate(request.inputs):
        given = v2.Input(tensor.name, list(tensor.shape), tensor.datatype)
        try:
            given.data = tensor.data if isinstance(tensor.data, list) else tensor.as_numpy().ravel().tolist()
        except ValueError as error:
            raise InvalidInput(f"inputs[{at}]", "has data that does not fit its shape") from error
        inputs.append(given)
    batch = typedtensors.read(inputs, memoryview(b""), model.signature)
    predicted = model.predict(batch)
    return [
        kserve.InferOutput(
            each.name,
            list(predicted[each.name].shape),
            typedtensors.DATATYPES[each.dtype],
            data=typedtensors.json_data(each, predicted[each.name]),
        )
        for each in model.signature.outputs
    ]


def _values(request: kserve.InferRequest) -> Any:
    names = [tensor.name for tensor in request.inputs]
    if names != [INPUT]:
        raise InvalidInput('"inputs"', f'must be one tensor called "{INPUT}"')
    try:
        return request.inputs[0].as_numpy().tolist()
    except ValueError as error:
        raise InvalidInput("inputs[0]", "has data that does not fit its shape") from error


def main() -> int:
    """Load the version and serve it with KServe's server; status 1 and one line when it cannot be served."""
    settings = parse(sys.argv[1:], os.environ)
    model = Predictor(settings)
    try:
        model.load()
    except LoadFailed as error:
        print(error, file=sys.stderr)
        return error.exit_code
    kserve.ModelServer(http_port=settings.http_port, enable_grpc=False, workers=1).start([model])
    return 0


if __name__ == "__main__":
    sys.exit(main())
