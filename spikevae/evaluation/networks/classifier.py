"""The domain classifier: an ordinary convolutional network whose features see what a class is made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class ClassifierConfig:
    """The network's shape.

    Raises:
        ValueError: if the image is too small to be halved three times.
    """

    image_channels: int = 1
    """1 for grey images, 3 for RGB."""
    image_size: int = 28
    """Height and width that images are brought to first, in pixels."""
    classes: int = 10
    """K, the number of labels."""
    feature_size: int = 128
    """Width of the layer before the scores, which is the feature space."""

    def __post_init__(self) -> None:
        if self.image_size < 8:
            raise ValueError(f"image_size={self.image_size} is too small; images are halved three times, use 8 or more")


class DomainClassifier(nn.Module):
    """Convolutions of 32, 64, 64 and 128 channels with batch norm and ReLU, a feature layer, one score per class."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.Sequential(
            _block(config.image_channels, 32),
            nn.MaxPool2d(2),
            _block(32, 64),
            _block(64, 64),
            nn.MaxPool2d(2),
            _block(64, 128),
        )
        self.pool = nn.AvgPool2d(2)
        flat_size = 128 * (config.image_size // 8) ** 2
        self.feature_layer = nn.Sequential(nn.Linear(flat_size, config.feature_size), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.scores = nn.Linear(config.feature_size, config.classes)

    def features(self, x: Tensor) -> Tensor:
        """Features [N, feature_size], none negative, of images ``x`` [N, C, H, W] in [0, 1]."""
        features: Tensor = self.feature_layer(self.pool(self.convolutions(2 * x - 1)).flatten(1))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K]."""
        logits: Tensor = self.scores(self.dropout(self.features(x)))
        return logits

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats per image."""
        return nn.functional.cross_entropy(self(x).float(), labels)

    def test_score(self, x: Tensor, labels: Tensor) -> Tensor:
        """1 where an image's label is found, else 0, [N]."""
        hits: Tensor = self(x).argmax(1) == labels
        return hits.float()


def _block(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )
