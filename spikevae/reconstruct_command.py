"""The command that passes pictures through a model's latent spikes and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from spikevae.config import Split
from spikevae.console import say
from spikevae.options import Data, DataRoot, Device, Images, Model
from spikevae.runtime import is_main_process
from spikevae.text import printable

if TYPE_CHECKING:
    from torch import Tensor

    from spikevae.data.sets import ImageSet
    from spikevae.nn.vae import SpikingVAE


def reconstruct(
    model: Positional[Model],
    images: Positional[Images] = (),
    *,
    data: Data = None,
    split: Split | None = None,
    count: int | None = None,
    invert: bool = False,
    out: Path | None = None,
    data_root: DataRoot = None,
    device: Device = None,
) -> None:
    """Pass images or recordings through a model's latent spikes and back, and measure what is lost.

    Examples:
        spikevae reconstruct fashion-mnist --data fashion-mnist --count 32 --out pairs.png
        spikevae reconstruct n-mnist recording.bin --out pair.gif
        spikevae reconstruct fashion-mnist shoe.png --out shoe-again.png

    Args:
        images: Image files or event recordings to reconstruct, or folders of them, in place of a data set's; also .zip
            and .tar of images, and .npy and .npz arrays.
        split: Part of the data set; otherwise test.
        count: Only so many images of the data set: the first ones, or of every class where they lie class by class.
        invert: Make light dark first, for pictures of dark things on a light ground.
        out: A .png (pairs, each original left of its reconstruction), a .npz (arr_0, and arr_1 with the originals),
            or a folder for one PNG each; otherwise only the error is measured. Of recordings as `sample` writes them;
            pictures show each original above, or left of, its reconstruction.
    """
    from spikevae import inputs
    from spikevae.data.images import check_save_path, save_images

    if inputs.is_event_vae(model):
        from spikevae.event_commands import reconstruct_recordings

        if invert:
            raise ValueError("--invert: recordings are neither light nor dark; leave it out")
        return reconstruct_recordings(model, device, images, data, split, count, data_root, out)
    if out is not None:
        check_save_path(out)
        inputs.check_is_not_in(out, data)
    network = inputs.load_decoder(model, device)
    given = inputs.read_inputs(model, network, inputs.list_files(images, written=out), data, split, count, data_root)
    if out is not None:
        inputs.require_memory(len(given), (network.config.image_channels, given.image_size, given.image_size), copies=2)
    if not invert:
        inputs.advise_on_ground(given, network)

    measured, both = _reconstructions(network, given, is_inverted=invert, are_kept=out is not None)
    _say_errors(measured)
    if out is not None and both is not None and is_main_process():
        save_images(both[:, 1], out, both[:, 0])
        say(f"written to {printable(out)}")


def _reconstructions(
    network: SpikingVAE, given: ImageSet, *, is_inverted: bool, are_kept: bool
) -> tuple[Tensor, Tensor | None]:
    """Error at 32x32, PSNR and SSIM of each image, [N, 3]; and, if kept, both pictures of it, [N, 2, C, H, W]."""
    import torch

    from spikevae.evaluation.metrics.reconstruction import compare
    from spikevae.inputs import batch_of, compute

    def pairs(numbers: range) -> Tensor:
        x = batch_of(given, numbers, is_inverted=is_inverted)
        return torch.stack([x, network.reconstruct(x.to(network.device)).cpu()], dim=1)

    def errors(both: Tensor) -> Tensor:
        values = compare(*both.unbind(1))
        return torch.stack([values[name] for name in ("reconstruction_mse_32", "psnr", "ssim")], dim=1)

    if not are_kept:
        return compute(lambda numbers: errors(pairs(numbers)), len(given), "reconstruct"), None
    both = compute(pairs, len(given), "reconstruct")
    return torch.cat([errors(part) for part in both.split(64)]), both


def _say_errors(measured: Tensor) -> None:
    """Print the means of what :func:`compare` gives, [N, 3]."""
    error, psnr, ssim = measured.double().mean(0).tolist()
    similarity = "" if math.isnan(ssim) else f", SSIM {ssim:.3f}"  # small images have none
    say(
        f"{len(measured):,} images: mean squared error {error:.4f} (on the [-1, 1] scale at 32x32), "
        f"PSNR {psnr:.2f} dB{similarity}"
    )
