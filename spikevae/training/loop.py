"""The training loop, on accelerate; it can be interrupted at any moment."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import torch
from torch import Tensor

from spikevae.config import RunConfig
from spikevae.config.reading import typed
from spikevae.data.events.eventset import EventSet
from spikevae.data.passes import batch_count
from spikevae.data.sets import ImageSet
from spikevae.hub.run_settings import anywhere, read_run
from spikevae.text import printable
from spikevae.training.batches import batches_left, mixed
from spikevae.training.interruption import Interruption, Stop
from spikevae.training.learner import Batch, Learner, make_accelerator
from spikevae.training.phases import Phase, phases_of
from spikevae.training.pretrained import tell_of_another_division, with_whole_paths
from spikevae.training.recorded import quickest
from spikevae.training.reporting import EventFile, plan, reported
from spikevae.training.run_folder import (
    LOCK_NAME,
    STATE_NAME,
    Progress,
    TrainingError,
    append_statistics,
    check_run_place,
    describe_run,
    drop_statistics_after,
    publish,
    require_same_images,
    resume,
    save_previews,
    save_state,
    what_is_kept,
)
from spikevae.training.sets import fitted_to, load_sets, require_readable
from spikevae.training.validation import check_classes, check_own_classes, fit_density, validate

log = logging.getLogger(__name__)

_STATS_EVERY = 50  # steps
_PREVIEW_FIT = 5_000  # training images behind the density that a preview samples from


def train(
    config: RunConfig,
    run: Path | str,
    *,
    train_set: ImageSet | EventSet | None = None,
    validation_set: ImageSet | EventSet | None = None,
    is_new: bool = True,
) -> dict[str, float]:
    """Train to the end and return the last validation scores. Nothing is written before the data could be read.

    The first Ctrl-C saves the state before it is passed on; a second one stops at once. What is chosen and how far the
    run has come is logged (``logging.getLogger("spikevae")``, level INFO).

    Args:
        config: all settings. Lengths that they leave open (0) follow from the number of training images, and the
            classes of a folder or of a ``train_set`` are taken over; the run folder holds what was chosen.
        run: folder for all that is written.
        train_set: images of one's own, in place of the data set that the settings name.
        validation_set: images to validate on, like those of training; otherwise a share of these is held out.
        is_new: whether to start; otherwise go on from the last saved state of ``run``.

    Raises:
        FileExistsError: if the folder of a new run already holds one, or a file that it would write over.
        OSError: if it cannot be written to.
        ValueError: if a run would be resumed with other settings (but for where the data lies), or data and network
            do not fit, or the two sets.
        TrainingError: if the loss is no longer a number, a file cannot be written, another process trains in this
            folder, or the state of a run to be resumed is gone. What was saved stays.
    """
    run, config = Path(run), typed("config", RunConfig, config)
    started_with = None if is_new else read_run(run)
    if is_new:
        check_run_place(run)
    trainer = Trainer(config, run, train_set, validation_set, started_with)
    lock = filelock.FileLock(run / LOCK_NAME, blocking=False)  # given back when the process ends, however it does
    try:
        if trainer.is_main:
            run.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            if is_new:
                check_run_place(run)  # another run may have begun here while the data was read
                describe_run(trainer.config, run, trainer.counts, trainer.train_set.origins)
        return trainer.fit()
    except filelock.Timeout:
        raise TrainingError(f"another process trains in {run}; wait until it ends, or stop it and resume it") from None
    except OSError as error:
        reason = f"{error.filename or run}: {error.strerror}" if error.strerror else str(error)
        raise TrainingError(f"{reason}; {what_is_kept(run)}") from error
    finally:
        lock.release()
        trainer.close()


class Trainer:
    """A run in progress: what learns, from what, and how far it has come."""

    def __init__(
        self,
        config: RunConfig,
        run: Path,
        train_set: ImageSet | EventSet | None,
        validation_set: ImageSet | EventSet | None,
        started_with: RunConfig | None,
    ) -> None:
        self.run, config = run, with_whole_paths(config)
        self.accelerator = make_accelerator(config.train.precision)
        self.is_main = bool(self.accelerator.is_main_process)
        with self.accelerator.local_main_process_first():  # so that one downloads, and the others find it there
            self.train_set, self.validation_set = load_sets(config, train_set, validation_set)
        self.counts = {"train_images": len(self.train_set), "validation_images": len(self.validation_set)}
        self.config = with_whole_paths(fitted_to(config, self.train_set, is_divided=validation_set is None))
        if started_with is not None and anywhere(started_with) not in (anywhere(config), anywhere(self.config)):
            raise ValueError(f"{run} was started with other settings, which a resumed run keeps; see read_run")
        self.settings = self.config.train
        processes = self.accelerator.num_processes
        self.steps_per_epoch = batch_count(len(self.train_set), self.settings.batch_size, processes)
        self.phases = phases_of(self.config)
        self.learner = Learner(self.config, self.accelerator, is_new=not os.path.lexists(run / STATE_NAME))
        if started_with is None:
            check_own_classes(self.learner, self.train_set, self.validation_set)
        check_classes(self.learner, self.train_set, self.validation_set)
        if started_with is None:
            require_readable(self.train_set, self.validation_set)
            tell_of_another_division(self.config, self.train_set)
        self.progress, self.interruption = Progress(), Interruption()
        self.steps = {phase.name: quickest(phase.step, self.accelerator) for phase in self.phases}
        self.events: EventFile | None = None
        self.started_at = self.saved_at = time.monotonic()

    def fit(self) -> dict[str, float]:
        """Run the remaining epochs."""
        self._resume()
        if self.is_main:
            said = plan(self.learner, self.phases, **self.counts)
            log.info("training in %s; Ctrl-C stops and saves: %s", printable(self.run), said)
        try:
            with self.interruption:
                try:
                    return self._run_phases()
                except Stop:
                    self._save_state()  # a SIGTERM or SIGHUP that comes again is only noted here
                    raise
        except FloatingPointError as error:
            phase = next(phase for phase in self.phases if self.progress.epoch in phase.epochs)
            raise TrainingError(
                f"{error} after {self.progress.images_seen:,} images; {what_is_kept(self.run, may_go_on=False)}. "
                f"Lower --train.{phase.rate_setting} (now {phase.peak_rate}) and start again, with another --out"
            ) from None

    def _run_phases(self) -> dict[str, float]:
        scores: dict[str, float] = {}
        for phase in self.phases:
            for epoch in phase.epochs[max(0, self.progress.epoch - phase.epochs.start) :]:
                if epoch == phase.epochs.start and self.progress.batches_done == 0:
                    if phase.samples and phase.epochs.start == 0:  # otherwise the phase before ended with it
                        fit_density(self.learner, self.train_set, self._stoppable)
                    self.learner.start_from_average()
                self._train_epoch(phase)
                scores = self._finish_epoch(phase)
                self.progress.epoch, self.progress.batches_done = epoch + 1, 0
                if scores:
                    self._save_state()
                self._stop_if_asked()
        return scores or validate(self.learner.averaged_model, self.validation_set, self._stoppable)

    def _train_epoch(self, phase: Phase) -> None:
        settings, progress = self.settings, self.progress
        self.learner.model.train()
        if phase.prepare is not None:
            phase.prepare(self.learner)
        batches = batches_left(self.train_set, self.learner, phase, progress)
        steps: Iterator[dict[str, Tensor]] = (self._step(phase, batch) for batch in batches)
        if self.is_main:
            steps = reported(
                steps,
                name=f"epoch {progress.epoch + 1}/{settings.epochs} ({phase.name})",
                done=progress.batches_done,
                total=self.steps_per_epoch,
                batch_size=settings.batch_size,
            )
        for terms in steps:
            progress.batches_done += 1
            progress.images_seen += settings.batch_size
            if progress.batches_done % _STATS_EVERY == 0 or progress.batches_done == self.steps_per_epoch:
                self._record(terms)
            if time.monotonic() - self.saved_at > settings.checkpoint_seconds:
                self._save_state()
            self._stop_if_asked()

    def _step(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        seen, size, device = self.progress.images_seen, self.settings.batch_size, self.accelerator.device
        # Seeded from what is to be seen, so that a resumed run draws what the uninterrupted one would have drawn.
        torch.manual_seed(mixed(self.settings.seed, seen, self.accelerator.process_index))
        rate = phase.learning_rate(seen, size, self.steps_per_epoch * size, self.settings.warmup_images)
        self.learner.set_learning_rate(rate)
        terms = self.steps[phase.name](self.learner, batch.map(lambda each: each.to(device)))
        terms = self.learner.mean_over_processes(terms)
        if not bool(torch.isfinite(terms["loss"])):
            raise FloatingPointError(f"the loss became {float(terms['loss'])}")
        self.learner.ema.update_parameters(self.learner.plain_model)
        return terms

    # ------------------------------------------------------------ after an epoch

    def _finish_epoch(self, phase: Phase) -> dict[str, float]:
        """Validate, preview and release the averaged weights, as often as the settings say."""
        self.learner.require_finite_weights()
        done = self.progress.epoch + 1
        following = next((later for later in self.phases if done in later.epochs), None)
        if done % self.settings.preview_epochs and following is phase:
            return {}
        if not phase.samples:
            is_final = following is None or following.samples
            fit_density(self.learner, self.train_set, self._stoppable, None if is_final else _PREVIEW_FIT)
        model = self.learner.averaged_model
        scores = validate(model, self.validation_set, self._stoppable)
        if not self.is_main:
            return scores
        entry = {"epoch": done, "seconds": round(self.seconds)} | self.counts | {"validation": scores}
        append_statistics(self.run, entry)
        save_previews(self.run, model, done, self.validation_set)
        publish(self.run, model, self.config, epoch=done, seconds=self.seconds, validation=scores, **self.counts)
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
        log.info("epoch %d/%d (%s) done: %s on held-out images", done, self.settings.epochs, phase.name, shown)
        return scores

    # ------------------------------------------------------------ what is told and kept

    @property
    def seconds(self) -> float:
        """Time that training took so far, over all sittings."""
        return time.monotonic() - self.started_at

    def _record(self, terms: dict[str, Tensor]) -> None:
        values = {name: float(value) for name, value in terms.items()}
        if self.events is not None:
            self.events.add(values, self.progress.images_seen)
            seen = {"images_seen": self.progress.images_seen, "learning_rate": self.learner.learning_rate}
            append_statistics(self.run, seen | values)

    def _save_state(self) -> None:
        self.saved_at = time.monotonic()
        self.learner.require_finite_weights()
        if self.is_main:
            save_state(self.run, self.learner.state(), replace(self.progress, seconds=self.seconds))

    def _resume(self) -> None:
        self.progress = resume(self.run, self.learner.load)
        self.started_at -= self.progress.seconds  # as if the sittings before had ended when this one began
        if self.is_main:
            drop_statistics_after(self.run, self.progress)
            require_same_images(self.run, self.counts, self.train_set)
            self.events = EventFile(self.run / "tensorboard", self.progress.images_seen)

    def _stop_if_asked(self) -> None:
        if self.learner.any_process(self.interruption.is_requested):
            log.info("stopping: the state is saved first; a second Ctrl-C stops at once")
            raise Stop

    def _stoppable(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Any, Any]]:
        for batch in batches:
            self._stop_if_asked()
            yield batch

    def close(self) -> None:
        """Close what is open."""
        if self.events is not None:
            self.events.close()
        self.accelerator.end_training()
