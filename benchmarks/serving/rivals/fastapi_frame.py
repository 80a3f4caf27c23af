"""FastAPI with pydantic and a pipeline of strings and numbers: `fastapi_frame.py ESTIMATOR PORT`."""

import sys

import joblib
import uvicorn
from fastapi import FastAPI
from frames import frame
from pydantic import BaseModel

PATH, PORT = sys.argv[1:3]
pipeline = joblib.load(PATH)
app = FastAPI()


class Rows(BaseModel):
    """The body."""

    instances: list[dict[str, float | str | None]]


class Predictions(BaseModel):
    """The answer."""

    predictions: list[float]


@app.post("/predict")
async def predict(rows: Rows) -> Predictions:
    """Predict."""
    return Predictions(predictions=pipeline.predict_proba(frame(rows.instances))[:, 1].tolist())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(PORT), loop="uvloop", http="httptools", access_log=False)
