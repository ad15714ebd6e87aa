"""Pictures that a visitor marked, made again from what made them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from . import limits
from .actions import Actions
from .limits import Sent


class Favourite(NamedTuple):
    """A picture, and what makes it again."""

    model: str
    seed: int
    label: str
    temperature: float
    number: int  # among the pictures of the seed
    image: Tensor  # [C, H, W], [0, 1]


def favourites(actions: Actions, wishes: Sent) -> list[Favourite]:
    """Pictures by what makes them again.

    Args:
        actions: what a visitor may call.
        wishes: of each picture the model, seed, class, temperature, and its number among those of the seed.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not isinstance(wishes, list) or len(wishes) > limits.FAVOURITES:
        raise ValueError(f"Favourites are a list of at most {limits.FAVOURITES} pictures")
    return [_favourite(actions, wish) for wish in wishes]


def _favourite(actions: Actions, wish: Sent) -> Favourite:
    if not isinstance(wish, list) or len(wish) != len(Favourite._fields) - 1:
        raise ValueError("A favourite is a model, a seed, a class, a temperature and a number")
    model, seed, label, temperature, number = wish
    settings = actions.prior_settings(model, seed, label, temperature)
    place = limits.whole_number("number of the picture", number, 0, limits.COUNT_LIMIT - 1)
    with actions.models.alone(model) as network:
        image = network.sample(1, start=place, **settings)[0]
        name = limits.label_name(label, network.config.class_names)
    return Favourite(model, settings["seed"], name, temperature, place, image)
