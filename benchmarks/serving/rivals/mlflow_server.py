"""MLflow's own model server: log the pipeline as MLflow keeps it, then `mlflow models serve`."""

import os
import sys
from pathlib import Path

import joblib
import mlflow.sklearn

ESTIMATOR, PORT = sys.argv[1:3]
FOLDER = Path(ESTIMATOR).parent / "mlflow"

if not FOLDER.exists():
    mlflow.sklearn.save_model(
        joblib.load(ESTIMATOR), FOLDER, pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle"
    )
command = str(Path(sys.executable).parent / "mlflow")
where = ["--model-uri", str(FOLDER), "--host", "127.0.0.1", "--port", PORT, "--env-manager", "local", "--workers", "1"]
# The server's own processes find uvicorn by the path.
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
os.execv(command, [command, "models", "serve", *where])  # noqa: S606
