"""What teachers from transformers share: how they are opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ark_asr.errors import MissingExtraError, ModelError, ModelFormatError, ModelNotFoundError


def open_model(kind: str, folder: Path, device: str, dtype: str, since: str = "5.10") -> Any:  # noqa: ANN401 - a transformers class
    """A model of transformers from a local folder, frozen.

    Args:
        kind: Name of its class in transformers.
        folder: Where it is; nothing is downloaded, and no code in it is run.
        device: Where it goes.
        dtype: Of its weights.
        since: The first release of transformers in which it does what the teacher expects.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelNotFoundError: There is no such folder.
        ModelFormatError: It holds another kind of model, or a damaged one.
        ModelError: The installed transformers is older, or does not know the class.
    """
    try:
        import transformers
        from packaging.version import Version
    except ImportError:
        raise MissingExtraError("A teacher from transformers", "transformers") from None
    if not (folder / "config.json").is_file():
        raise ModelNotFoundError(f"{folder / 'config.json'}: no such file; a teacher needs it")
    is_old = Version(transformers.__version__) < Version(since)
    if is_old or not hasattr(transformers, kind):
        here = transformers.__version__
        raise ModelError(f"transformers {here} has no {kind} as it is needed; take a newer one")
    try:
        model = getattr(transformers, kind).from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # noqa: BLE001 - the formats raise errors of their own
        line = str(error).strip().splitlines()[0]
        raise ModelFormatError(f"{folder}: not a model for {kind} ({line})") from None
    return model.to(device).eval().requires_grad_(False)


def open_part(kind: str, folder: Path) -> Any:  # noqa: ANN401 - a transformers class
    """A processor or feature extractor of transformers from a local folder.

    Raises:
        ModelFormatError: There is none, or a damaged one.
    """
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        line = str(error).strip().splitlines()[0]
        raise ModelFormatError(f"{folder}: no {kind} ({line})") from None
