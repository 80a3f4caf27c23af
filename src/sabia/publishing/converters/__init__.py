"""From an estimator of any supported library to one ONNX graph with the inputs and outputs of the signature."""
