"""The trees of scikit-learn's histogram boosting, XGBoost and LightGBM, read from what each library says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sabia.publishing.converters.trees import LESS, LESS_OR_EQUAL, MEMBER, Tree
from sabia.publishing.errors import ConversionRefused

Link = Literal["identity", "sigmoid", "softmax", "exp"]
_XGBOOST_LINKS: dict[str, Link] = {
    "binary:logistic": "sigmoid",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
}
_LIGHTGBM_LINKS: dict[str, Link] = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
}


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees, and how their sums become predictions.

    Attributes:
        base: added to the sums, one for each target.
        in_float32: whether the library compares values rounded to float32.
        categories: of each column that holds categories: its values in the order of their codes. The trees compare the
            codes, and anything else is missing.
    """

    trees: list[Tree]
    base: NDArray[np.float64]
    link: Link
    in_float32: bool
    categories: dict[int, list[Any]]


def read(estimator: Any) -> Ensemble | None:
    """The ensemble of an estimator; None when it is of another kind.

    Raises:
        ConversionRefused: it is of this kind, with something that no graph can compute alike.
    """
    kind = type(estimator)
    for of in kind.__mro__:
        read_one = _READERS.get(f"{of.__module__.partition('.')[0]}.{of.__name__}")
        if read_one is not None:
            return read_one(estimator)
    return None


def _histogram_boosting(estimator: Any) -> Ensemble:
    links: dict[str, Link] = {"HalfBinomialLoss": "sigmoid", "HalfMultinomialLoss": "softmax"}
    loss = estimator._loss  # noqa: SLF001  scikit-learn has no public form of the trees
    link = links.get(type(loss).__name__) or ("exp" if type(loss.link).__name__ == "LogLink" else "identity")
    trees = [
        _histogram_tree(predictor, target)
        for iteration in estimator._predictors  # noqa: SLF001
        for target, predictor in enumerate(iteration)
    ]
    preprocessor = estimator._preprocessor  # noqa: SLF001
    base = np.ravel(estimator._baseline_prediction)  # noqa: SLF001
    if preprocessor is None:
        return Ensemble(trees, base, link, in_float32=False, categories={})
    is_categorical = estimator.is_categorical_
    # The trees see the categorical columns first.
    order = [*np.flatnonzero(is_categorical), *np.flatnonzero(~is_categorical)]
    for tree in trees:
        tree.feature = np.asarray(order)[tree.feature]
    encoder = preprocessor.named_transformers_["encoder"]
    categories = dict(zip(np.flatnonzero(is_categorical).tolist(), map(list, encoder.categories_), strict=True))
    return Ensemble(trees, base, link, in_float32=False, categories=categories)


def _histogram_tree(predictor: Any, target: int) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    is_set = nodes["is_categorical"].astype(bool) & ~is_leaf
    members = {}
    for at in np.flatnonzero(is_set).tolist():
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][at]]
        members[at] = [bit for bit in range(len(words) * 32) if words[bit // 32] >> np.uint32(bit % 32) & np.uint32(1)]
    return Tree(
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        feature=nodes["feature_idx"].astype(np.int64),
        mode=np.where(is_set, MEMBER, LESS_OR_EQUAL).astype(np.uint8),
        split=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64),
        target=target,
        members=members,
    )


def _xgboost(estimator: Any) -> Ensemble:
    booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
    best = getattr(booster, "best_iteration", None) if booster.attr("best_iteration") is not None else None
    if best is not None:
        booster = booster[: best + 1]
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, kind = learner["objective"]["name"], learner["gradient_booster"]["name"]
    if objective not in _XGBOOST_LINKS:
        raise ConversionRefused("XGBoost", f"its objective {objective!r} is not supported")
    if kind != "gbtree":
        raise ConversionRefused("XGBoost", f"its booster {kind!r} is not supported; gbtree is")
    model, parameters = learner["gradient_booster"]["model"], learner["learner_model_param"]
    if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in model["trees"]):
        raise ConversionRefused("XGBoost", "trees with several targets in a leaf are not supported")
    trees = [_xgboost_tree(tree, target) for tree, target in zip(model["trees"], model["tree_info"], strict=True)]
    link = _XGBOOST_LINKS[objective]
    base = np.ravel(np.asarray(json.loads(parameters["base_score"]), dtype=np.float64))
    if link == "sigmoid":
        base = np.log(base / (1 - base))
    elif link == "exp":
        base = np.log(base)
    targets = max(int(parameters["num_class"]), int(parameters["num_target"]), 1)
    categories = _xgboost_categories(booster, model)
    return Ensemble(trees, np.broadcast_to(base, (targets,)).copy(), link, in_float32=True, categories=categories)


def _xgboost_tree(tree: dict[str, Any], target: int) -> Tree:
    left = np.asarray(tree["left_children"], dtype=np.int64)
    split = np.asarray(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    is_set = np.asarray(tree["split_type"], dtype=bool)
    members: dict[int, list[int]] = {}
    for node, start, size in zip(
        tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
    ):
        members[node] = tree["categories"][start : start + size]
    missing_left = np.asarray(tree["default_left"], dtype=bool)
    right = np.asarray(tree["right_children"], dtype=np.int64)
    # The categories of a node go right: turn the node round.
    return Tree(
        left=np.where(is_set, right, left),
        right=np.where(is_set, left, right),
        feature=np.asarray(tree["split_indices"], dtype=np.int64),
        mode=np.where(is_set, MEMBER, LESS).astype(np.uint8),
        split=split,
        missing_left=np.where(is_set, ~missing_left, missing_left),
        value=split,
        target=target,
        members=members,
    )


def _xgboost_categories(booster: Any, model: dict[str, Any]) -> dict[int, list[Any]]:
    types = booster.feature_types or []
    if "c" not in types:
        return {}
    encodings = model.get("cats", {}).get("enc", [])
    if not encodings:
        raise ConversionRefused("XGBoost", "it does not name its categories; train it with XGBoost 3.1 or later")
    found = {}
    for at, encoding in enumerate(encodings):
        if at < len(types) and types[at] == "c":
            values = encoding["values"]
            if "offsets" in encoding:
                text = bytes(value % 256 for value in values)
                offsets = encoding["offsets"]
                values = [text[low:high].decode() for low, high in pairwise(offsets)]
            found[at] = list(values)
    return found


def _lightgbm(estimator: Any) -> Ensemble:
    booster = getattr(estimator, "booster_", estimator)
    dump = booster.dump_model(num_iteration=booster.best_iteration)
    objective, *details = (dump.get("objective") or "").split() or [""]
    given = dict(detail.partition(":")[::2] for detail in details)
    if objective not in _LIGHTGBM_LINKS or dump["average_output"] or "sqrt" in details:
        raise ConversionRefused("LightGBM", f"its objective {dump.get('objective')!r} is not supported")
    if given.get("sigmoid", "1") not in ("1", "1.0"):
        raise ConversionRefused("LightGBM", "a `sigmoid` other than 1 is not supported")
    targets = dump["num_tree_per_iteration"]
    trees = [_lightgbm_tree(info["tree_structure"], at % targets) for at, info in enumerate(dump["tree_info"])]
    categorical = [
        at for at, name in enumerate(dump["feature_names"]) if any(_has_set(tree, at) for tree in trees) and name
    ]
    named = dump.get("pandas_categorical") or []
    categories: dict[int, list[Any]] = {}
    if named:
        # pandas' categorical columns, in the order of the table.
        columns = [at for at in range(len(dump["feature_names"])) if _is_categorical(booster, at)]
        categories = dict(zip(columns, named, strict=False))
        if not set(categorical) <= set(categories):
            raise ConversionRefused("LightGBM", "categorical columns that pandas does not call so are not supported")
    elif categorical:
        categories = {}
    return Ensemble(trees, np.zeros(targets), _LIGHTGBM_LINKS[objective], in_float32=False, categories=categories)


def _has_set(tree: Tree, column: int) -> bool:
    return any(tree.feature[at] == column for at in tree.members)


def _is_categorical(booster: Any, column: int) -> bool:
    info = booster.dump_model(num_iteration=1)["feature_infos"].get(booster.feature_name()[column], {})
    return bool(info.get("values"))


def _lightgbm_tree(root: dict[str, Any], target: int) -> Tree:
    nodes: list[dict[str, Any]] = []
    left: list[int] = []
    right: list[int] = []
    waiting: list[tuple[dict[str, Any], int, list[int] | None]] = [(root, 0, None)]
    while waiting:
        node, parent, side = waiting.pop()
        at = len(nodes)
        nodes.append(node)
        left.append(-1)
        right.append(-1)
        if side is not None:
            side[parent] = at
        if "left_child" in node:
            waiting += [(node["left_child"], at, left), (node["right_child"], at, right)]
    members = {
        at: [int(value) for value in str(node["threshold"]).split("||")]
        for at, node in enumerate(nodes)
        if node.get("decision_type") == "=="
    }
    if any(node.get("missing_type") == "Zero" for node in nodes):
        raise ConversionRefused("LightGBM", "`zero_as_missing` is not supported")
    splits = [0.0 if at in members else float(node.get("threshold", 0.0)) for at, node in enumerate(nodes)]
    missing_left = [
        at not in members and (node["default_left"] if node["missing_type"] == "NaN" else splits[at] >= 0)
        if "left_child" in node
        else False
        for at, node in enumerate(nodes)
    ]
    return Tree(
        left=np.asarray(left),
        right=np.asarray(right),
        feature=np.asarray([node.get("split_feature", 0) for node in nodes]),
        mode=np.asarray([MEMBER if at in members else LESS_OR_EQUAL for at in range(len(nodes))], dtype=np.uint8),
        split=np.asarray(splits),
        missing_left=np.asarray(missing_left, dtype=bool),
        value=np.asarray([node.get("leaf_value", 0.0) for node in nodes], dtype=np.float64),
        target=target,
        members=members,
    )


_READERS: dict[str, Callable[[Any], Ensemble]] = {
    "sklearn.HistGradientBoostingClassifier": _histogram_boosting,
    "sklearn.HistGradientBoostingRegressor": _histogram_boosting,
    "xgboost.XGBModel": _xgboost,
    "xgboost.Booster": _xgboost,
    "lightgbm.LGBMModel": _lightgbm,
    "lightgbm.Booster": _lightgbm,
}
