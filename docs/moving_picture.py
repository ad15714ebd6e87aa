"""Draw docs/images/forming.webp, garments that form as their latent spikes arrive: `python docs/moving_picture.py`.

The first images of seed 0, not chosen. Above each are its 2,352 latent bits, 12 rows for each of the 4 time steps: a
row is a channel, with its bits at all 49 places. Below is what the decoder makes of those that have arrived.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import spikevae

OUT = Path(__file__).parent / "images" / "forming.webp"
COUNT, GAP, SCALE, BIT = 7, 14, 4, 2
SPIKE, SILENCE, COMING = (255, 122, 26), (52, 58, 66), (28, 31, 36)
GROUND = (18, 20, 24)


def bits(rows: np.ndarray, arrived: int) -> np.ndarray:
    """The spikes of an image [T * C_z, S * S] as a picture, of which some rows have arrived."""
    picture = np.where(rows[..., None] > 0, np.array(SPIKE), np.array(SILENCE))
    picture[arrived:] = COMING
    return picture.repeat(BIT, 0).repeat(BIT, 1).astype(np.uint8)


def frame(rows: torch.Tensor, images: torch.Tensor, arrived: int) -> Image.Image:
    """All images beside each other, each under its spikes."""
    side, top = images.shape[-1] * SCALE, BIT * rows.shape[1]
    page = Image.new("RGB", (COUNT * (side + GAP) + GAP, top + side + 3 * GAP), GROUND)
    for n in range(COUNT):
        left = GAP + n * (side + GAP)
        spikes = Image.fromarray(bits(rows[n].numpy(), arrived))
        page.paste(spikes, (left + (side - spikes.width) // 2, GAP))
        drawn = Image.fromarray((images[n, 0].numpy() * 255).round().astype(np.uint8)).resize((side, side), 0)
        page.paste(drawn, (left, top + 2 * GAP))
    return page


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="fashion-mnist", help="a name or a folder; its latent is a grid")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    model = spikevae.load(arguments.model)
    channels = model.config.latent_channels
    z_seq = model.sample_prior(range(COUNT), seed=0)  # [T, N, L]
    rows = z_seq.unflatten(2, (-1, channels)).permute(1, 0, 3, 2).flatten(1, 2)  # [N, T * C_z, S * S]
    count = rows.shape[1]
    frames = []
    for arrived in (count, *range(count)):  # whole at first, for whoever sees a picture that stands still
        here = rows.clone()
        here[:, arrived:] = 0
        images = model.decode(here.unflatten(1, (-1, channels)).permute(1, 0, 3, 2).flatten(2))
        frames.append(frame(rows, images, arrived))
    durations = [3000, 400] + [75] * (count - 1)
    frames[0].save(
        arguments.out, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=82, method=6
    )
    print(f"{arguments.out.name}: {arguments.out.stat().st_size:,} bytes, {frames[0].width}x{frames[0].height}")


if __name__ == "__main__":
    main()
