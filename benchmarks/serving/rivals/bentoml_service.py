"""A BentoML service; `BENCHMARK_ESTIMATOR` names the estimator."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": True})
class Estimator:
    """One estimator."""

    def __init__(self) -> None:
        self.estimator = joblib.load(os.environ["BENCHMARK_ESTIMATOR"])

    @bentoml.api
    async def predict(self, instances: np.ndarray) -> np.ndarray:
        """Predict."""
        return self.estimator.predict_proba(instances)[:, 1]
