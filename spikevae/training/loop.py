"""The training loop, on accelerate; it can be interrupted at any moment."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from spikevae.config import RunConfig
from spikevae.data.sets import ImageSet, load_split
from spikevae.hub.checkpoints import save_release
from spikevae.hub.model_card import Training, model_card
from spikevae.runtime import machine
from spikevae.training.learner import Batch, Learner, make_accelerator
from spikevae.training.losses import reconstruction_error
from spikevae.training.phases import Phase, phases_of
from spikevae.training.run_folder import (
    LOCK_NAME,
    RUN_NAME,
    Progress,
    TrainingError,
    append_statistics,
    damaged_state,
    describe_run,
    drop_statistics_after,
    library_versions,
    load_state,
    read_run,
    save_previews,
    save_state,
)

_STATS_EVERY = 50  # steps
_PREVIEW_COUNT = 32  # held-out images
_PREVIEW_FIT = 5_000  # training images behind the density that a preview samples from


def train(config: RunConfig, run: Path, *, is_new: bool = True) -> dict[str, float]:
    """Train to the end and return the last validation scores. Nothing is written before the data could be read.

    Args:
        config: all settings.
        run: folder for all that is written.
        is_new: whether to start; otherwise go on from the last saved state of ``run``.

    Raises:
        FileExistsError: if the folder of a new run already holds one.
        ValueError: if a run would be resumed with other settings (but for where the data lies).
        TrainingError: if the loss is no longer a number, a file cannot be written, or another process trains in this
            folder. What was saved stays.
    """
    if is_new and (run / RUN_NAME).exists():
        raise FileExistsError(f"{run} already holds a run; go on with --resume {run}, or choose another --out")
    if not is_new and _anywhere(read_run(run)) != _anywhere(config):
        raise ValueError(f"{run} was started with other settings, which a resumed run keeps; read them with read_run")
    trainer = Trainer(config, run)
    lock = filelock.FileLock(run / LOCK_NAME, blocking=False)  # given back when the process ends, however it does
    try:
        if trainer.is_main:
            run.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            if is_new:
                describe_run(config, run)
        return trainer.fit()
    except filelock.Timeout:
        message = f"another process trains in {run}; wait until it ends, or stop it and go on with --resume {run}"
        raise TrainingError(message) from None
    except OSError as error:
        raise TrainingError(f"{error}; the last saved state is kept, go on with --resume {run}") from error
    finally:
        lock.release()
        trainer.accelerator.end_training()


class Trainer:
    """A run in progress: what learns, from what, and how far it has come."""

    def __init__(self, config: RunConfig, run: Path) -> None:
        self.config = config
        self.run = run
        self.accelerator = make_accelerator(config.train.precision, run)
        self.is_main = bool(self.accelerator.is_main_process)
        with self.accelerator.local_main_process_first():  # so that one downloads, and the others find it there
            self.train_set = load_split(config.data, "train")
        if config.train.image_limit is not None:
            self.train_set = self.train_set.subset(config.train.image_limit)
        self.validation_set = load_split(config.data, "validation")
        _check_fit(config, self.train_set)
        self.steps_per_epoch = math.ceil(len(self.train_set) / config.train.batch_size)
        self.phases = phases_of(config.train)
        self.learner = Learner(config, self.accelerator)
        self.progress = Progress()
        self.seconds_before = 0.0  # of the sittings that this one resumes
        self.started_at = self.saved_at = time.monotonic()

    def fit(self) -> dict[str, float]:
        """Run the remaining epochs."""
        self._resume()
        scores: dict[str, float] = {}
        for phase in self.phases:
            for epoch in phase.epochs[max(0, self.progress.epoch - phase.epochs.start) :]:
                if epoch == phase.epochs.start and self.progress.batches_done == 0:
                    self._begin(phase)
                self._train_epoch(phase)
                self.progress.epoch, self.progress.batches_done = epoch + 1, 0
                scores = self._finish_epoch(phase)
                self._save_state()
        return scores or self._validate()

    def _begin(self, phase: Phase) -> None:
        if phase.samples:
            self._fit_density(count=None)
        self.learner.start_from_average()

    def _train_epoch(self, phase: Phase) -> None:
        settings, progress = self.config.train, self.progress
        self.learner.model.train()
        if phase.freeze is not None:
            phase.freeze(self.learner.plain_model)
        batches = self.train_set.batches(
            settings.batch_size,
            seed=settings.seed,
            epoch=progress.epoch,
            skip=progress.batches_done,
            flip=settings.flip and phase.is_augmented,
            shift=settings.shift if phase.is_augmented else 0,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        for terms in self._progress_bar(phase, (self._step(phase, x, labels) for x, labels in batches)):
            progress.batches_done += 1
            progress.images_seen += settings.batch_size
            if progress.batches_done % _STATS_EVERY == 0 or progress.batches_done == self.steps_per_epoch:
                self._record(phase, terms)
            if time.monotonic() - self.saved_at > settings.checkpoint_seconds:
                self._save_state()

    def _step(self, phase: Phase, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        settings, device = self.config.train, self.accelerator.device
        total = min(settings.batch_size, len(self.train_set) - self.progress.batches_done * settings.batch_size)
        # Seeded from what is to be seen, so that a resumed run draws what the uninterrupted one would have drawn.
        seed = _mix(settings.seed, self.progress.images_seen)
        torch.manual_seed(seed)
        self.learner.set_learning_rate(self._learning_rate(phase))
        terms = self.learner.mean_over_processes(
            phase.step(self.learner, Batch(x.to(device), labels.to(device), total, seed))
        )
        if not bool(torch.isfinite(terms["loss"])):
            raise self._diverged(f"the loss became {float(terms['loss'])}")
        self.learner.ema.update_parameters(self.learner.plain_model)
        return terms

    def _learning_rate(self, phase: Phase) -> float:
        settings = self.config.train
        epoch_images = self.steps_per_epoch * settings.batch_size
        return phase.learning_rate(self.progress.images_seen, settings.batch_size, epoch_images, settings.warmup_images)

    # ------------------------------------------------------------ after an epoch

    def _finish_epoch(self, phase: Phase) -> dict[str, float]:
        self._require_finite_weights()
        is_last = self.progress.epoch == phase.epochs.stop and not any(
            later.epochs and not later.samples for later in self.phases[self.phases.index(phase) + 1 :]
        )
        if not phase.samples:
            self._fit_density(count=None if is_last else _PREVIEW_FIT)
        scores = self._validate()
        if not self.is_main:
            return scores
        append_statistics(
            self.run,
            {
                "epoch": self.progress.epoch,
                "seconds": round(self.seconds),
                "train_images": len(self.train_set),
                "validation_images": len(self.validation_set),
                "validation": scores,
            },
        )
        model = self.learner.averaged_model.eval()
        if (
            self.progress.epoch % self.config.train.preview_epochs == 0
            or self.progress.epoch == self.config.train.epochs
        ):
            x = self.validation_set.images(0, _PREVIEW_COUNT).float() / 255
            reconstructions = model.reconstruct(x.to(self.accelerator.device)).cpu()
            save_previews(self.run, self.progress.epoch, model.sample(64, seed=0).cpu(), x, reconstructions)
        save_release(model, self.run, dataset=self.config.data.dataset, card=self._card(scores))
        return scores

    @torch.inference_mode()
    def _fit_density(self, count: int | None) -> None:
        """Fit the density of the averaged model's latents to ``count`` training images, or all."""
        model = self.learner.averaged_model.eval()
        if not model.latent.has_density:
            return
        images = self.train_set if count is None else self.train_set.subset(min(count, len(self.train_set)))
        potentials, labels = [], []
        for x, y in _quietly(images.batches(256), len(images) / 256, "fit density"):
            potential = model.encode(x.to(self.accelerator.device)).potential
            assert potential is not None
            potentials.append(potential.transpose(0, 1).flatten(1).cpu())
            labels.append(y)
        everything = torch.cat(potentials)
        if not bool(everything.isfinite().all()):
            raise self._diverged("latent potentials are no longer finite")
        model.latent.fit(everything, torch.cat(labels))

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Reconstruction error and accuracy of the averaged weights on the held-out part of the training split."""
        model = self.learner.averaged_model.eval()
        errors, right, labelled = 0.0, 0, 0
        for x, labels in _quietly(self.validation_set.batches(256), len(self.validation_set) / 256, "validate"):
            x, labels = x.to(self.accelerator.device), labels.to(self.accelerator.device)
            errors += float(reconstruction_error(model.reconstruct(x, batch_size=256), x)) * len(x)
            if model.classifier is not None:
                right += int((model.classify(x, batch_size=256).argmax(dim=1) == labels).sum())
                labelled += int((labels >= 0).sum())
        scores = {"reconstruction_error": errors / max(len(self.validation_set), 1)}
        return scores | ({"accuracy": right / labelled} if labelled else {})

    def _card(self, scores: dict[str, float]) -> str:
        training = Training(
            train_images=len(self.train_set),
            validation_images=len(self.validation_set),
            epoch=self.progress.epoch,
            seconds=self.seconds,
            machine=machine(),
            versions=library_versions(),
            validation=scores,
        )
        return model_card(self.config, training)

    # ------------------------------------------------------------ what is told and kept

    @property
    def seconds(self) -> float:
        """Time that training took so far, over all sittings."""
        return self.seconds_before + time.monotonic() - self.started_at

    def _progress_bar(self, phase: Phase, steps: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """The steps of an epoch behind a bar with images per second and the loss terms."""
        settings = self.config.train
        size = settings.batch_size
        with tqdm(
            total=self.steps_per_epoch * size,
            initial=self.progress.batches_done * size,
            desc=f"epoch {self.progress.epoch + 1}/{settings.epochs} ({phase.name})",
            unit="image",
            mininterval=1.0,
            dynamic_ncols=True,
            **({} if self.is_main else {"disable": True}),  # else as TQDM_DISABLE says
        ) as bar:
            for number, terms in enumerate(steps):
                if number % 10 == 0:
                    bar.set_postfix({name: f"{float(value):.4f}" for name, value in terms.items()}, refresh=False)
                bar.update(size)
                yield terms

    def _record(self, phase: Phase, terms: dict[str, Tensor]) -> None:
        values = {name: float(value) for name, value in terms.items()}
        self.accelerator.log(values, step=self.progress.images_seen)
        if self.is_main:
            seen = {"images_seen": self.progress.images_seen, "learning_rate": self._learning_rate(phase)}
            append_statistics(self.run, seen | values)

    def _save_state(self) -> None:
        self.saved_at = time.monotonic()
        self._require_finite_weights()
        if self.is_main:
            save_state(self.run, self.learner.state(), replace(self.progress, seconds=self.seconds))

    def _resume(self) -> None:
        found = load_state(self.run)
        if found is not None:
            state, self.progress = found
            try:
                self.learner.load(state)
            except Exception as error:
                raise damaged_state(self.run, error) from error
            self.seconds_before = self.progress.seconds
        if self.is_main:
            drop_statistics_after(self.run, self.progress)
        after = {"purge_step": self.progress.images_seen + 1}
        self.accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": after})

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"{what} after {self.progress.images_seen:,} images; the last good state is kept in {self.run}. "
            f"Lower --train.learning-rate (now {self.config.train.learning_rate}) and start again"
        )

    def _require_finite_weights(self) -> None:
        for name, value in self.learner.plain_model.state_dict().items():
            if not bool(value.isfinite().all()):
                raise self._diverged(f"the weight {name} is no longer finite")


def _anywhere(config: RunConfig) -> RunConfig:
    """The settings, wherever the data lies."""
    return replace(config, data=replace(config.data, data_root=None))


def _check_fit(config: RunConfig, train_set: ImageSet) -> None:
    """Data and network must agree before the first step."""
    model = config.model
    if (train_set.image_size, train_set.image_channels) != (model.image_size, model.image_channels):
        raise ValueError(
            f"{config.data.dataset} has {train_set.image_channels}x{train_set.image_size}x{train_set.image_size} "
            f"images, the model is for {model.image_channels}x{model.image_size}x{model.image_size}; "
            f"set --data.image-size, --model.image-size and --model.image-channels alike"
        )
    if model.classes and train_set.class_names != model.class_names:
        raise ValueError(f"{config.data.dataset} has the classes {train_set.class_names}, not {model.class_names}")
    if config.train.adversarial_epochs and model.latent == "autoregressive":
        raise ValueError(
            f"adversarial fine-tuning needs latent='potential', not {model.latent!r}; set --train.adversarial-share 0"
        )


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _quietly(batches: Iterator[Any], total: float, what: str) -> Iterator[Any]:
    """A bar only for what takes longer than two seconds."""
    yield from tqdm(batches, total=math.ceil(total), desc=what, delay=2.0, leave=False)
