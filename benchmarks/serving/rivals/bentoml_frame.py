"""A BentoML service of a pipeline of strings and numbers; `BENCHMARK_ESTIMATOR` names the estimator."""

import os

import bentoml
import joblib
import numpy as np
import pandas as pd


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": True})
class Pipeline:
    """One pipeline."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCHMARK_ESTIMATOR"])

    @bentoml.api(batchable=True, max_batch_size=16_000)
    async def predict(self, instances: pd.DataFrame) -> np.ndarray:
        """Predict the rows of some requests together, as its documentation advises."""
        return self.pipeline.predict_proba(instances)[:, 1]
