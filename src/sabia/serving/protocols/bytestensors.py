"""The binary data of a BYTES tensor: each value behind its length, in four bytes, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, AnyStr

import numpy as np
from numpy.typing import NDArray

from sabia.serving.inference.texts import LONGEST_KEY, Texts

Objects = NDArray[Any]

_LENGTH = struct.Struct("<I")


def split(data: memoryview) -> Objects:
    """The values, shape (values,).

    Raises:
        ValueError: a value is longer than the data.
    """
    whole = bytes(data)
    return _objects(_parts(whole, _step(whole), whole))


def split_text(data: memoryview, known: Texts | None = None) -> Objects:
    """The values as text, shape (values,); texts that are `known` are not made again.

    Raises:
        UnicodeDecodeError: a value is not UTF-8.
        ValueError: a value is longer than the data.
    """
    whole = bytes(data)
    step = _step(whole)
    found = _find(known, whole, step) if known is not None else None
    if found is not None:
        return found
    if whole.isascii():  # decoded at once, which takes a tenth of the time
        return _objects(_parts(whole, step, whole.decode("ascii")))
    return _objects([value.decode() for value in _parts(whole, step, whole)])


def join(values: Iterable[bytes]) -> bytes:
    """The data of values."""
    return b"".join([_LENGTH.pack(len(value)) + value for value in values])


def _step(data: bytes) -> int:
    """The bytes that each value takes with its length, if all are equally long, as codes are; 0 if they are not."""
    if len(data) < _LENGTH.size:
        return 0
    step: int = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if len(data) % step:
        return 0
    lengths = np.ndarray((len(data) // step,), np.dtype("<u4"), data, strides=(step,))
    return step if (lengths == step - _LENGTH.size).all() else 0


def _find(known: Texts, data: bytes, step: int) -> Objects | None:
    if 0 < step <= _LENGTH.size + LONGEST_KEY:
        return known.find_equally_long(np.frombuffer(data, np.uint8).reshape(-1, step)[:, _LENGTH.size :])
    return known.find(_parts(data, step, data))


def _parts(data: bytes, step: int, source: AnyStr) -> list[AnyStr]:
    """The parts of `source` where the values are in `data`."""
    if step:
        length = step - _LENGTH.size
        return [source[start : start + length] for start in range(_LENGTH.size, len(data) + 1, step)]
    found: list[AnyStr] = []
    at, size = 0, len(data)
    try:
        while at < size:
            start = at + _LENGTH.size
            at = start + _LENGTH.unpack_from(data, at)[0]
            found.append(source[start:at])
    except struct.error as error:
        raise ValueError("no room for a length") from error
    if at != size:
        raise ValueError("a value is longer than the data")
    return found


def _objects(values: list[Any]) -> Objects:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
