"""Ray Serve, HAProxy in front, with a pipeline of strings and numbers: `ray_frame.py ESTIMATOR PORT`.

HAProxy is the one that `ray[serve]` brings. It hands each request to the replica, without Ray's own proxy between.
"""

import os
import sys
import time

os.environ |= {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_NBTHREAD": "1"}

import joblib
import ray
from frames import frame
from ray import serve

PATH, PORT = sys.argv[1:3]


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Pipeline:
    """One pipeline; requests that wait together are predicted together, as its documentation advises."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(PATH)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.001)
    async def predict(self, requests):
        output = self.pipeline.predict_proba(frame([row for rows in requests for row in rows]))[:, 1].tolist()
        rows = iter(output)
        return [[next(rows) for _ in each] for each in requests]

    async def __call__(self, request):
        return {"predictions": await self.predict((await request.json())["instances"])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(PORT), "access_log": False})
    serve.run(Pipeline.bind(), route_prefix="/predict")
    while True:
        time.sleep(60)
