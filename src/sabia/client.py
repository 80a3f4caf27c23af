"""A client of the V1 protocol, for notebooks and services. Import it from `sabia`.

```
SabiaError
├── RequestFailed        the server returned an error response
└── ServerUnavailable    it did not respond
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
import requests
from numpy.typing import NDArray

from sabia.contract.layout import Version
from sabia.contract.names import PIN_HEADER, REQUEST_ID_HEADER, v1_predict
from sabia.errors import SabiaError

Array = NDArray[np.float64]
T = TypeVar("T")
# An array, a data frame, or a sequence of rows; data frames are known by what they do, so that none need be installed.
Rows = Any


class RequestFailed(SabiaError):
    """The server returned an error response; the message is its sentence.

    Attributes:
        status: the HTTP status; below 500 the request is at fault, from 500 on the server.
        request_id: the id by which the server's log knows the request.
    """

    def __init__(self, status: int, sentence: str, request_id: str | None) -> None:
        super().__init__(sentence)
        self.status = status
        self.request_id = request_id


class ServerUnavailable(SabiaError):
    """The server did not respond: it is unreachable, or took too long."""

    exit_code = 5

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url} did not respond ({problem}).")


class _Predictions(msgspec.Struct):
    predictions: list[Any]


class _Models(msgspec.Struct):
    models: list[str]


class _Error(msgspec.Struct):
    error: str


class Client:
    """Predictions of a server, or of a gateway in front of several versions.

    It keeps its connection; use one client in each thread, and close it, or use it as a context manager.

    Args:
        url: of the server or the gateway, such as `http://127.0.0.1:8080`.
        model: the model's name; without it the server's only model, which a gateway does not report.
        version: pins every request to this version of a gateway; without it the weights decide.
        timeout: seconds to connect, and seconds to wait for a response.
        headers: of every request, such as `{"host": "churn.example.com"}` for a route of that host.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        version: str | Version | None = None,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._timeout = timeout
        self._session = requests.Session()
        self._session.headers.update(headers or {})
        self._session.headers["content-type"] = "application/json"
        if version is not None:
            self._session.headers[PIN_HEADER] = str(version)
        self.version: str | None = None

    def predict(self, rows: Rows) -> Any:
        """The predictions of rows; `version` is then the version that made them.

        Numbers are an array of shape (rows,). Anything else is a list as V1 answers it: a label with its probabilities,
        a list for a vector, an object of several values.

        Args:
            rows: an array of shape (rows, columns) or of tensors; a data frame of pandas or polars; or a sequence of
                rows, each a list of values or a mapping from names to values. NaN and None are null.

        Raises:
            RequestFailed: the server returned an error response.
            ServerUnavailable: it did not respond.
        """
        instances = _instances(rows)
        if self._model is None:
            self._model = self._only_model()
        body = msgspec.json.encode({"instances": instances}, enc_hook=_builtin)
        response = self._request("POST", v1_predict(self._model), body)
        self.version = response.headers.get(PIN_HEADER)
        predictions = _decoded(response, _Predictions).predictions
        if all(type(each) in (int, float) for each in predictions):
            return np.array(predictions, dtype=np.float64)
        return predictions

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _only_model(self) -> str:
        models = _decoded(self._request("GET", "/v1/models"), _Models).models
        if len(models) != 1:
            raise RequestFailed(200, f"The server has {len(models)} models; name one.", None)
        return models[0]

    def _request(self, method: str, path: str, body: bytes | None = None) -> requests.Response:
        try:
            response = self._session.request(method, self._url + path, data=body, timeout=self._timeout)
        except requests.RequestException as error:
            raise ServerUnavailable(self._url, type(error).__name__) from error
        if not response.ok:
            raise _failure(response)
        return response


def _instances(rows: Rows) -> list[Any]:
    """The rows as V1 sends them; JSON has no NaN, which msgspec writes as null."""
    if isinstance(rows, np.ndarray):
        return list(rows.tolist())
    if hasattr(rows, "to_dicts"):  # polars
        return list(rows.to_dicts())
    if hasattr(rows, "to_dict"):  # pandas
        return list(rows.astype(object).where(rows.notna(), None).to_dict("records"))
    return list(rows)


def _builtin(value: Any) -> Any:
    """A number, string or time that is not one of JSON's, as one."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (np.ndarray, Sequence)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a row has a {type(value).__name__}, which JSON cannot hold")


def _decoded(response: requests.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestFailed(response.status_code, "The response is not of the V1 protocol.", _id(response)) from error


def _failure(response: requests.Response) -> RequestFailed:
    try:
        sentence = msgspec.json.decode(response.content, type=_Error).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        sentence = f"The server returned status {response.status_code}."
    return RequestFailed(response.status_code, sentence, _id(response))


def _id(response: requests.Response) -> str | None:
    value: Any = response.headers.get(REQUEST_ID_HEADER)
    return None if value is None else str(value)
