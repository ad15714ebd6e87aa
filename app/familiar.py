"""Tell a picture that a model knows nothing of from those of its data set, by thresholds measured on held-out images.

Four numbers are compared, because each alone is blind to something: what the encoder does not see is likely, an even
picture is redrawn well. A picture is foreign if any of them is below what 99.5 % of the held-out images reach.
``python -m app.familiar MODEL DATASET`` measures them; `app/familiar.json` holds those of the bundled models.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.files import hash_file
from spikevae.nn.latents.mixture import Mixtures
from spikevae.nn.vae import SpikingVAE

_FILE = Path(__file__).with_name("familiar.json")
_PERCENT = 0.5  # of the held-out images are below each threshold
_LEAST_VARIANCE = 0.02  # of a picture's pixels, on the [-1, 1] scale, so that an even one is not divided by nothing


class Familiarity(NamedTuple):
    """How a picture compares with the training data; more is more familiar."""

    shape: float
    """Log density of its potentials in the directions that the prior knows."""
    whole: float
    """The same in all directions."""
    fidelity: float
    """Minus the reconstruction error, as a share of the picture's variance."""
    contrast: float
    """Variance of its pixels."""


def familiarity(
    network: SpikingVAE,
    x: Float[Tensor, "N C H W"],
    image: Float[Tensor, "N C H W"],
    potential: Float[Tensor, "T N L"] | None,
) -> list[Familiarity] | None:
    """Of every picture; None for a latent whose density cannot be asked.

    Args:
        network: with a fitted prior.
        x: pictures in [0, 1].
        image: their reconstructions.
        potential: of their latent spikes, if they have any.
    """
    density = getattr(network.latent, "density", None)
    if potential is None or not isinstance(density, Mixtures):
        return None
    shape, whole = density.log_densities(potential.transpose(0, 1).flatten(1))
    error = 4 * (image - x).square().flatten(1).mean(dim=1)
    variance = 4 * x.flatten(1).var(dim=1)
    fidelity = -error / (variance + _LEAST_VARIANCE)
    return [
        Familiarity(*values)
        for values in torch.stack([shape, whole, fidelity.double(), variance.double()], dim=1).tolist()
    ]


def thresholds(weights: Path) -> Familiarity | None:
    """What was measured for these weights (a file); None if nothing was."""
    found = _measured().get(hash_file(weights))
    return None if found is None else Familiarity(*(found[name] for name in Familiarity._fields))


def is_foreign(picture: Familiarity, least: Familiarity) -> bool:
    """Whether a picture is unlike the training data."""
    return any(value < bound for value, bound in zip(picture, least, strict=True))


def measure(network: SpikingVAE, x: Float[Tensor, "N C H W"]) -> Familiarity:
    """Thresholds from held-out images.

    Raises:
        ValueError: if the model's latent has no density that can be asked.
    """
    found: list[Familiarity] = []
    for part in x.split(64):
        with torch.inference_mode():
            posterior = network.encode(part)
            values = familiarity(network, part, network.decode(posterior.mode()), posterior.potential)
        if values is None:
            raise ValueError(f"a {network.config.latent} latent has no density that can be asked")
        found += values
    shares = torch.quantile(torch.tensor(found, dtype=torch.float64), _PERCENT / 100, dim=0)
    return Familiarity(*shares.tolist())


@functools.cache
def _measured() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Measure a model's thresholds on the held-out part of its training data, and keep them."""
    from spikevae.config import DataConfig
    from spikevae.data.sets import load_split
    from spikevae.hub.checkpoints import load_generator, model_folder

    parser = argparse.ArgumentParser(prog="python -m app.familiar", description=main.__doc__)
    parser.add_argument("model", help="a bundled name or a folder")
    parser.add_argument("dataset", help="what it was trained on, as for `spikevae train`")
    parser.add_argument("--data-root", help="where data sets lie; otherwise $SPIKEVAE_DATA, or the user's cache")
    arguments = parser.parse_args()
    network = load_generator(arguments.model)
    size = network.config.image_size
    config = DataConfig(dataset=arguments.dataset, data_root=arguments.data_root, image_size=size)
    held_out = load_split(config, "validation", image_channels=3 if network.config.image_channels == 3 else 1)
    x = torch.stack([held_out[number][0] for number in range(len(held_out))])
    weights = model_folder(arguments.model) / "model.safetensors"
    found = {"model": Path(arguments.model).name, "held_out_images": len(x), **measure(network, x)._asdict()}
    kept = {**_measured(), hash_file(weights): found}
    _FILE.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
