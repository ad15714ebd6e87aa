"""A trained classifier that another network learns from: its class probabilities, and what it sees in pictures."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.config import ModelConfig, ObjectiveConfig
from spikevae.hub.checkpoints import load
from spikevae.labels import are_read_alike
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.training.losses import feature_distance


class Teacher:
    """A trained classifier without a decoder. It stands still, and gradients pass through it to its input alone.

    Args:
        network: the classifier.
    """

    def __init__(self, network: SpikingClassifier) -> None:
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def probabilities(self, x: Float[Tensor, "*n C H W"]) -> Float[Tensor, "N K"]:
        """Of the classes, of inputs as they are, without their mirror images."""
        return self.network.probabilities_together(x, flip_tta=False)[-1]

    def distance(self, reconstruction: Float[Tensor, "N C H W"], x: Float[Tensor, "N C H W"]) -> Float[Tensor, ""]:
        """How different reconstructions look to it from their originals: the perceptual distance.

        The mean absolute difference of its feature maps, averaged over its layers.

        Source: Johnson et al., arXiv:1603.08155; for a VAE Hou et al., arXiv:1610.00291.
        """
        with torch.no_grad():
            wanted = self.network.feature_maps(x)
        return feature_distance(wanted, self.network.feature_maps(reconstruction))


def add_perceptual_distance(
    terms: dict[str, Tensor],
    teacher: Teacher | None,
    reconstruction: Tensor,
    x: Tensor,
    share: float,
    weights: ObjectiveConfig,
) -> None:
    """Add how different reconstructions look to a teacher to the loss among these terms; nothing without a teacher."""
    if teacher is not None and weights.perceptual_weight:
        terms["perceptual_distance"] = share * teacher.distance(reconstruction, x)
        terms["loss"] = terms["loss"] + weights.perceptual_weight * terms["perceptual_distance"]


def teacher_of(config: ModelConfig, name: str, device: torch.device) -> Teacher:
    """A trained classifier of the same inputs and classes as the network that learns.

    Raises:
        FileNotFoundError: if there is no such model; a run needs its teacher until it ends.
        ValueError: if it is no classifier without a decoder, has no feature maps for one that draws, or is of other
            inputs or classes; or if the one that learns draws recordings or has rates in place of logits.
    """
    if config.network == "event-vae":
        raise ValueError(f"teacher={name!r}: a model that draws recordings learns from none; leave teacher out")
    if config.network == "classifier" and config.layers.split()[-1] != "readout":
        raise ValueError(
            f"teacher={name!r}: only a classifier whose layers end in readout can learn from one; leave it out"
        )
    try:
        teacher = load(name, device=device)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the run's teacher: {error}; a run needs it until it ends") from None
    if not isinstance(teacher, SpikingClassifier):
        raise ValueError(f"teacher={name!r} is no classifier without decoder; `spikevae models` lists those bundled")
    takes, expected = _inputs(teacher.config), _inputs(config)
    if takes != expected:
        raise ValueError(
            f"teacher={name!r} takes {takes}, and the network that learns takes {expected}; both need the same"
        )
    if config.class_names and not are_read_alike(teacher.config.class_names, config.class_names):
        raise ValueError(
            f"teacher={name!r} knows the classes {teacher.config.class_names}, and the network that learns "
            f"{config.class_names}; both need the same, in one order"
        )
    if config.network == "vae" and not teacher.feature_maps(torch.zeros(1, *_shape(config), device=device)):
        raise ValueError(
            f"teacher={name!r} has no feature maps (its layers are {teacher.config.layers}), so it cannot judge "
            "pictures; name one with convolutions"
        )
    return Teacher(teacher)


def _shape(config: ModelConfig) -> tuple[int, ...]:
    return config.image_channels, *config.frame_size


def _inputs(config: ModelConfig) -> str:
    size = "x".join(map(str, _shape(config)))
    if not config.takes_events:
        return f"images of {size}"
    return f"{config.time_steps} event frames of {size}, cut by {config.slice_by}"
