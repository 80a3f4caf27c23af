"""Ray Serve: `ray_server.py ESTIMATOR PORT`."""

import sys
import time

import joblib
import numpy as np
import ray
from ray import serve

PATH, PORT = sys.argv[1:3]


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Estimator:
    """One estimator."""

    def __init__(self) -> None:
        self.estimator = joblib.load(PATH)

    async def __call__(self, request):
        rows = np.array((await request.json())["instances"])
        return {"predictions": self.estimator.predict_proba(rows)[:, 1].tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(PORT), "access_log": False})
    serve.run(Estimator.bind(), route_prefix="/predict")
    while True:
        time.sleep(60)
