"""Change and complete pictures: what the tabs Edit and Complete call. Errors as in `app.actions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.nn.editing import Direction, direction_towards, edit, move, principal_directions
from spikevae.nn.vae import SpikingVAE

from . import limits
from .limits import Sent
from .models import Models
from .reading import Decode, decode_here, read_data_url, read_picture

SLIDERS = 6
"""Principal directions that can be moved along."""
_END = 2.5  # standard deviations at which a direction's ends are shown
_FACES = (
    "bright to dark",
    "fair to dark",
    "side of the light",
    "bright to dim",
    "side of the hair",
    "short dark to long fair hair",
)  # by looking, of the released model
_MASK_SIDE = 280  # pixels of a mask before it is reduced to the picture's size


class Edited(NamedTuple):
    """A picture before and after."""

    start: Tensor  # [C, H, W], [0, 1]
    image: Tensor  # [C, H, W], [0, 1]
    flips: int  # latent spikes that differ between them
    latents: int  # latent spikes of a picture


class Ends(NamedTuple):
    """A direction, and the typical picture moved along it, both ways."""

    name: str
    low: Tensor  # [C, H, W], [0, 1]
    high: Tensor  # [C, H, W], [0, 1]


class Studio:
    """What can be done with pictures by their potentials.

    Args:
        models: of the page.
        decode: reads a file that came from a visitor; otherwise it is decoded in this process.
    """

    def __init__(self, models: Models[SpikingVAE], decode: Decode | None = None) -> None:
        self._models, self._decode = models, decode or decode_here
        self._directions: dict[tuple[str, int | None], list[Direction]] = {}

    def edit(
        self, model: Sent, start: tuple[Sent, Sent, bytes | None], amounts: Sequence[Sent], towards: Sent, way: Sent
    ) -> Edited:
        """A picture, moved along its class's directions and towards another class.

        Args:
            model: a name of the page.
            start: seed and class of a sample, or a picture file of that class.
            amounts: along each principal direction, in standard deviations.
            towards: another class, or any for none.
            way: how much of the way there, 0 to 1.

        Raises:
            ValueError: if an argument is out of range, or the file is no picture.
        """
        seed, label, content = start
        network = self._models.known(model)
        if not self._models.has_density(model):
            raise ValueError("This model's latent has no density, so its pictures cannot be changed")
        group = self._group(network, label)
        moved = [float(limits.number("amount", amount, -limits.AMOUNT, limits.AMOUNT)) for amount in amounts]
        goal = limits.label_index(towards, network.config.class_names)
        share = float(limits.number("way", way, 0, 1))
        x = None if content is None else read_picture(content, network.config, "auto", self._decode)
        directions = self._directions_of(model, group)[: len(moved)]
        moved = moved[: len(directions)]
        with self._models.alone(model), torch.inference_mode():
            potential = self._potential(network, seed, group, x)
            if goal is not None and goal != group:
                directions, moved = [*directions, direction_towards(network, potential, goal)], [*moved, share]
            image = edit(network, potential, directions, moved)
            before = edit(network, potential, [], [])
        after = move(potential, directions, moved)
        return Edited(before, image, int(((after > 0) != (potential > 0)).sum()), potential.numel())

    def ends(self, model: Sent, label: Sent) -> list[Ends]:
        """Each direction of a class, with what its typical image becomes along it; nothing without a density.

        Raises:
            ValueError: if there is no such model or class.
        """
        network = self._models.known(model)
        if not self._models.has_density(model):
            return []
        group = self._group(network, label)
        directions = self._directions_of(model, group)[:SLIDERS]
        with self._models.alone(model), torch.inference_mode():
            start = network.latent.typical(group or 0)
            pictures = [[edit(network, start, [way], [amount]) for amount in (-_END, _END)] for way in directions]
        return [Ends(way.name, low, high) for way, (low, high) in zip(directions, pictures, strict=True)]

    def complete(self, model: Sent, content: bytes | None, mask: Sent, count: Sent, seed: Sent, label: Sent) -> Tensor:
        """Proposals [N, C, H, W] for the part of a picture that a mask hides, in [0, 1].

        Args:
            model: a name of the page.
            content: a picture file.
            mask: a data URL with a PNG, white where the picture is to be filled in.
            count: N.
            seed: of the proposals.
            label: class of the proposals, or any.

        Raises:
            ValueError: if an argument is out of range, the file is no picture, or nothing is hidden.
        """
        network = self._models.known(model)
        if not self._models.has_density(model):
            raise ValueError("This model's latent has no density, so it cannot complete pictures")
        wanted = limits.whole_number("number of proposals", count, 1, limits.PROPOSALS)
        number = limits.whole_number("seed", seed, 0, limits.SEED_LIMIT)
        group = limits.label_index(label, network.config.class_names)
        x = read_picture(content, network.config, "auto", self._decode)
        hidden = read_data_url(mask, _MASK_SIDE, self._decode, "Paint over a part of the picture first")
        size = network.config.image_size
        reduced = torch.nn.functional.interpolate(hidden[None, None], size=(size, size), mode="area")[0, 0]
        if not (reduced > 0.5).any():
            raise ValueError("Paint over a part of the picture first")
        with self._models.alone(model):
            return network.inpaint(x, reduced, count=wanted, seed=number, label=group)

    # ------------------------------------------------------------ details

    def _directions_of(self, model: str, group: int | None) -> list[Direction]:
        """Computed once for each class."""
        key = (model, group)
        if key not in self._directions:
            found = principal_directions(self._models.known(model), group, SLIDERS)
            if self._models.dataset(model) == "celeba" and self._models.familiar(model) is not None:
                found = [way._replace(name=name) for way, name in zip(found, _FACES, strict=False)]
            self._directions[key] = found
        return self._directions[key]

    def _potential(
        self, network: SpikingVAE, seed: Sent, group: int | None, x: Float[Tensor, "C H W"] | None
    ) -> Float[Tensor, "T L"]:
        if x is not None:
            encoded = network.encode(x[None]).potential
            assert encoded is not None
            return encoded[:, 0]
        number = limits.whole_number("seed", seed, 0, limits.SEED_LIMIT)
        labels = None if group is None else torch.tensor([group])
        drawn = network.sample_potential([0], seed=number, labels=labels)
        assert drawn is not None
        return drawn[:, 0]

    def _group(self, network: SpikingVAE, label: Sent) -> int | None:
        if not network.config.classes:
            return limits.label_index(label, ())
        found = limits.label_index(label, network.config.class_names)
        return 0 if found is None else found
