"""A BentoML service of a pipeline of strings and numbers; `BENCHMARK_ESTIMATOR` names the estimator."""

import os

import bentoml
import joblib
from frames import frame


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": True})
class Pipeline:
    """One pipeline."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCHMARK_ESTIMATOR"])

    @bentoml.api(batchable=True, max_batch_size=16_000)
    async def predict(self, instances: list[dict]) -> list[float]:
        """Predict the rows of some requests together, as its documentation advises; it does not batch data frames."""
        return self.pipeline.predict_proba(frame(instances))[:, 1].tolist()
