"""A `kserve.Model` subclass that costs next to nothing: `trivial.py _ PORT` serves it with KServe's own ModelServer."""

import sys

import kserve


class Sum(kserve.Model):
    """The sum of each row."""

    def load(self) -> bool:
        """Nothing to load."""
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        return {"predictions": [sum(row) for row in payload["instances"]]}


if __name__ == "__main__":
    model = Sum("sum")
    model.load()
    kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1, access_log_format=None).start([model])
