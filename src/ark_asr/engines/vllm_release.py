"""Which releases of vLLM can be used; asked before anything of vLLM is relied upon."""

from __future__ import annotations

from ark_asr.errors import MissingExtraError

# As in pyproject.toml. A release is added when `make test-vllm` has passed with it.
_RELEASES = ((0, 32),)


def release_problem() -> MissingExtraError | None:
    """Why the vLLM that is here will not do; ``None`` if it will."""
    try:
        import vllm
    except ImportError:
        return MissingExtraError("ARK-ASR in vLLM", "vllm")
    if vllm.__version_tuple__[:2] in _RELEASES:
        return None
    known = ", ".join(f"{major}.{minor}" for major, minor in _RELEASES)
    return MissingExtraError(f"ARK-ASR in vLLM ({known}; {vllm.__version__} is here)", "vllm")
