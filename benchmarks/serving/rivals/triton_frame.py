"""Triton, from `nvidia-pytriton`, with a pipeline of strings and numbers: `triton_frame.py ESTIMATOR PORT`.

The package needs numpy 1, which cannot open what numpy 2 wrote. So the same pipeline is trained here, from the same
rows, before the first start.
"""

import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

ESTIMATOR, PORT = Path(sys.argv[1]), int(sys.argv[2])
STRINGS = ["carrier", "origin", "dest"]
NUMBERS = ["month", "hour", "distance", "temp", "wind_speed", "visib", "precip"]
TRAINED = ESTIMATOR.parent / "triton.joblib"


def trained():
    """The pipeline of the benchmark, on its rows."""
    rows = pd.read_csv(ESTIMATOR.parent / "rows.csv")
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), STRINGS), remainder="passthrough"
    )
    pipeline = make_pipeline(encoded, HistGradientBoostingClassifier(random_state=0))
    return pipeline.fit(rows[STRINGS + NUMBERS], rows["late"])


@batch
def predict(**columns):
    """Predict the rows of some requests together."""
    texts = {name: np.char.decode(columns[name][:, 0].astype(bytes), "utf-8").astype(object) for name in STRINGS}
    frame = pd.DataFrame(texts | {name: columns[name][:, 0] for name in NUMBERS})
    return {"prediction": pipeline.predict_proba(frame)[:, 1:]}


if __name__ == "__main__":
    if not TRAINED.exists():
        joblib.dump(trained(), TRAINED)
    pipeline = joblib.load(TRAINED)
    where = {"http_address": "127.0.0.1", "http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2}
    with Triton(config=TritonConfig(**where)) as triton:
        triton.bind(
            model_name="flights",
            infer_func=predict,
            inputs=[
                *(Tensor(name=name, dtype=bytes, shape=(1,)) for name in STRINGS),
                *(Tensor(name=name, dtype=np.float64, shape=(1,)) for name in NUMBERS),
            ],
            outputs=[Tensor(name="prediction", dtype=np.float64, shape=(1,))],
            config=ModelConfig(max_batch_size=16_000, batcher=DynamicBatcher(max_queue_delay_microseconds=1000)),
        )
        triton.serve()
