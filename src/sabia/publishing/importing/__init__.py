"""From a model file of another tool to a draft of a version: ONNX as it is, others converted, none of them run."""
