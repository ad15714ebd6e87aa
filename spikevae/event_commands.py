"""What `spikevae sample` and `spikevae reconstruct` do with a model of event recordings. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from spikevae.config import Split
from spikevae.console import say
from spikevae.data.events.frames import FrameConfig
from spikevae.data.events.writers import check_recordings_fit, check_recordings_path, save_recordings
from spikevae.inputs import (
    batch_of,
    check_is_not_in,
    compute,
    list_files,
    load_event_vae,
    read_inputs,
    require_memory,
)
from spikevae.labels import class_index
from spikevae.nn.intensity import gain_per_event
from spikevae.runtime import is_main_process
from spikevae.text import printable

_AT_ONCE = 256  # recordings compared together
_BYTES_DRAWN = {".gif": 98, ".webp": 98, ".png": 55}  # of a value, at most, measured; otherwise 10


def sample_recordings(
    model: str, device: str | None, out: Path, *, count: int, seed: int, label: str | None, temperature: float
) -> None:
    """Write new recordings in the form that the suffix of ``out`` names.

    Raises:
        ValueError: if ``out`` cannot take them, or an option is out of range.
    """
    if count < 1:
        raise ValueError(f"--count {count}: expected at least 1 recording")
    check_recordings_path(out, count)
    network = load_event_vae(model, device)
    config = network.config
    check_recordings_fit(out, config.frame_size, config.duration)
    number = None if label is None else class_index(label, config.class_names)
    require_memory(count, (2 * config.time_steps, *config.frame_size), bytes_each=_bytes_drawn(out))

    def draw(numbers: range) -> Tensor:
        intensity = network.sample(len(numbers), seed=seed, label=number, temperature=temperature, start=numbers.start)
        return intensity.transpose(0, 1).cpu()  # [n, T, 2, H, W]

    intensities = compute(draw, count, "sample")
    if is_main_process():
        labels = None if number is None else [number] * count
        save_recordings(
            network.recordings(intensities, seed=seed), out, labels=labels, frames=FrameConfig.taken_by(network.config)
        )
    say(f"{count} recording{'s' if count != 1 else ''} written to {printable(out)}")


def reconstruct_recordings(
    model: str,
    device: str | None,
    files: Sequence[Path],
    data: str | None,
    split: Split | None,
    count: int | None,
    root: str | None,
    out: Path | None,
) -> None:
    """Say how likely recordings are given their latent spikes, and write what is drawn from those.

    Raises:
        ValueError: if ``out`` cannot take them.
    """
    if out is not None:
        check_recordings_path(out, 1)  # the rest when their number is known
        check_is_not_in(out, data)
    network = load_event_vae(model, device)
    if out is not None:
        check_recordings_fit(out, network.config.frame_size, network.config.duration)
    given = read_inputs(model, network, list_files(files, events=True, written=out), data, split, count, root)
    if out is not None:
        check_recordings_path(out, len(given))
    shape = (2 * network.config.time_steps, *network.config.frame_size)
    require_memory(len(given), shape, copies=2, bytes_each=_bytes_drawn(out))

    def expected(numbers: range) -> Tensor:
        x_seq = batch_of(given, numbers)
        return network.reconstruct(x_seq.to(network.device)).transpose(0, 1).cpu()

    intensities = compute(expected, len(given), "reconstruct")
    gains = [
        gain_per_event(found.transpose(0, 1), given.frames(start, len(found)).float().transpose(0, 1))
        for start, found in zip(range(0, len(given), _AT_ONCE), intensities.split(_AT_ONCE), strict=True)
    ]
    gain = float(torch.cat(gains).mean())
    say(f"{len(given):,} recordings: {gain:.3f} nats an event more likely than with a constant rate")
    if out is not None and is_main_process():
        save_recordings(
            network.recordings(intensities),
            out,
            frames=FrameConfig.taken_by(network.config),
            originals=given.frames().numpy(),
        )
        say(f"written to {printable(out)}")


def _bytes_drawn(out: Path | None) -> int:
    """Memory that a value of a frame takes while it is drawn."""
    return _BYTES_DRAWN.get("" if out is None else out.suffix.lower(), 10)
