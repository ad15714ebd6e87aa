"""Draw docs/images/forming.webp, garments that form as their latent spikes arrive: `python docs/moving_picture.py`.

The first images of seed 0, not chosen. Above each are its 1,024 latent bits, 8 rows for each of the 4 time steps; below
is what the decoder makes of those that have arrived.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import spikevae

OUT = Path(__file__).parent / "images" / "forming.webp"
COUNT, ROW, GAP, SCALE, BIT = 7, 32, 14, 4, 3
SPIKE, SILENCE, COMING = (255, 122, 26), (52, 58, 66), (28, 31, 36)
GROUND = (18, 20, 24)


def bits(spikes: np.ndarray, arrived: int) -> np.ndarray:
    """The spikes of an image [ROW, ROW] as a picture, of which some rows have arrived."""
    picture = np.where(spikes[..., None] > 0, np.array(SPIKE), np.array(SILENCE))
    picture[arrived:] = COMING
    return picture.repeat(BIT, 0).repeat(BIT, 1).astype(np.uint8)


def frame(z_seq: torch.Tensor, images: torch.Tensor, arrived: int) -> Image.Image:
    """All images beside each other, each under its spikes."""
    side = images.shape[-1] * SCALE
    page = Image.new("RGB", (COUNT * (side + GAP) + GAP, BIT * ROW + side + 3 * GAP), GROUND)
    for n in range(COUNT):
        left = GAP + n * (side + GAP)
        spikes = Image.fromarray(bits(z_seq[:, n].reshape(ROW, ROW).numpy(), arrived))
        page.paste(spikes, (left + (side - spikes.width) // 2, GAP))
        drawn = Image.fromarray((images[n, 0].numpy() * 255).round().astype(np.uint8)).resize((side, side), 0)
        page.paste(drawn, (left, BIT * ROW + 2 * GAP))
    return page


def main() -> None:
    """Write the picture."""
    model = spikevae.load("fashion-mnist")
    z_seq = model.sample_prior(range(COUNT), seed=0)  # [T, N, L]
    T, N, L = z_seq.shape
    frames = []
    for arrived in (ROW, *range(ROW)):  # whole at first, for whoever sees a picture that stands still
        flat = z_seq.transpose(0, 1).reshape(N, T * L).clone()
        flat[:, arrived * ROW :] = 0
        frames.append(frame(z_seq, model.decode(flat.reshape(N, T, L).transpose(0, 1)), arrived))
    durations = [3000, 400] + [110] * (ROW - 1)
    frames[0].save(OUT, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=82, method=6)
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes, {frames[0].width}x{frames[0].height}")


if __name__ == "__main__":
    main()
