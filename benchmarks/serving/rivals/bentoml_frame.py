"""A BentoML service of a pipeline of strings and numbers; `BENCHMARK_ESTIMATOR` names the estimator."""

import os

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": True})
class Pipeline:
    """One pipeline."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCHMARK_ESTIMATOR"])

    @bentoml.api
    async def predict(self, instances: pd.DataFrame) -> list[float]:
        """Predict."""
        return self.pipeline.predict_proba(instances)[:, 1].tolist()
