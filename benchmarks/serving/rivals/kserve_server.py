"""KServe's ModelServer with a `kserve.Model` that holds a scikit-learn estimator: `kserve_server.py ESTIMATOR PORT`."""

import sys

import joblib
import kserve
from kserve.utils.utils import get_predict_input, get_predict_response

PATH, PORT = sys.argv[1:3]


class Estimator(kserve.Model):
    """V1 and V2 calls on one estimator."""

    def load(self) -> bool:
        """Open the estimator."""
        self.estimator = joblib.load(PATH)
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        rows = get_predict_input(payload)
        return get_predict_response(payload, self.estimator.predict_proba(rows)[:, 1], self.name)


if __name__ == "__main__":
    model = Estimator("breast-cancer")
    model.load()
    kserve.ModelServer(http_port=int(PORT), enable_grpc=False, workers=1, access_log_format=None).start([model])
