"""ARK-ASR in transformers 5, without remote code (extra ``[transformers]``).

One import, and a checkpoint folder runs with transformers' own calls::

    import ark_asr.modeling.transformers
    from transformers import AutoModelForCausalLM, AutoProcessor, pipeline

`AutoConfig`, `AutoModelForCausalLM`, `AutoProcessor` and the pipeline of the task
"automatic-speech-recognition" then answer for ``model_type`` "arkasr" with the classes of this
package. Python files that a folder carries are not needed, not read and not run, even where
``trust_remote_code=True`` is given; `docs/transformers.md` names the one exception.
"""

from ark_asr.errors import MissingExtraError

try:
    import torch  # noqa: F401 - transformers imports without it, and fails later
    import transformers
except ImportError:
    raise MissingExtraError("ARK-ASR in transformers", "transformers") from None
# Earlier releases let code of a folder go before registered classes if trust_remote_code is given.
if tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 10):
    raise MissingExtraError(
        f"ARK-ASR in transformers (5.10 or newer; {transformers.__version__} is here)",
        "transformers",
    )

from ark_asr.modeling.transformers.configuration import ArkasrConfig
from ark_asr.modeling.transformers.model import ArkasrForConditionalGeneration
from ark_asr.modeling.transformers.pipeline import ArkasrPipeline, register_pipeline
from ark_asr.modeling.transformers.processor import ArkasrProcessor

__all__ = ["ArkasrConfig", "ArkasrForConditionalGeneration", "ArkasrPipeline", "ArkasrProcessor"]

transformers.AutoConfig.register(ArkasrConfig.model_type, ArkasrConfig, exist_ok=True)
transformers.AutoProcessor.register(ArkasrConfig, ArkasrProcessor, exist_ok=True)
for _auto in (transformers.AutoModelForCausalLM, transformers.AutoModelForSpeechSeq2Seq):
    _auto.register(ArkasrConfig, ArkasrForConditionalGeneration, exist_ok=True)
register_pipeline()
