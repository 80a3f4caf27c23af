"""A published version as a class, so that own code can come before and after its predictions.

The heavy modules are imported by the process that runs the code, not by the server.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

from sabia.serving.errors import LoadFailed, NotReady

if TYPE_CHECKING:
    from sabia.serving.inference.typed import Served
    from sabia.serving.protocols.parsers import Parsers


class ArtifactModel:
    """A version that predicts as it does without this class; override `preprocess` and `postprocess`, sync or async.

    It is called as a `kserve.Model` is, and needs no KServe.

    Args:
        name: the name that the artifact must have; None for any.
        source: folder or URL of one version; the setting `source` where the server makes the model.

    Attributes:
        name: the artifact's.
        version: the artifact's.
        ready: whether it can predict.
        signature: the artifact's; metrics, log and drift are by it.
        content_digest: of the artifact's files.

    Raises:
        LoadFailed: there is no version, or it is not what was published, or of another name.
    """

    def __init__(self, name: str | None = None, source: str = "/mnt/models") -> None:
        from sabia.serving.inference.loading import load_artifact  # noqa: PLC0415  imports the runtime
        from sabia.serving.settings import Settings  # noqa: PLC0415  beside it

        self._artifact = load_artifact(Settings(source=source, model_name=name))
        manifest = self._artifact.manifest
        self.name, self.version = manifest.name, manifest.version
        self.signature, self.content_digest = manifest.signature, manifest.digest
        self.ready = False
        self._model: Served | None = None
        self._parsers: Parsers | None = None

    def load(self) -> bool:
        """Open the version; each process of the server does."""
        from sabia.serving.inference.loading import open_model  # noqa: PLC0415  imports the runtime
        from sabia.serving.protocols.parsers import parsers_of  # noqa: PLC0415  beside it

        self._model = open_model(self._artifact)
        self._parsers = parsers_of(self._model)
        self.ready = True
        return True

    async def __call__(self, payload: Any, headers: dict[str, str] | None = None, verb: Any = None) -> Any:
        """The response: `preprocess`, `predict`, `postprocess`; with a verb `preprocess` and `explain`."""
        result = payload
        steps = (self.preprocess, self.predict, self.postprocess)
        for step in steps if verb is None else (self.preprocess, self.explain):
            result = step(result, headers)
            if inspect.isawaitable(result):
                result = await result
        return result

    def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """What the version gets, of the request's body: `{"instances": rows}`, or a V2 request as a dictionary."""
        del headers
        return payload

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """The version's answer: `{"predictions": [...]}`, or a V2 response as a dictionary.

        A V2 request in binary or by gRPC is the same dictionary, and so is its response.

        Raises:
            RequestError: the rows are not what the signature says.
            NotImplementedError: the payload is an object of KServe's SDK, or no request.
        """
        del headers
        is_v2 = isinstance(payload, dict) and "instances" not in payload and _is_tensors(payload.get("inputs"))
        return self._respond("infer" if is_v2 else "predict", payload)

    def explain(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """The version's explanations of its own predictions; `postprocess` does not get them.

        Raises:
            RequestError: the rows are not what the signature says, or these methods cannot be explained.
        """
        del headers
        return self._respond("explain", payload)

    def _respond(self, name: str, payload: Any) -> Any:
        """The version's response, by the parser of this name."""
        from sabia.serving.custom import observing  # noqa: PLC0415  numpy, and the signature's libraries
        from sabia.serving.http.messages import Request  # noqa: PLC0415  beside them

        if self._model is None or self._parsers is None:
            raise NotReady(self.name)
        if not isinstance(payload, dict):
            raise NotImplementedError
        parse = getattr(self._parsers, name)
        job = parse(Request(b"POST", b"", {}, msgspec.json.encode(payload), 0.0), self._model)
        model: Any = self._model
        predicted = model.predict(job.rows)
        noted = observing.asked.get()
        if noted is not None and name != "explain":
            noted.append((job.rows, predicted))
        return msgspec.json.decode(job.write(predicted).body)

    def get_input_types(self) -> list[dict[str, Any]]:
        """The inputs, as the metadata of V2 has them."""
        return self._types("inputs")

    def get_output_types(self) -> list[dict[str, Any]]:
        """The outputs, as the metadata of V2 has them."""
        return self._types("outputs")

    def _types(self, side: str) -> list[dict[str, Any]]:
        if self._parsers is None:
            return []
        tensors: list[dict[str, Any]] = self._parsers.metadata(self._model)[side]
        return tensors

    def postprocess(self, result: Any, headers: dict[str, str] | None = None) -> Any:
        """What the client gets, of the version's answer."""
        del headers
        return result


def _is_tensors(inputs: Any) -> bool:
    """Whether these are the tensors of V2; V1 also calls instances `inputs`."""
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], dict) and "datatype" in inputs[0]


def check_version(model: Any, wanted: str | None) -> None:
    """Refuse a set version that the artifact of a model is not.

    Raises:
        LoadFailed: it is another.
    """
    if isinstance(model, ArtifactModel) and wanted not in (None, model.version):
        raise LoadFailed(f"version {wanted!r} is set, the artifact is {model.version!r}.")
