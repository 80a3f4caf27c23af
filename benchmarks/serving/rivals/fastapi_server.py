"""FastAPI with pydantic, on uvicorn with httptools and uvloop: `fastapi_server.py ESTIMATOR PORT`."""

import sys

import joblib
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

PATH, PORT = sys.argv[1:3]
estimator = joblib.load(PATH)
app = FastAPI()


class Rows(BaseModel):
    """The body."""

    instances: list[list[float]]


class Predictions(BaseModel):
    """The answer."""

    predictions: list[float]


@app.post("/predict")
async def predict(rows: Rows) -> Predictions:
    """Predict."""
    return Predictions(predictions=estimator.predict_proba(np.array(rows.instances))[:, 1].tolist())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(PORT), loop="uvloop", http="httptools", access_log=False)
