"""What learns: the model, beside it the projections for its hearing, and the losses of a batch."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.training.data import IGNORED, Batch
from ark_asr.training.listening import Listening


class Learner(nn.Module):
    """One module for everything that has gradients: a wrapper that spreads it sees one forward.

    Args:
        model: The model.
        listening: For the auxiliary CTC losses; ``None`` where there are none.
    """

    def __init__(self, model: ArkForConditionalGeneration, listening: Listening | None) -> None:
        super().__init__()
        self.model = model
        self.listening = listening

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Summed cross-entropy of the answers, and summed CTC losses for bytes and tokens."""
        model, device = self.model, self.model.lm_head.weight.device
        labels = batch.labels.to(device)
        states = model.audio_encoder.listen(batch.mels.to(device), batch.frames.to(device))
        audio = model.audio_encoder.adapt(states)
        hidden = model.model(model.embed_prompt(batch.token_ids.to(device), audio))
        # Only where the model must answer, in a number that repeats from batch to batch.
        places = (labels.flatten() != IGNORED).nonzero()[:, 0]
        places = functional.pad(places, (0, -len(places) % 256))
        wanted = labels.flatten()[places]
        logits = model.lm_head(hidden.flatten(0, 1)[places])
        spoken = functional.cross_entropy(
            logits.float(), wanted, reduction="sum", ignore_index=IGNORED
        )
        if self.listening is None:
            return spoken, spoken.new_zeros(()), spoken.new_zeros(())
        letters, tokens = cast("tuple[Tensor, Tensor]", self.listening(states, audio, batch))
        return spoken, letters, tokens
