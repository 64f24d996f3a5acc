"""The PyTorch model (extra ``[torch]``)."""
