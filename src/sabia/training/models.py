"""The talk's object: a model is state (`params`, `hyper_params`) and methods (`train`, `predict`).

Each class below is one set of methods. All of them predict the probability of the positive class, so that any two
versions can share traffic. To add one, write a class and name it in `METHODS`; the parity test then runs over it. Raise
`code_major` when a class predicts something else from the same params: other methods are a new MAJOR.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

# Private to scikit-learn, and the only way to tell a parameter's fault from one of the rows.
from sklearn.utils._param_validation import InvalidParameterError

from sabia.training.errors import InvalidHyperParams, TrainingFailed, UnknownMethods

Array = NDArray[np.float64]
Params = dict[str, Any]


class Model(ABC):
    """State and methods."""

    name: ClassVar[str]
    code_major: ClassVar[int] = 1
    # A regressor's score is clipped to [0, 1]; a classifier's probability of class 1 needs no clipping.
    is_classifier: ClassVar[bool] = True
    # Trees split at data values, which float32 keeps apart; the sums of linear models need the float64 of the data.
    input_dtype: ClassVar[str]
    # Whether a feature may be NaN.
    takes_nulls: ClassVar[bool] = False
    # The largest distance between the served model and the estimator that the publishing gate lets pass.
    parity_tolerance: ClassVar[float]

    def __init__(self) -> None:
        self.params: Params = {}
        self.hyper_params: Params = {}
        self.estimator: Pipeline | None = None

    def train(self, target: NDArray[np.int64], features: Array, hyper_params: Params) -> Self:
        """Fit the state.

        Args:
            target: shape (rows,), 0 or 1.
            features: shape (rows, columns).
            hyper_params: arguments of the estimator.

        Raises:
            InvalidHyperParams: the estimator does not take them.
            TrainingFailed: it cannot be trained on these rows, or with these hyper-parameters together.
        """
        try:
            pipeline = Pipeline(self._steps(hyper_params))
        except TypeError as error:
            raise InvalidHyperParams(self.name, str(error).rstrip(".")) from error
        try:
            estimator = pipeline.fit(features, target)
        except InvalidParameterError as error:
            raise InvalidHyperParams(self.name, str(error).splitlines()[0].rstrip(".")) from error
        except ValueError as error:
            raise TrainingFailed(self.name, str(error).splitlines()[0].rstrip(".:")) from error
        self.hyper_params = dict(hyper_params)
        self.estimator = estimator
        self.params = self._params(estimator)
        return self

    @abstractmethod
    def predict(self, features: Array) -> Array:
        """The probability of the positive class, shape (rows,), in [0, 1]."""

    @property
    def classes(self) -> list[str]:
        """The estimator's class chain, for the methods fingerprint."""
        return [f"{type(step).__module__.split('.')[0]}.{type(step).__name__}" for _, step in self._steps({})]

    @abstractmethod
    def _steps(self, hyper_params: Params) -> list[tuple[str, BaseEstimator]]:
        """The estimator's named steps, unfitted."""

    @abstractmethod
    def _params(self, estimator: Pipeline) -> Params:
        """The fitted parameters, as JSON can hold them."""

    def _fitted(self) -> Pipeline:
        if self.estimator is None:
            raise RuntimeError("train() comes before predict()")
        return self.estimator


class _Linear(Model):
    """Standardised columns times coefficients: the params are the whole model."""

    input_dtype = "float64"
    parity_tolerance = 1e-9

    def _params(self, estimator: Pipeline) -> Params:
        scaler, fitted = estimator["scaler"], estimator["model"]
        return {
            "means": scaler.mean_.tolist(),
            "scales": scaler.scale_.tolist(),
            "coefficients": np.ravel(fitted.coef_).tolist(),
            "intercept": float(np.ravel(fitted.intercept_)[0]),
        }


class LinearRegression(_Linear):
    """Ridge regression on the 0/1 target, clipped to [0, 1]."""

    name = "linear-regression"
    is_classifier = False

    def _steps(self, hyper_params: Params) -> list[tuple[str, BaseEstimator]]:
        return [("scaler", StandardScaler()), ("model", Ridge(**hyper_params))]

    def predict(self, features: Array) -> Array:
        """The clipped score, shape (rows,)."""
        return np.clip(np.ravel(self._fitted().predict(features)), 0.0, 1.0)


class _Classifier(Model):
    def predict(self, features: Array) -> Array:
        """The probability of class 1, shape (rows,)."""
        return np.asarray(self._fitted().predict_proba(features)[:, 1], dtype=np.float64)


class LogisticRegression(_Classifier, _Linear):
    """Logistic regression."""

    name = "logistic-regression"

    def _steps(self, hyper_params: Params) -> list[tuple[str, BaseEstimator]]:
        return [("scaler", StandardScaler()), ("model", SklearnLogisticRegression(**hyper_params))]


class _Trees(_Classifier):
    input_dtype = "float32"
    takes_nulls = True
    # float32 sums of leaf values; measured up to 6e-7 relative.
    parity_tolerance = 1e-5


class RandomForest(_Trees):
    """A forest of decision trees."""

    name = "random-forest"

    def _steps(self, hyper_params: Params) -> list[tuple[str, BaseEstimator]]:
        return [("model", RandomForestClassifier(**hyper_params))]

    def _params(self, estimator: Pipeline) -> Params:
        trees = [tree.tree_ for tree in estimator["model"].estimators_]
        return {"trees": len(trees), "nodes": int(sum(tree.node_count for tree in trees))}


class HistogramBoosting(_Trees):
    """Gradient boosting over binned features."""

    name = "histogram-boosting"

    def _steps(self, hyper_params: Params) -> list[tuple[str, BaseEstimator]]:
        return [("model", HistGradientBoostingClassifier(**hyper_params))]

    def _params(self, estimator: Pipeline) -> Params:
        return {"iterations": int(estimator["model"].n_iter_)}


METHODS: dict[str, type[Model]] = {
    model.name: model for model in (LinearRegression, LogisticRegression, RandomForest, HistogramBoosting)
}


def model_of(methods: str) -> Model:
    """A new, untrained model of these methods.

    Raises:
        UnknownMethods: there are none.
    """
    try:
        return METHODS[methods]()
    except KeyError as error:
        raise UnknownMethods(methods, METHODS) from error
