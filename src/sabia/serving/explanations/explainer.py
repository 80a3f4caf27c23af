"""Contributions to the predictions of trees, which the first explanation reads from the version's own graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract import reference as references
from sabia.contract.manifest import REFERENCE_FILE
from sabia.contract.signature import Signature
from sabia.contract.tensors import INPUT
from sabia.registry.verification import Artifact
from sabia.serving.errors import LoadFailed, ModelFailed, NotExplainable
from sabia.serving.explanations import background, columns, ensembles, links
from sabia.serving.explanations.trees import Bools, Floats, Ints, Trees, shapley
from sabia.serving.inference.batch import Batch
from sabia.serving.inference.session import open_session

if TYPE_CHECKING:
    import onnxruntime
    from onnx import GraphProto, ModelProto, NodeProto

Arrays = dict[str, NDArray[Any]]
Feeds = Callable[[Batch], Iterable[Mapping[str, NDArray[Any]]]]
Predict = Callable[[Batch], Arrays]

SCALES = ("log-odds", "margin", "log", "probability", "value")
EXTRA = "this server lacks the library that reads its trees; install sabia[explanations]"
# Rows by which the widths of the values before the trees are found.
_FEW = 2


@dataclass(frozen=True, slots=True)
class Explanations:
    """The parts of each row's score.

    Attributes:
        scale: of the scores, one of `SCALES`; a "margin" becomes a probability among those of all classes.
        intercepts: the mean score of the background rows, or of the training rows for linear methods; shape (rows,).
        contributions: shape (rows, inputs). With the intercept they add up to the score.
        scores: shape (rows,).
        classes: the class that each score is of, if the primary output is one of several classes.
    """

    scale: str
    intercepts: Floats
    contributions: Floats
    scores: Floats
    classes: Sequence[str | int] | None = None


class TreeExplainer:
    """Explains the predictions of one version, if they are sums of trees.

    The first explanation reads the trees; until then only the graph's bytes are kept.

    Args:
        artifact: the version.
        feeds: what the graph is fed with for a batch.
        predict: the outputs for a batch, by name.
    """

    def __init__(self, artifact: Artifact, feeds: Feeds, predict: Predict) -> None:
        self._signature = artifact.manifest.signature
        self._reference = artifact.files[REFERENCE_FILE]
        self._feeds, self._predict = feeds, predict
        self._lock = threading.Lock()
        self._graph, self._refused = _graph_with_trees(artifact)
        self._forest: _Forest | None = None

    def check(self) -> None:
        """Raise NotExplainable if it is known that this version cannot be explained."""
        if self._refused is not None:
            raise NotExplainable(self._refused)

    def explain(self, batch: Batch, outputs: Arrays, check: Callable[[], None] = lambda: None) -> Explanations:
        """The explanations of some rows that the version predicted `outputs` for.

        Args:
            batch: the rows.
            outputs: what `predict` gave for them.
            check: called now and then; raises to end the work.

        Raises:
            NotExplainable: with the reason.
        """
        with self._lock:
            self.check()
            if self._forest is None:
                try:
                    self._forest = _Forest(
                        self._graph or b"", self._signature, self._reference, self._feeds, self._predict
                    )
                except NotExplainable as error:
                    self._refused = error.reason
                self._graph = None
                self.check()
        assert self._forest is not None, "it is there, or check() raised"
        return self._forest.explain(self._feeds(batch), outputs, check)


def _graph_with_trees(artifact: Artifact) -> tuple[bytes | None, str | None]:
    """The graph, if it may have trees; or why it cannot be explained."""
    model = artifact.model
    if not isinstance(model, bytes):
        return None, "it has a file of more than 32 MiB"
    if b"TreeEnsemble" not in model:
        return None, "it is neither linear nor made of trees"
    return model, None


class _Forest:
    """The trees of a version, its background rows, and which input decides each comparison."""

    def __init__(self, graph: bytes, signature: Signature, reference: bytes, feeds: Feeds, predict: Predict) -> None:
        try:
            import onnx  # noqa: PLC0415  an extra
        except ImportError as error:
            raise NotExplainable(EXTRA) from error
        model = onnx.load_model_from_string(graph)
        node = _only_ensemble(model.graph)
        self._trees = trees = ensembles.behind(ensembles.read(node), node.output[-1], model.graph)
        described = references.decode(reference)
        rows = background.draw(signature, described)
        self._matrix = _Matrix(model, node.input[0], signature, feeds(rows))
        self._inputs = [each.name for each in signature.inputs]
        self._player = self._players(trees, signature, described)
        matrix = self._matrix(feeds(rows))
        self._background = trees.decisions(matrix)
        sums = trees.sums(self._background)
        try:
            outputs = predict(rows)
        except ModelFailed as error:
            raise NotExplainable("it fails on the rows of reference.json that explanations compare with") from error
        link = links.find(signature, sums, outputs)
        if link is None:
            raise NotExplainable("what it predicts is not a sum of its trees, nor a known function of one")
        self._link = link
        self._intercepts = link.scores(sums).mean(axis=0)
        self._primary = signature.primary_output

    def _players(self, trees: Trees, signature: Signature, reference: references.Reference) -> Ints:
        """Which of the inputs that the trees use decides each node's comparison; shape (nodes,)."""
        inner = np.flatnonzero(trees.true >= 0)
        names: dict[int, str] = {}
        for column in np.flatnonzero(np.bincount(trees.column[inner])).tolist():
            if column >= len(self._matrix.sources):
                raise NotExplainable("its trees compare a column that does not exist")
            origin = self._matrix.sources[column]
            if len(origin) > 1:
                shown = ", ".join(f'"{name}"' for name in sorted(origin)[:4])
                raise NotExplainable(f"a step before the trees makes one number of several inputs, such as {shown}")
            names[column] = next(iter(origin), "")
        self._used = sorted({name for name in names.values() if name})
        for each in signature.inputs:
            if each.name in self._used and not background.has_values(each, reference.features.get(each.name)):
                raise NotExplainable(f'reference.json has no values of input "{each.name}" to compare with')
        places = {name: at for at, name in enumerate(self._used)}
        # What depends on no input is the same in all rows, and no player decides it.
        player = np.zeros(len(trees.true), dtype=np.int64)
        player[inner] = [places.get(names[column], 0) for column in trees.column[inner].tolist()]
        return player

    def explain(
        self, feeds: Iterable[Mapping[str, NDArray[Any]]], outputs: Arrays, check: Callable[[], None]
    ) -> Explanations:
        decisions = self._trees.decisions(self._matrix(feeds))
        scores = self._link.scores(self._trees.sums(decisions))
        classes, of = None, np.zeros(len(scores), dtype=np.int64)
        if scores.shape[1] > 1:
            of = links.class_indices(self._primary, outputs[self._primary.name])
            named = self._primary.classes or []
            classes = [named[at] for at in of.tolist()]
        contributions = np.zeros((len(scores), len(self._inputs)))
        columns_of = [self._inputs.index(name) for name in self._used]
        for at, row in enumerate(decisions):
            values = self._shapley(row, check) @ self._link.weights
            contributions[at, columns_of] = values[:, of[at]]
        picked = np.arange(len(scores)), of
        return Explanations(self._link.scale, self._intercepts[of], contributions, scores[picked], classes)

    def _shapley(self, row: Bools, check: Callable[[], None]) -> Floats:
        players = max(1, len(self._used))  # of trees that compare nothing, one that contributes nothing
        return shapley(self._trees, row, self._background, self._player, players, check)[: len(self._used)]


class _Matrix:
    """The matrix that the trees compare, computed by the part of the graph before them.

    Attributes:
        sources: the inputs that each column is made of.
    """

    def __init__(
        self, model: ModelProto, name: str, signature: Signature, feeds: Iterable[Mapping[str, NDArray[Any]]]
    ) -> None:
        from onnx import helper, numpy_helper  # noqa: PLC0415  an extra

        graph = model.graph
        self._name = name
        inputs = _input_columns(graph, signature)
        self._session: onnxruntime.InferenceSession | None = None
        if name in inputs:
            self.sources = inputs[name]
            return
        nodes = _before(graph, name)
        # Without the trees, which are nearly all of the graph.
        del graph.node[:]
        graph.node.extend(nodes)
        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        for node in nodes:
            if node.op_type == "Constant":
                constants |= {node.output[0]: _constant(node)}
        nodes = [node for node in nodes if node.op_type != "Constant"]
        values = [output for node in nodes for output in node.output if output]
        del graph.output[:]
        graph.output.extend(helper.make_empty_tensor_value_info(each) for each in values)
        session = _part(model)
        first = {key: value[:_FEW] for key, value in next(iter(feeds)).items()}
        shapes = [np.shape(value) for value in session.run(values, first)]
        widths = {each: max(1, shape[-1]) if len(shape) > 1 else 1 for each, shape in zip(values, shapes, strict=True)}
        self.sources = columns.sources(nodes, inputs, constants, widths, name)
        del graph.output[:]
        graph.output.append(helper.make_empty_tensor_value_info(name))
        self._session = _part(model)

    def __call__(self, feeds: Iterable[Mapping[str, NDArray[Any]]]) -> Floats:
        """Shape (rows, columns)."""
        parts = [
            feed[self._name] if self._session is None else self._session.run([self._name], dict(feed))[0]
            for feed in feeds
        ]
        return np.concatenate([np.asarray(part, dtype=np.float64).reshape(len(part), -1) for part in parts])


def _part(model: ModelProto) -> onnxruntime.InferenceSession:
    try:
        return open_session(model.SerializeToString())
    except LoadFailed as error:
        raise NotExplainable("the steps before its trees cannot be computed without them") from error


def _only_ensemble(graph: GraphProto) -> NodeProto:
    found = [node for node in graph.node if node.op_type in ensembles.OPERATORS]
    if len(found) != 1:
        problem = f"it has {len(found)} ensembles of trees" if found else "it has no trees that every row passes"
        raise NotExplainable(f"{problem}; one is needed")
    return found[0]


def _input_columns(graph: GraphProto, signature: Signature) -> dict[str, columns.Columns]:
    names = [each.name for each in signature.inputs]
    weights = {each.name for each in graph.initializer}
    ends = [each for each in graph.input if each.name not in weights]
    if len(ends) == 1 and ends[0].name == INPUT:
        return {INPUT: [frozenset((name,)) for name in names]}
    widths = {each.name: each.shape[-1] or 1 for each in signature.inputs if not each.is_scalar}
    return {name: [frozenset((name,))] * widths.get(name, 1) for name in names}


def _before(graph: GraphProto, name: str) -> list[NodeProto]:
    """The nodes that a value depends on, in the order of computation."""
    needed, found = {name}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            found.append(node)
            needed.update(node.input)
            for each in node.attribute:
                for body in (each.g, *each.graphs):
                    needed.update(value for inner in body.node for value in inner.input)
    return found[::-1]


def _constant(node: NodeProto) -> NDArray[Any]:
    from onnx import helper, numpy_helper  # noqa: PLC0415  an extra

    value = helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if hasattr(value, "dims") else np.asarray(value)
