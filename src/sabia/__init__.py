"""Publishes models as numbered versions, serves each of them, and moves traffic between them by evidence."""

import os

# ONNX Runtime's wheels report what runs to their maker, from a thread of their own, unless told before they are
# imported. Nobody who serves a model has agreed to that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
