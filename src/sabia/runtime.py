"""Sessions of ONNX Runtime: a version is converted, checked and served with the same options."""

from __future__ import annotations

from pathlib import Path

import onnxruntime


def open_session(model: bytes | Path, *, threads: int = 1, prepack: bool = True) -> onnxruntime.InferenceSession:
    """A session over a model in memory, or in a file that may have weights beside it.

    It logs nothing: what ONNX Runtime would log, the caller raises.

    Args:
        model: its bytes or its path.
        threads: that compute one request; 0: one for each core.
        prepack: let ONNX Runtime copy weights into the order in which it multiplies. It needs twice the memory of the
            largest of them while it does, and batches are faster for it.

    Raises:
        Exception: ONNX Runtime cannot load it; its classes have no common base of their own.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
