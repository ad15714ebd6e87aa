"""What a run tells while it goes on: a bar at a terminal, elsewhere a line now and then, and TensorBoard's events."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from tqdm import tqdm

from spikevae.training.learner import Learner
from spikevae.training.phases import Phase

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


def plan(learner: Learner, phases: Sequence[Phase], train_images: int, validation_images: int) -> str:
    """What a run is going to do, in a line."""
    settings = learner.config.train
    epochs = ", ".join(f"{len(phase.epochs)} {phase.name}" for phase in phases if phase.epochs)
    start = f", {learner.taken_over:.0%} of the weights from {settings.start_from}" if learner.taken_over else ""
    teacher = f", {settings.teacher} teaches" if settings.teacher is not None else ""
    return (
        f"{train_images:,} training images, {validation_images:,} held out; {settings.epochs} epochs ({epochs}), "
        f"batches of {settings.batch_size}, warm-up over {settings.warmup_images:,} images, "
        f"moving average over {settings.ema_images:,}, previews every {settings.preview_epochs} epochs{start}{teacher}"
    )


def reported(
    steps: Iterator[dict[str, Tensor]], *, name: str, done: int, total: int, batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """The steps of an epoch, told of by their loss terms and by images a second.

    Args:
        steps: loss terms, one after another.
        name: of the epoch.
        done: steps that were done before.
        total: steps of the epoch.
        batch_size: images of a step.
    """
    if not sys.stderr.isatty():
        yield from _told_in_lines(steps, name, done, total)
        return
    with tqdm(
        total=total * batch_size,
        initial=done * batch_size,
        desc=name,
        unit="image",
        mininterval=1.0,
        dynamic_ncols=True,
        leave=False,
    ) as bar:
        for number, terms in enumerate(steps):
            if number % 10 == 0:
                bar.set_postfix_str(_shown(terms), refresh=False)
            bar.update(batch_size)
            yield terms


def _told_in_lines(steps: Iterator[dict[str, Tensor]], name: str, done: int, total: int) -> Iterator[dict[str, Tensor]]:
    told_at = time.monotonic()
    for number, terms in enumerate(steps, done + 1):
        if time.monotonic() - told_at > SECONDS_BETWEEN_LINES:
            log.info("%s: step %d of %d, %s", name, number, total, _shown(terms))
            told_at = time.monotonic()
        yield terms


def _shown(terms: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {float(value):.4f}" for name, value in terms.items())


class EventFile:
    """Scalars for TensorBoard, written at once, so that a full disk is heard of where it is met.

    torch's ``SummaryWriter`` writes in a thread, whose failure is printed and otherwise comes late.

    Args:
        folder: TensorBoard's; events after ``images_seen`` of an earlier sitting are no longer shown.
        images_seen: where this sitting starts.
    """

    def __init__(self, folder: Path, images_seen: int) -> None:
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("wb"))
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=images_seen + 1, session_log=SessionLog(status=SessionLog.START)))

    def add(self, values: Mapping[str, float], images_seen: int) -> None:
        """Add a point to each curve."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(step=images_seen, summary=Summary(value=scalars)))

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()
