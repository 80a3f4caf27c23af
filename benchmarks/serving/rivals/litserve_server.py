"""LitServe: `litserve_server.py ESTIMATOR PORT`."""

import sys

import joblib
import litserve
import numpy as np

PATH, PORT = sys.argv[1:3]


class Estimator(litserve.LitAPI):
    """One estimator."""

    def setup(self, device) -> None:
        self.estimator = joblib.load(PATH)

    def decode_request(self, request):
        return np.array(request["instances"])

    def predict(self, rows):
        return self.estimator.predict_proba(rows)[:, 1]

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Estimator(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(PORT), generate_client_file=False, log_level="error", access_log=False)
