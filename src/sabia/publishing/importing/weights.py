"""An ONNX file of any size as a small graph and the places of its large weights.

Large weights are never read into memory: an ONNX file is read field by field, and the bytes of its large initializers,
like those in files beside it, are only noted. `write` copies them from file to file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import _get_all_tensors as all_tensors

from sabia.contract.manifest import MODEL_FILE
from sabia.publishing.importing.errors import UnreadableModel

WEIGHTS_FILE = "model.onnx.data"
# Weights of at most this size together are written into the graph's own file.
EMBEDDED_BYTES = 32 * 2**20
# Smaller tensors, such as shapes, stay in the graph: ONNX Runtime reads them while it opens it.
_LEAST_BYTES = 1024
_PAGE = 4096
# The share of a model's weights that memory may hold twice.
_COPIED_SHARE = 0.15
# Operators that read rows of their weights, and never copy all.
_LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND"})
_COPY_BYTES = 8 * 2**20

# Fields of ModelProto, GraphProto and TensorProto in onnx.proto.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_LENGTHS = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class Weights:
    """The bytes of one initializer: where they are."""

    file: Path
    offset: int
    length: int


@dataclass(slots=True)
class Graph:
    """A model without its large weights, which are those of the initializers named in `weights`."""

    proto: ModelProto
    weights: dict[str, Weights] = field(default_factory=dict)


def read(path: Path) -> Graph:
    """The graph of an ONNX file, with the weights in it and in files beside it.

    Raises:
        UnreadableModel: it is not ONNX, is truncated, or a file of weights is missing, shorter than it must be, or not
            in the model's folder.
    """
    _check_magic(path)
    inside: list[tuple[int, int] | None] = []
    try:
        with path.open("rb") as file:
            proto = ModelProto.FromString(b"".join(_model(file, path.stat().st_size, inside)))
    except (DecodeError, EOFError) as error:
        raise UnreadableModel(path.name, "is truncated, or not an ONNX file") from error
    if not proto.graph.node or not proto.graph.output:
        raise UnreadableModel(path.name, "is not an ONNX file: it has no graph with nodes and outputs")
    graph = Graph(proto)
    for tensor, place in zip(proto.graph.initializer, inside, strict=True):
        if place is not None:
            graph.weights[tensor.name] = Weights(path, *place)
    _find_external(graph, path.parent)
    return graph


def write(graph: Graph, folder: Path) -> dict[str, bytes | Path]:
    """Write the model into a folder; its files by name, large ones as paths.

    The same model gives the same bytes, wherever its weights were. Weights that an earlier call wrote there stay.
    """
    proto = ModelProto()
    proto.CopyFrom(graph.proto)
    model, weights = folder / MODEL_FILE, folder / WEIGHTS_FILE
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    if sum(place.length for place in graph.weights.values()) <= EMBEDDED_BYTES:
        for name, place in graph.weights.items():
            tensors[name].raw_data = b"".join(_pieces(place))
        model.write_bytes(proto.SerializeToString(deterministic=True))
        return {MODEL_FILE: model}
    places = _places(graph)
    for name, place in places.items():
        _refer(tensors[name], place)
    model.write_bytes(proto.SerializeToString(deterministic=True))
    if not weights.exists():
        with weights.open("wb") as file:
            for name, place in places.items():
                file.seek(place.offset)
                file.writelines(_pieces(graph.weights[name]))
    return {MODEL_FILE: model, WEIGHTS_FILE: weights}


def may_prepack(graph: Graph) -> bool:
    """Whether ONNX Runtime may copy the weights into the order in which it multiplies.

    It copies them one by one, and drops each after its copy. So memory holds the largest of them twice: too much where
    that is a large part of the model.
    """
    sizes = {name: place.length for name, place in graph.weights.items()}
    if sum(sizes.values()) <= EMBEDDED_BYTES:
        return True
    multiplied = {name for node in graph.proto.graph.node if node.op_type not in _LOOKUPS for name in node.input}
    largest = max((size for name, size in sizes.items() if name in multiplied), default=0)
    return largest <= _COPIED_SHARE * sum(sizes.values())


def _places(graph: Graph) -> dict[str, Weights]:
    """Where each tensor is in the file of weights: on pages, by which memory is mapped."""
    places, end = {}, 0
    for name, weights in graph.weights.items():
        offset = end + -end % _PAGE
        places[name] = Weights(Path(WEIGHTS_FILE), offset, weights.length)
        end = offset + weights.length
    return places


def _refer(tensor: TensorProto, place: Weights) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": place.file, "offset": place.offset, "length": place.length}.items():
        tensor.external_data.add(key=key, value=str(value))


def _pieces(weights: Weights) -> Iterator[bytes]:
    with weights.file.open("rb") as file:
        file.seek(weights.offset)
        left = weights.length
        while left:
            piece = file.read(min(left, _COPY_BYTES))
            left -= len(piece)
            yield piece


def _find_external(graph: Graph, folder: Path) -> None:
    for tensor in graph.proto.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            weights = _external(tensor, folder)
            if weights.length >= _LEAST_BYTES:
                graph.weights[tensor.name] = weights
                _make_internal(tensor)
    for tensor in all_tensors(graph.proto):  # small ones, and those of subgraphs and attributes
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.raw_data = b"".join(_pieces(_external(tensor, folder)))
            _make_internal(tensor)


def _make_internal(tensor: TensorProto) -> None:
    del tensor.external_data[:]
    tensor.ClearField("data_location")


def _external(tensor: TensorProto, folder: Path) -> Weights:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    file = (folder / location).resolve()
    if not location or not file.is_relative_to(folder.resolve()):
        raise UnreadableModel("The model", f"has weights {tensor.name!r} outside its folder")
    if not file.is_file():
        raise UnreadableModel("The model", f"has its weights in {location!r}, which is missing beside it")
    try:
        offset = int(facts.get("offset", "0"))
        length = int(facts.get("length", file.stat().st_size - offset))
    except ValueError as error:
        raise UnreadableModel("The model", f"does not say where in {location!r} its weights are") from error
    if offset < 0 or length < 0 or offset + length > file.stat().st_size:
        raise UnreadableModel(location, f"is truncated: weights {tensor.name!r} end past its last byte")
    return Weights(file, offset, length)


def _model(file: IO[bytes], end: int, inside: list[tuple[int, int] | None]) -> Iterator[bytes]:
    """The fields of a ModelProto, the graph's large weights left out and their places appended to `inside`."""
    for number, start, length in _fields(file, end):
        if number == _GRAPH:
            yield _nested(number, b"".join(_graph(file, file.tell(), length, inside)))
        else:
            yield _copied(file, start, length)


def _graph(file: IO[bytes], begin: int, length: int, inside: list[tuple[int, int] | None]) -> Iterator[bytes]:
    for number, start, size in _fields(file, begin + length):
        if number == _INITIALIZER:
            inside.append(None)
            yield _nested(number, b"".join(_tensor(file, file.tell() + size, inside)))
        else:
            yield _copied(file, start, size)


def _tensor(file: IO[bytes], end: int, inside: list[tuple[int, int] | None]) -> Iterator[bytes]:
    for number, start, size in _fields(file, end):
        if number == _RAW_DATA and size >= _LEAST_BYTES:
            inside[-1] = (file.tell(), size)
        else:
            yield _copied(file, start, size)


def _fields(file: IO[bytes], end: int) -> Iterator[tuple[int, int, int]]:
    """Each field up to `end`: its number, where it starts, and the length of its content, where the file then is."""
    while file.tell() < end:
        start = file.tell()
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _varint(file)
            length = 0
        elif kind == 2:
            length = _varint(file)
        elif kind in _LENGTHS:
            length = _LENGTHS[kind]
        else:
            raise EOFError
        begin = file.tell()
        if number == 0 or begin + length > end:
            raise EOFError
        yield number, start, length
        file.seek(begin + length)


def _copied(file: IO[bytes], start: int, length: int) -> bytes:
    end = file.tell() + length
    file.seek(start)
    return file.read(end - start)


def _nested(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(content)) + content


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        (byte,) = file.read(1) or _ended()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise EOFError


def _ended() -> bytes:
    raise EOFError


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


_MAGIC = {
    b"PK\x03\x04": "is a zip archive, such as PyTorch and Keras write, and not ONNX; export it with torch.onnx.export "
    "or tf2onnx",
    b"\x89HDF": "is an HDF5 file, such as Keras writes, and not ONNX; export it with tf2onnx",
    b"\x80\x02": "is a pickle and not ONNX; export the model to ONNX",
    b"\x80\x03": "is a pickle and not ONNX; export the model to ONNX",
    b"\x80\x04": "is a pickle and not ONNX; export the model to ONNX",
    b"\x80\x05": "is a pickle and not ONNX; export the model to ONNX",
    b"version https://git-lfs": "is a pointer of Git LFS, not the model; fetch it with git lfs pull",
}


def _check_magic(path: Path) -> None:
    if path.stat().st_size == 0:
        raise UnreadableModel(path.name, "is empty")
    with path.open("rb") as file:
        head = file.read(64)
    for magic, sentence in _MAGIC.items():
        if head.startswith(magic):
            raise UnreadableModel(path.name, sentence)
