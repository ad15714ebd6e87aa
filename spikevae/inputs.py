"""What the commands share: the model and the images that they are given, and progress bars. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from spikevae.config import DataConfig, Split
from spikevae.hub.checkpoints import load, model_folder
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import pick_device, reuse_freed_memory

if TYPE_CHECKING:
    from spikevae.data.sets import ImageSet

BATCH = 64  # images computed together


def load_model(model: str, device: str | None) -> SpikingVAE:
    reuse_freed_memory()
    try:
        chosen = pick_device() if device is None else torch.device(device)
        return load(model, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch's words for a device that is not there
        raise ValueError(f"--device {device}: {str(error).splitlines()[0]}") from None


def read_inputs(
    model: str,
    network: SpikingVAE,
    files: Sequence[Path],
    data: str | None,
    split: Split,
    count: int | None,
    root: str | None,
    *,
    is_compared: bool = False,
) -> tuple[int, Iterator[tuple[Tensor, Tensor]]]:
    """How many images a command was given, and the images in batches with their labels (-1: none).

    ``is_compared``: a data set's labels must be those of the model.
    """
    from spikevae.data.images import read_image
    from spikevae.data.sets import load_split

    config = network.config
    channels: Any = config.image_channels  # 1 or 3, as the config has checked
    if (data is None) == (not files):
        raise ValueError("give either image files or --data NAME")
    if count is not None and count < 1:
        raise ValueError(f"--count {count}: expected at least 1 image")
    if data is None:
        x = torch.stack([read_image(path, channels=channels, size=config.image_size) for path in files]).float() / 255
        return len(x), iter(zip(x.split(BATCH), torch.full((len(x),), -1).split(BATCH), strict=True))
    share = DataConfig.validation_share if split == "test" else _validation_share(model, data)
    settings = DataConfig(dataset=data, data_root=root, image_size=config.image_size, validation_share=share)
    images: ImageSet = load_split(settings, split, image_channels=channels)
    if is_compared and config.classes and not images.class_names:
        raise ValueError(f"{data} has no labels to compare with; give image files instead")
    if is_compared and config.classes and images.class_names != config.class_names:
        raise ValueError(
            f"{data} has the classes {', '.join(images.class_names)}, "
            f"but this model knows {', '.join(config.class_names)}; give image files instead"
        )
    if count is not None:
        images = images.subset(min(count, len(images)))
    return len(images), images.batches(BATCH)


def _validation_share(model: str, data: str) -> float:
    """The share of a data set's training images that a model was not trained on; the usual one unless a run says it."""
    from spikevae.training.loop import RUN_NAME, read_run

    folder = model_folder(model)
    if (folder / RUN_NAME).is_file():
        trained_on = read_run(folder).data
        if trained_on.dataset == data:
            return trained_on.validation_share
    return DataConfig.validation_share


def with_bar(batches: Iterator[tuple[Tensor, Tensor]], total: int, what: str) -> Iterator[tuple[Tensor, Tensor]]:
    """A progress bar on what takes longer than two seconds."""
    with tqdm(total=total, desc=what, unit="image", delay=2.0, leave=False) as bar:
        for x, labels in batches:
            yield x, labels
            bar.update(len(x))


def collected(batches: Iterator[Tensor], total: int, what: str) -> Tensor:
    parts = []
    with tqdm(total=total, desc=what, unit="image", delay=2.0, leave=False) as bar:
        for part in batches:
            parts.append(part.cpu())
            bar.update(len(part))
    return torch.cat(parts)
