"""The signature of a version: its typed inputs and outputs, and the bins of the primary output.

A server parses requests by it, the inference log takes its columns from it, and a rollout compares two versions only if
`difference` finds none between their signatures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract import bins as binning
from sabia.contract.errors import InvalidSignature
from sabia.contract.tensors import INPUT, OUTPUT

DType = Literal["float64", "float32", "int64", "bool", "string", "bytes", "timestamp"]
Role = Literal["probability", "class-probabilities", "label", "value", "vector", "opaque"]
BinKind = Literal["equal", "edges", "classes", "none"]
LogChoice = Literal["column", "hash", "none"]
DTYPES: tuple[DType, ...] = get_args(DType)
ROLES: tuple[Role, ...] = get_args(Role)
FLOATS = ("float64", "float32")

Dimension = Annotated[int, msgspec.Meta(ge=1)]
# The first dimension is the rows and always None; any other None is of any length.
Shape = Annotated[list[Dimension | None], msgspec.Meta(min_length=1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Values = list[str | int]

SCALAR: list[int | None] = [None]
PREDICTION_BINS = 20
# Words of the protocols. An input of such a name could not be distinguished from the protocol's own part of a request.
RESERVED_INPUTS = frozenset({INPUT, OUTPUT, "instances", "inputs", "outputs", "predictions", "parameters"})
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One input: a column of a table when its shape is [null], else a tensor.

    Attributes:
        dtype: of the values. A timestamp is written as RFC 3339 and reaches the model as int64: microseconds since
            1970, UTC.
        shape: `null` for the rows, then the length of each further dimension, or `null` where it may be any.
        nullable: whether a value may be null or absent. A null float reaches the model as NaN; of another dtype as
            `fill`.
        unit: such as "mm"; "1" is dimensionless, "unstated" is an unknown one.
        minimum, maximum: of the training rows, null left out; of a timestamp in microseconds since 1970. Values
            outside are counted.
        categories: the values of the training rows, for strings and for integers that are codes. Others are counted.
        strict: values that are not in `categories` are refused.
        fill: what the model receives where the value is null, for dtypes that have no NaN.
        log: whether the inference log keeps the value, a hash of it, or nothing.
    """

    name: Name
    dtype: DType
    shape: Shape = msgspec.field(default_factory=lambda: list(SCALAR))
    nullable: bool = False
    unit: str = "unstated"
    minimum: float | None = None
    maximum: float | None = None
    categories: Values | None = None
    strict: bool = False
    fill: str | int | None = None
    log: LogChoice = "column"

    @property
    def is_scalar(self) -> bool:
        """Whether a row has one value of it."""
        return self.shape == SCALAR

    @property
    def is_float(self) -> bool:
        """Whether its values are float64 or float32."""
        return self.dtype in FLOATS


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One output.

    Attributes:
        role: "probability": of the last of `classes` (of two), in [0, 1]. "class-probabilities": one for each of
            `classes`. "label": one of `classes`. "value": a number. "vector": numbers that mean something together.
            "opaque": anything else.
        classes: in the order of the model's; None for a role without classes.
        range: the least and the largest possible value.
    """

    name: Name
    dtype: DType
    shape: Shape = msgspec.field(default_factory=lambda: list(SCALAR))
    role: Role
    classes: Values | None = None
    unit: str = "1"
    range: tuple[float, float] | None = None


class Bins(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How the primary output falls into bins: a property of the model, so that any two of its versions compare.

    "equal": `count` bins of equal width over `range`. "edges": between the given inner `edges`, ascending. "classes":
    one bin for each of `classes`, and one more for any other. "none": one bin for everything. A vector is binned by its
    Euclidean norm.
    """

    kind: BinKind
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    range: tuple[float, float] | None = None
    edges: list[float] = []
    classes: Values = []

    @property
    def inner_edges(self) -> NDArray[np.float64]:
        """The inner edges of bins of numbers, ascending; shape (bins - 1,), empty for "classes" and "none"."""
        if self.kind == "equal" and self.count is not None and self.range is not None:
            return np.linspace(*self.range, self.count + 1)[1:-1]
        return np.asarray(self.edges, dtype=np.float64)

    def __len__(self) -> int:
        """The number of bins."""
        return 1 + (len(self.classes) if self.kind == "classes" else len(self.inner_edges))

    @property
    def names(self) -> list[str]:
        """The name of each bin, in order: classes and "other", or intervals."""
        if self.kind == "classes":
            return [*map(str, self.classes), "other"]
        if self.kind == "none":
            return ["all"]
        edges = [f"{edge:.6g}" for edge in self.inner_edges]
        return [f"{low} to {high}" for low, high in zip(["-∞", *edges], [*edges, "∞"], strict=True)]

    def indices(self, values: NDArray[np.generic] | Sequence[object]) -> NDArray[np.int64]:
        """The bin of each value, shape (rows,), of values of shape (rows,), or of vectors of shape (rows, length)."""
        if self.kind == "none":
            return np.zeros(len(values), dtype=np.int64)
        if self.kind == "classes":
            index: dict[object, int] = {value: at for at, value in enumerate(self.classes)}
            flat = values.tolist() if isinstance(values, np.ndarray) else values
            return np.array([index.get(value, len(index)) for value in flat], dtype=np.int64)
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.ndim > 1:
            numbers = np.linalg.norm(numbers.reshape(len(numbers), -1), axis=1)
        return binning.bins_of(self.inner_edges, numbers)

    def counts(self, values: NDArray[np.generic] | Sequence[object]) -> NDArray[np.int64]:
        """The number of values in each bin, shape (bins,)."""
        return np.bincount(self.indices(values), minlength=len(self))


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Inputs, outputs, the name of the primary output, and its bins."""

    inputs: Annotated[list[Input], msgspec.Meta(min_length=1)]
    outputs: Annotated[list[Output], msgspec.Meta(min_length=1)]
    primary: Name
    bins: Bins

    @property
    def primary_output(self) -> Output:
        """The output that V1 answers, that is binned, and that labels are compared with."""
        return next(output for output in self.outputs if output.name == self.primary)

    @property
    def is_scalar(self) -> bool:
        """Whether inputs are scalar floats of one dtype, and the only output is one number: the fast path's shape."""
        (first, *others), outputs = self.inputs, self.outputs
        return (
            first.is_float
            and first.is_scalar
            and first.name != INPUT
            and all(each.is_scalar and each.dtype == first.dtype for each in others)
            and len(outputs) == 1
            and outputs[0].role in ("probability", "value")
            and outputs[0].shape == SCALAR
            and outputs[0].dtype in FLOATS
        )

    def methods(self) -> dict[str, object]:
        """What belongs to the methods: names, dtypes, shapes, units and roles; not what training data determined."""
        return {
            "inputs": [[each.name, each.dtype, each.shape, each.unit] for each in self.inputs],
            "outputs": [[each.name, each.dtype, len(each.shape), each.role] for each in self.outputs],
            "primary": self.primary,
            "bins": msgspec.to_builtins(self.bins),
        }


def bins_for(output: Output) -> Bins | None:
    """The bins that follow from the output alone; None for values and vectors, whose bins need training rows."""
    if output.role == "probability":
        return Bins(kind="equal", count=PREDICTION_BINS, range=output.range or (0.0, 1.0))
    if output.role == "label" and output.classes:
        return Bins(kind="classes", classes=output.classes)
    return None if output.role in ("value", "vector") else Bins(kind="none")


def difference(first: Signature, second: Signature) -> str | None:
    """Why two versions cannot be compared, as the end of a sentence that names them; None when they can."""
    one, other = first.primary_output, second.primary_output
    if one.role != other.role:
        return f"one predicts a {one.role}, the other a {other.role}"
    if first.bins != second.bins:
        return "their predictions are counted in different bins"
    return None


def check(signature: Signature, *, names: bool = True) -> None:
    """Check what the types alone do not.

    Args:
        signature: inputs, outputs and bins.
        names: check names too. The first release published whatever name a column had.

    Raises:
        InvalidSignature: with the first problem.
    """
    for problem in (*_wrong_names(signature), *_problems(signature)) if names else _problems(signature):
        raise InvalidSignature(problem)


def _wrong_names(signature: Signature) -> Iterable[str]:
    yield from _names("input", [each.name for each in signature.inputs])
    yield from _names("output", [each.name for each in signature.outputs])
    single_tensor = len(signature.inputs) == 1 and not signature.inputs[0].is_scalar
    for each in signature.inputs:
        if each.name in RESERVED_INPUTS and not single_tensor:
            yield f"input {each.name!r} has a name that the protocols use; rename it"


def _problems(signature: Signature) -> Iterable[str]:
    for each in signature.inputs:
        yield from _input(each)
    for output in signature.outputs:
        yield from _output(output)
    if signature.primary not in {each.name for each in signature.outputs}:
        yield f"the primary output {signature.primary!r} is not one of the outputs"
    yield from _bins(signature.bins)


def _names(kind: str, names: list[str]) -> Iterable[str]:
    for name in names:
        if _UNPRINTABLE.search(name) or name != name.strip():
            yield f"{kind} {name!r} starts or ends with space, or has a control character"
        if names.count(name) > 1:
            yield f"{kind} {name!r} is given twice"


def _input(each: Input) -> Iterable[str]:
    if each.shape[0] is not None:
        yield f"the first dimension of input {each.name!r} must be null, for the rows"
    for value in (each.minimum, each.maximum):
        if value is not None and not np.isfinite(value):
            yield f"the range of input {each.name!r} is not finite"
    if each.minimum is not None and each.maximum is not None and each.minimum > each.maximum:
        yield f"the minimum of input {each.name!r} is above its maximum"
    if each.nullable and not each.is_float and (each.dtype == "bool" or each.fill is None):
        yield f"input {each.name!r} is nullable and {each.dtype}; its null needs a fill, or let it be a float"
    if each.categories is not None and each.dtype not in ("string", "int64"):
        yield f"input {each.name!r} is {each.dtype} and has categories; only strings and int64 have"
    if each.strict and each.categories is None:
        yield f"input {each.name!r} is strict without categories"


def _output(output: Output) -> Iterable[str]:
    if output.shape[0] is not None:
        yield f"the first dimension of output {output.name!r} must be null, for the rows"
    if output.role in ("class-probabilities", "label") and not output.classes:
        yield f"output {output.name!r} is a {output.role} without classes"
    if output.role in ("probability", "label", "value") and output.shape != SCALAR:
        yield f"output {output.name!r} is a {output.role} and must have the shape [null]"
    if output.role in ("probability", "value", "class-probabilities", "vector") and output.dtype in (
        "string",
        "bytes",
        "bool",
        "timestamp",
    ):
        yield f"output {output.name!r} is a {output.role} and must be numeric"


def _bins(bins: Bins) -> Iterable[str]:
    if bins.kind == "equal" and (bins.count is None or bins.range is None or not bins.range[0] < bins.range[1]):
        yield "equal bins need a count and an ascending range"
    if bins.kind == "edges" and (not np.isfinite(bins.edges).all() or not (np.diff(bins.edges) > 0).all()):
        yield "the edges of the bins must be finite and ascend"
    if bins.kind == "classes" and (not bins.classes or len(set(bins.classes)) != len(bins.classes)):
        yield "bins of classes need classes, each once"
