"""Class scores from the encoder that the generator shares."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

DROPOUT = 0.2  # share of the features that training hides; 0.5 was no better (docs/experiments.md)


class RateClassifier(nn.Module):
    """A linear layer on the gated spikes of the encoder's last stage, averaged over time.

    Where that stage has no attention, these are firing rates.

    Args:
        features: F, values per time step.
        classes: K.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(features, classes)

    def forward(self, feature_seq: Float[Tensor, "T N F"]) -> Float[Tensor, "N K"]:
        """Logits from the mean over time of the encoder's gated spikes."""
        logits: Tensor = self.linear(self.dropout(feature_seq.mean(dim=0)))
        return logits
