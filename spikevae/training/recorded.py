"""Steps of learning that a GPU plays from a recording: thousands of small operations, asked for at once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor

from spikevae.training.learner import Batch, Learner

log = logging.getLogger(__name__)

Step = Callable[[Learner, Batch], dict[str, Tensor]]

_WARM_UP = 3  # steps before the recording


class RecordedStep:
    """A step that is recorded once as a CUDA graph, and then played for every further batch of full size.

    A spiking network asks for each of its small operations T times, and a GPU does them faster than Python can ask.
    Results are those of the step itself, which the smaller last batch of an epoch takes as it is. So does every batch
    where the step cannot be recorded, because it waits for the GPU inside. A recording holds for one optimizer state:
    a phase starts with a fresh one, and so needs a recording of its own.

    Args:
        step: what a step does.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch = Batch(torch.empty(0), torch.empty(0), 0)  # what the graph reads
        self._terms: dict[str, Tensor] = {}  # what it writes
        self._taken = 0
        self._is_refused = False

    def __call__(self, learner: Learner, batch: Batch) -> dict[str, Tensor]:
        """Take the step; the terms of its loss, which the next one overwrites."""
        if self._is_refused or batch.total < learner.config.train.batch_size:
            return self._step(learner, batch)
        if self._taken < _WARM_UP:
            self._taken += 1
            return self._beside(learner, batch)
        if self._graph is None:
            try:
                self._record(learner, batch)
            except RuntimeError as error:
                log.info("steps are taken one operation at a time: %s", str(error).splitlines()[0])
                self._is_refused = True
                return self._step(learner, batch)
        assert self._graph is not None
        for kept, given in zip(_tensors(self._batch), _tensors(batch), strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._terms

    def _beside(self, learner: Learner, batch: Batch) -> dict[str, Tensor]:
        """Take the step on a stream of its own, as PyTorch asks for before a recording."""
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            terms = self._step(learner, batch)
        here.wait_stream(beside)
        return terms

    def _record(self, learner: Learner, batch: Batch) -> None:
        """Record the step without taking it."""
        self._batch = batch.map(Tensor.clone)
        learner.forget_gradients()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._terms = self._step(learner, self._batch)
        self._graph = graph


def quickest(step: Step, accelerator: Accelerator) -> Step:
    """The step as it is best taken on a device: recorded on one GPU, otherwise as it is."""
    is_alone = accelerator.num_processes == 1
    return RecordedStep(step) if accelerator.device.type == "cuda" and is_alone else step


def _tensors(batch: Batch) -> list[Tensor]:
    return [each for each in batch if isinstance(each, Tensor)]
