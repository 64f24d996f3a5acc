"""ONNX graphs built straight from the weights (extra ``[convert]``); no torch, no exporter."""
