"""ONNX graphs built straight from safetensors weights (extra ``[convert]``); no torch, no exporter."""
