"""ARK-ASR in vLLM, without remote code (extra ``[vllm]``).

vLLM finds `register` by the entry point ``vllm.general_plugins`` and calls it in each of its
processes; from then on plain ``vllm serve FOLDER`` runs a published checkpoint.
"""

from __future__ import annotations

import logging

from ark_asr.errors import MissingExtraError

ARCHITECTURE = "ArkasrForConditionalGeneration"


def register() -> None:
    """Make vLLM know configuration, processor, defaults and model; may be called several times.

    The model itself is only imported when vLLM opens an ARK-ASR checkpoint: other models neither
    wait for it nor fail if this release of vLLM is not one that it runs in.
    """
    from vllm import ModelRegistry

    try:
        import ark_asr.modeling.transformers  # noqa: F401 - registers configuration and processor
    except MissingExtraError as error:  # another release of transformers; see there
        logging.getLogger("vllm").warning("ARK-ASR cannot be served: %s", error)
        return
    ModelRegistry.register_model(ARCHITECTURE, f"{__name__}.model:{ARCHITECTURE}")
    try:
        from vllm.model_executor.models.config import MODELS_CONFIG_MAP
    except ImportError:  # another release; whoever opens the model is told by `interfaces`
        return
    from ark_asr.integrations.vllm.defaults import ArkasrDefaults

    MODELS_CONFIG_MAP[ARCHITECTURE] = ArkasrDefaults
