"""KServe's ModelServer with a pipeline of strings and numbers: `kserve_frame.py ESTIMATOR PORT`."""

import sys

import joblib
import kserve
from frames import frame

PATH, PORT = sys.argv[1:3]


class Pipeline(kserve.Model):
    """V1 calls on one pipeline, through a data frame."""

    def load(self) -> bool:
        """Open the pipeline."""
        self.pipeline = joblib.load(PATH)
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        return {"predictions": self.pipeline.predict_proba(frame(payload["instances"]))[:, 1].tolist()}


if __name__ == "__main__":
    model = Pipeline("flights")
    model.load()
    kserve.ModelServer(http_port=int(PORT), enable_grpc=False, workers=1, access_log_format=None).start([model])
