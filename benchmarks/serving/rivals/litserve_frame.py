"""LitServe with a pipeline of strings and numbers: `litserve_frame.py ESTIMATOR PORT`."""

import sys

import joblib
import litserve
import numpy as np
from frames import frame

PATH, PORT = sys.argv[1:3]


class Pipeline(litserve.LitAPI):
    """One pipeline; requests that wait together are predicted together, as its documentation advises."""

    def setup(self, device) -> None:
        self.pipeline = joblib.load(PATH)

    def decode_request(self, request):
        return request["instances"]

    def batch(self, requests):
        self.sizes = [len(rows) for rows in requests]
        return frame([row for rows in requests for row in rows])

    def predict(self, rows):
        return self.pipeline.predict_proba(rows)[:, 1]

    def unbatch(self, output):
        return np.split(output, np.cumsum(self.sizes)[:-1])

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    api = Pipeline(max_batch_size=16, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(PORT), generate_client_file=False, log_level="error", access_log=False)
