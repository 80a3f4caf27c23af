"""What the server and the processes of a model send each other: messages with their length before them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sabia.contract.signature import Signature

_LENGTH_BYTES = 4
_NO_LENGTH = bytes(_LENGTH_BYTES)
# What a `Call` asks for.
V1, V1_EXPLAIN, V2, GRPC, CANCEL = range(5)


class Call(msgspec.Struct, array_like=True, gc=False):
    """One request, or its cancellation.

    Attributes:
        number: names it in the reply.
        kind: V1, V1_EXPLAIN, V2, GRPC or CANCEL.
        headers: names in lower case.
        body: as the client sent it.
        keep: whether the inference log keeps it.
    """

    number: int
    kind: int
    headers: dict[bytes, bytes] = {}
    body: bytes = b""
    keep: bool = False


class Column(msgspec.Struct, array_like=True, gc=False):
    """A column of the inference log.

    Attributes:
        dtype: numpy's, "object" for text.
        shape: (rows,), or (rows, length).
        values: the bytes of an array, or text.
        nulls: which rows are null, a byte each; empty when the column has none, or has them as None.
    """

    dtype: str
    shape: list[int]
    values: bytes | list[str | None]
    nulls: bytes = b""


class Observed(msgspec.Struct, array_like=True, gc=False):
    """The record of a call, for metrics and log.

    Attributes:
        rows: their number.
        counts: rows by bin; and rows outside the range, of an unknown category, and without a value, by input.
        columns: what the log keeps, by column; None when it keeps nothing.
    """

    rows: int
    counts: tuple[list[int], list[int], list[int], list[int]]
    columns: dict[str, Column] | None = None


class Reply(msgspec.Struct, array_like=True, gc=False):
    """The response to one call.

    Attributes:
        number: the call's.
        status: HTTP's.
        body: for the client.
        media_type: of the body.
        headers: of the response, beside those of the server.
        reason: why the request failed, in one sentence; empty when it did not.
        seconds: what decoding, the model, and encoding took.
        observed: what is recorded of it; None of an error and of an explanation.
    """

    number: int
    status: int
    body: bytes
    media_type: str = "application/json"
    headers: dict[str, str] = {}
    reason: str = ""
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    observed: Observed | None = None


class Tensor(msgspec.Struct):
    """One input or output of the metadata."""

    name: str = ""
    datatype: str = ""
    shape: list[int] = []


class Started(msgspec.Struct):
    """The first message of a process: what it serves, or why it does not.

    Attributes:
        problem: completes the sentence "Not serving: "; empty when the model is ready.
        pid: of the process.
        concurrent: whether the model awaits, so that many of its requests run at once.
        inputs: the model's own metadata, as `get_input_types` returns it.
        outputs: as `get_output_types` returns it.
        signature: of the model's requests and responses; None where the class declares none.
        content_digest: of the files of its artifact; empty without one.
    """

    problem: str = ""
    pid: int = 0
    concurrent: bool = False
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    signature: Signature | None = None
    content_digest: str = ""


def encode(message: Call | Reply | Started) -> bytearray:
    """A message with its length before it."""
    data = bytearray()
    append(data, message)
    return data


def append(data: bytearray, message: Call | Reply | Started) -> None:
    """Append a message with its length before it."""
    start = len(data)
    data += _NO_LENGTH
    _ENCODER.encode_into(message, data, -1)
    end = start + _LENGTH_BYTES
    data[start:end] = (len(data) - end).to_bytes(_LENGTH_BYTES, "little")


class Splitter:
    """Splits a stream of bytes into messages."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._needed = 0  # bytes before which nothing is complete

    def feed(self, data: bytes) -> Iterator[bytes | bytearray]:
        """Add what arrived, and give the messages that are complete, without their lengths."""
        whole: bytes | bytearray = data
        if self._data:
            self._data += data
            if len(self._data) < self._needed:
                return
            whole = self._data
        self._needed = 0
        at, size = 0, len(whole)
        while size - at >= _LENGTH_BYTES:
            start = at + _LENGTH_BYTES
            end = start + int.from_bytes(whole[at:start], "little")
            if size < end:
                self._needed = end - at
                break
            yield whole[start:end]
            at = end
        self._data = bytearray(whole[at:])


_ENCODER = msgspec.msgpack.Encoder()
decode_call = msgspec.msgpack.Decoder(Call).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
decode_started = msgspec.msgpack.Decoder(Started).decode
