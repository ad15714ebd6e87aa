"""The batches of an epoch, which depend on nothing but seed and progress."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from spikevae.data.events.eventset import EventSet
from spikevae.data.sets import ImageSet
from spikevae.nn.images import image_rngs
from spikevae.nn.latents.base import Latent
from spikevae.training.learner import Batch, Learner
from spikevae.training.phases import Phase
from spikevae.training.run_folder import Progress

Given = TypeVar("Given")
Made = TypeVar("Made")

_AHEAD = 4  # batches in preparation while a GPU works


def batches_left(data: ImageSet | EventSet, learner: Learner, phase: Phase, progress: Progress) -> Iterator[Batch]:
    """What this process has of every batch that is left of the epoch, on the CPU."""
    settings, accelerator = learner.config.train, learner.accelerator
    size = settings.batch_size
    rank, world_size = accelerator.process_index, accelerator.num_processes
    pairs = data.batches(
        size,
        seed=settings.seed,
        epoch=progress.epoch,
        skip=progress.batches_done,
        flip=settings.flip and (phase.is_augmented or settings.symmetric),
        shift=settings.shift if phase.is_augmented else 0,
        rank=rank,
        world_size=world_size,
    )
    totals = (min(size, len(data) - start) for start in count(progress.batches_done * size, size))
    if not phase.samples:
        return (Batch(x, labels, total) for (x, labels), total in zip(pairs, totals, strict=False))
    seeds = (mixed(settings.seed, seen) for seen in count(progress.images_seen, size))
    latent = learner.generator.latent
    is_gpu = accelerator.device.type != "cpu"
    draw = partial(_with_new_spikes, copy.deepcopy(latent).cpu() if is_gpu else latent, rank, world_size)
    return ahead(draw, zip(pairs, totals, seeds, strict=False), _AHEAD if is_gpu else 0)


def ahead(make: Callable[[Given], Made], items: Iterable[Given], workers: int) -> Iterator[Made]:
    """``map(make, items)``, where so many threads make the next ones meanwhile (0: none)."""
    if not workers:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Made]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def mixed(*numbers: int) -> int:
    """One seed from several numbers; a last number of 0 changes nothing."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _with_new_spikes(
    latent: Latent, rank: int, world_size: int, given: tuple[tuple[Tensor, Tensor], int, int]
) -> Batch:
    """A batch with latent spikes of as many new images as this process has real ones, of the same classes."""
    (x, labels), total, seed = given
    generator = torch.Generator().manual_seed(seed)
    rngs = image_rngs(int(torch.randint(2**62, (), generator=generator)), range(rank, total, world_size))
    new_z_seq = latent.sample_prior(rngs, labels if latent.is_conditional else None, reject=False)
    return Batch(x, labels, total, new_z_seq)
