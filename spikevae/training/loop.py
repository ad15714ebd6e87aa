"""The training loop: three phases, on accelerate, that can be interrupted at any moment."""

from __future__ import annotations

import json
import logging
import math
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import filelock
import numpy as np
import torch
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

import spikevae
from spikevae.config import RunConfig, from_dict, to_dict
from spikevae.data.images import save_images
from spikevae.data.sets import ImageSet, load_split
from spikevae.distributed import is_one_of_many, share_batch_norm, whole_batch_randomness
from spikevae.hub.checkpoints import save_release, write_atomically
from spikevae.hub.model_card import Training, model_card
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import has_bfloat16, machine
from spikevae.training.discriminator import PatchDiscriminator
from spikevae.training.losses import discriminator_hinge_loss, feature_distance, reconstruction_error, vae_objective

log = logging.getLogger(__name__)

STATE_NAME = "state.pt"
RUN_NAME = "run.json"
STATS_NAME = "stats.jsonl"
LOCK_NAME = "lock"
_STATS_EVERY = 50  # steps
_PREVIEW_COUNT = 32  # images of each kind
_PREVIEW_FIT = 5_000  # training images behind the density that a preview samples from


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what is kept."""


def library_versions() -> dict[str, str]:
    """Versions that a run depends on."""
    return {
        "spikevae": spikevae.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
    }


def describe_run(config: RunConfig, run: Path) -> None:
    """Write what a run folder needs to explain itself: settings, versions and the command."""
    run.mkdir(parents=True, exist_ok=True)
    record = {
        "config": to_dict(config),
        "command": shlex.join(["spikevae", *sys.argv[1:]]),
        "machine": machine(),
        "versions": library_versions(),
    }
    text = json.dumps(record, indent=2) + "\n"
    write_atomically(run / RUN_NAME, lambda path: path.write_text(text, encoding="utf-8"))


def read_run(run: Path) -> RunConfig:
    """The settings of a run folder.

    Raises:
        FileNotFoundError: if it holds no run.
        ValueError: if its settings are not what this version writes.
    """
    path = run / RUN_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no run to resume: {RUN_NAME} is missing")
    try:
        return from_dict(RunConfig, json.loads(path.read_text(encoding="utf-8"))["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


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
        if trainer.accelerator.is_main_process:
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
        trainer.close()


class Trainer:
    """A run in progress: networks, optimizers, data, and how many images they have seen."""

    def __init__(self, config: RunConfig, run: Path) -> None:
        self.config = config
        self.run = run
        settings = config.train
        AcceleratorState._reset_state()  # shared by all runs of a process; it would keep the first one's precision
        on_cpus = is_one_of_many() and not torch.cuda.is_available()  # else accelerate would not connect them
        is_half = settings.precision == "bfloat16" or (
            settings.precision == "auto" and has_bfloat16(PartialState(cpu=on_cpus).device)
        )
        self.accelerator = accelerate.Accelerator(
            cpu=on_cpus,
            mixed_precision="bf16" if is_half else "no",
            log_with="tensorboard",
            project_dir=run,
            step_scheduler_with_optimizer=False,
            kwargs_handlers=[accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        with self.accelerator.local_main_process_first():  # so that one downloads, and the others find it there
            self.train_set = load_split(config.data, "train")
        if settings.image_limit is not None:
            self.train_set = self.train_set.subset(settings.image_limit)
        self.validation_set = load_split(config.data, "validation")
        _check_fit(config, self.train_set)

        torch.manual_seed(settings.seed)
        model = SpikingVAE(config.model)
        self.ema = AveragedModel(
            model,
            multi_avg_fn=_moving_average(settings.batch_size / settings.ema_images),
            use_buffers=True,
        ).to(self.accelerator.device)
        model.to(self.accelerator.device)
        if self.accelerator.num_processes > 1:
            share_batch_norm(model)
        discriminator = PatchDiscriminator(config.model.image_channels, config.model.classes)
        optimizer = torch.optim.AdamW(
            _parameter_groups(model, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        discriminator_optimizer = torch.optim.AdamW(
            discriminator.parameters(), lr=settings.adversarial_learning_rate, betas=(0.5, 0.99)
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.discriminator, self.discriminator_optimizer = self.accelerator.prepare(
            discriminator, discriminator_optimizer
        )
        self.epoch = 0
        self.batches_done = 0  # of this epoch
        self.images_seen = 0
        self.seconds_before = 0.0  # of the sittings that this one resumes
        self.started_at = self.saved_at = time.monotonic()

    # ------------------------------------------------------------ the loop

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train_set) / self.config.train.batch_size)

    @property
    def first_adversarial_epoch(self) -> int:
        return self.config.train.epochs - self.config.train.adversarial_epochs

    @property
    def first_deterministic_epoch(self) -> int:
        return self.first_adversarial_epoch - self.config.train.deterministic_epochs

    @property
    def is_deterministic(self) -> bool:
        return self.first_deterministic_epoch <= self.epoch < self.first_adversarial_epoch

    @property
    def batch_images(self) -> int:
        """Images of the batch that comes next, over all processes."""
        size = self.config.train.batch_size
        return min(size, len(self.train_set) - self.batches_done * size)

    @property
    def is_adversarial(self) -> bool:
        return self.epoch >= self.first_adversarial_epoch

    @property
    def seconds(self) -> float:
        """Time that training took so far, over all sittings."""
        return self.seconds_before + time.monotonic() - self.started_at

    @property
    def plain_model(self) -> SpikingVAE:
        """The network itself, without the wrapper that shares its gradients between processes."""
        model = self.accelerator.unwrap_model(self.model)
        assert isinstance(model, SpikingVAE)
        return model

    @property
    def averaged_model(self) -> SpikingVAE:
        """The network with the moving average of the weights: what is validated, shown and released."""
        model = self.ema.module
        assert isinstance(model, SpikingVAE)
        return model

    def fit(self) -> dict[str, float]:
        """Run the remaining epochs."""
        self._load_state()
        self._forget_redone()
        after = {"purge_step": self.images_seen + 1}
        self.accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": after})
        scores: dict[str, float] = {}
        while self.epoch < self.config.train.epochs:
            if self.batches_done == 0 and self.epoch in (self.first_deterministic_epoch, self.first_adversarial_epoch):
                self._begin_phase()
            self._train_epoch()
            self.epoch += 1
            self.batches_done = 0
            scores = self._finish_epoch()
            self._save_state()
        return scores or self._validate()

    def _train_epoch(self) -> None:
        settings = self.config.train
        self.model.train()
        if self.is_adversarial:
            self._freeze_encoder()
        batches = self.train_set.batches(
            settings.batch_size,
            seed=settings.seed,
            epoch=self.epoch,
            skip=self.batches_done,
            flip=settings.flip and not self.is_adversarial,  # new images shall look like those of the data, unaltered
            shift=0 if self.is_adversarial else settings.shift,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        for terms in self._progress(self._step(x, labels) for x, labels in batches):
            self.batches_done += 1
            self.images_seen += settings.batch_size
            if self.batches_done % _STATS_EVERY == 0 or self.batches_done == self.steps_per_epoch:
                self._record(terms)
            if time.monotonic() - self.saved_at > settings.checkpoint_seconds:
                self._save_state()

    def _step(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        x, labels = x.to(self.accelerator.device), labels.to(self.accelerator.device)
        settings = self.config.train
        # Seeded from what is to be seen, so that a resumed run draws what the uninterrupted one would have drawn.
        torch.manual_seed(_mix(settings.seed, self.images_seen))
        rate = self._learning_rate()
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate
        terms = self._mean(self._adversarial_step(x, labels) if self.is_adversarial else self._learn(x, labels))
        if not bool(torch.isfinite(terms["loss"])):
            raise self._diverged(f"the loss became {float(terms['loss'])}")
        self.ema.update_parameters(self.plain_model)
        return terms

    def _learn(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of encoder, latent, decoder and classifier together."""
        with self.accelerator.autocast(), whole_batch_randomness(self.batch_images):
            outputs = self.model(x, random=not self.is_deterministic)
        found = vae_objective(
            outputs.reconstruction, x, outputs.divergence, outputs.logits, labels, self.config.objective
        )
        share = self._share(len(x), self.batch_images)
        terms = {name: share * value for name, value in found._asdict().items()}
        self._descend(self.optimizer, self.model, terms["loss"])
        return {name: value.detach() for name, value in terms.items()}

    def _adversarial_step(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of the decoder: half of the images are reconstructed, and as many new ones as all are judged.

        The discriminator learns to tell new images from real ones of their class. Reconstructions are compared with
        their originals, pixel by pixel and in the discriminator's features, which must also tell the class of both.
        """
        weights = self.config.objective
        given = labels if self.plain_model.config.classes else None
        rank, world_size, half = self.accelerator.process_index, self.accelerator.num_processes, self.batch_images // 2
        shown = x[: max(1, len(range(rank, half, world_size)))]
        share, shown_share = self._share(len(x), self.batch_images), self._share(len(shown), max(half, world_size))
        z_seq = self.plain_model.sample_prior(
            range(rank, self.batch_images, world_size),
            seed=int(torch.randint(2**62, ())),
            labels=given,
            reject=False,
        )
        with self.accelerator.autocast():
            outputs = self.model(shown, refine_z_seq=z_seq)
            real = self.discriminator(x, given)
            fake = self.discriminator(outputs.samples.detach(), given)
        discriminator_loss = share * discriminator_hinge_loss(real.scores.float(), fake.scores.float())
        if given is not None:
            discriminator_loss = discriminator_loss + share * nn.functional.cross_entropy(real.logits.float(), labels)
        self._descend(self.discriminator_optimizer, self.discriminator, discriminator_loss)

        asked = None if given is None else torch.cat([given[: len(shown)], given])
        self.discriminator.requires_grad_(False)
        with self.accelerator.autocast():
            seen = self.accelerator.unwrap_model(self.discriminator)(
                torch.cat([outputs.reconstruction, outputs.samples]), asked
            )
        self.discriminator.requires_grad_(True)
        error = shown_share * reconstruction_error(outputs.reconstruction, shown)
        features = shown_share * feature_distance(
            [maps[: len(shown)] for maps in real.features], [maps[: len(shown)] for maps in seen.features]
        )
        verdict = -share * seen.scores[len(shown) :].float().mean()
        loss = error + weights.feature_weight * features + weights.adversarial_weight * verdict
        terms = {"reconstruction_error": error, "discriminator": discriminator_loss, "features": features}
        if asked is not None:
            asked_share = self._share(len(asked), max(half, world_size) + self.batch_images)
            terms["cross_entropy"] = asked_share * nn.functional.cross_entropy(seen.logits.float(), asked)
            loss = loss + weights.label_weight * terms["cross_entropy"]
        self._descend(self.optimizer, self.model, loss)
        return {name: value.detach().float() for name, value in ({"loss": loss} | terms).items()}

    def _share(self, count: int, whole: int) -> float:
        """Factor on the mean over ``count`` images of this process, of ``whole`` over all.

        With it the mean over processes, which is what is made of gradients and terms, is the mean over images.
        """
        return count * float(self.accelerator.num_processes) / whole

    def _mean(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms averaged over processes, so that all see the same and stop together if it is no number."""
        if self.accelerator.num_processes == 1:
            return terms
        values = self.accelerator.reduce(torch.stack(list(terms.values())), "mean")
        return dict(zip(terms, values, strict=True))

    def _descend(self, optimizer: Any, module: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(module.parameters(), self.config.train.gradient_clip)
        optimizer.step()

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"{what} after {self.images_seen:,} images; the last good state is kept in {self.run}. "
            f"Lower --train.learning-rate (now {self.config.train.learning_rate}) and start again"
        )

    def _require_finite_weights(self) -> None:
        for name, value in self.plain_model.state_dict().items():
            if not bool(value.isfinite().all()):
                raise self._diverged(f"the weight {name} is no longer finite")

    def _learning_rate(self) -> float:
        """Warm-up, then a cosine to zero, within each phase."""
        settings = self.config.train
        phases = (
            (self.first_adversarial_epoch, settings.epochs, settings.adversarial_learning_rate),
            (self.first_deterministic_epoch, self.first_adversarial_epoch, settings.deterministic_learning_rate),
            (0, self.first_deterministic_epoch, settings.learning_rate),
        )
        first, last, peak = next(phase for phase in phases if self.epoch >= phase[0])
        start, end = (epoch * self.steps_per_epoch * settings.batch_size for epoch in (first, last))
        warm_up = min(1.0, (self.images_seen - start + settings.batch_size) / max(settings.warmup_images, 1))
        return peak * warm_up * 0.5 * (1 + math.cos(math.pi * (self.images_seen - start) / max(end - start, 1)))

    # ------------------------------------------------------------ between the phases

    def _begin_phase(self) -> None:
        """Go on from the averaged weights, for adversarial fine-tuning with the density of their latents fitted."""
        if self.is_adversarial:
            self._fit_density(self.averaged_model, count=None)
        self.plain_model.load_state_dict(self.averaged_model.state_dict())
        self.optimizer.optimizer.state.clear()

    def _freeze_encoder(self) -> None:
        model = self.plain_model
        for part in (model.encoder, model.latent, model.classifier):
            if part is not None:
                part.eval().requires_grad_(False)

    @torch.inference_mode()
    def _fit_density(self, model: SpikingVAE, count: int | None) -> None:
        if not model.latent.has_density:
            return
        images = self.train_set if count is None else self.train_set.subset(min(count, len(self.train_set)))
        model.eval()
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

    # ------------------------------------------------------------ what is written

    def _finish_epoch(self) -> dict[str, float]:
        self._require_finite_weights()
        if not self.is_adversarial or self.epoch == self.first_adversarial_epoch:
            done = self.epoch in (self.first_adversarial_epoch, self.config.train.epochs)
            self._fit_density(self.averaged_model, count=None if done else _PREVIEW_FIT)
        scores = self._validate()
        if not self.accelerator.is_main_process:
            return scores
        self._write_stats(
            {
                "epoch": self.epoch,
                "seconds": round(self.seconds),
                "train_images": len(self.train_set),
                "validation_images": len(self.validation_set),
                "validation": scores,
            }
        )
        model = self.averaged_model.eval()
        if self.epoch % self.config.train.preview_epochs == 0 or self.epoch == self.config.train.epochs:
            x = self.validation_set.images(0, _PREVIEW_COUNT).float() / 255
            reconstructions = model.reconstruct(x.to(self.accelerator.device)).cpu()
            pictures = self.run / "previews"
            pictures.mkdir(exist_ok=True)
            save_images(model.sample(64, seed=0).cpu(), pictures / f"samples-{self.epoch:04d}.png")
            pairs = torch.stack([x, reconstructions], dim=1).flatten(0, 1)  # each image beside its reconstruction
            save_images(pairs, pictures / f"reconstructions-{self.epoch:04d}.png")
        save_release(model, self.run, dataset=self.config.data.dataset, card=self._card(scores))
        return scores

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Reconstruction error and accuracy of the averaged weights on the held-out part of the training split."""
        model = self.averaged_model.eval()
        errors, right, labelled = 0.0, 0, 0
        for x, labels in _quietly(self.validation_set.batches(256), len(self.validation_set) / 256, "validate"):
            x, labels = x.to(self.accelerator.device), labels.to(self.accelerator.device)
            errors += float(reconstruction_error(model.reconstruct(x, batch_size=256), x)) * len(x)
            if model.classifier is not None:
                right += int((model.classify(x, batch_size=256).argmax(dim=1) == labels).sum())
                labelled += int((labels >= 0).sum())
        scores = {"reconstruction_error": errors / max(len(self.validation_set), 1)}
        return scores | ({"accuracy": right / labelled} if labelled else {})

    def _progress(self, steps: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """The steps of an epoch behind a bar with images per second and the loss terms."""
        settings = self.config.train
        size = settings.batch_size
        with tqdm(
            total=self.steps_per_epoch * size,
            initial=self.batches_done * size,
            desc=f"epoch {self.epoch + 1}/{settings.epochs}" + (" (adversarial)" if self.is_adversarial else ""),
            unit="image",
            mininterval=1.0,
            dynamic_ncols=True,
            **({} if self.accelerator.is_main_process else {"disable": True}),  # else as TQDM_DISABLE says
        ) as bar:
            for number, terms in enumerate(steps):
                if number % 10 == 0:
                    bar.set_postfix({name: f"{float(value):.4f}" for name, value in terms.items()}, refresh=False)
                bar.update(size)
                yield terms

    def _record(self, terms: dict[str, Tensor]) -> None:
        values = {name: float(value) for name, value in terms.items()}
        self.accelerator.log(values, step=self.images_seen)
        if self.accelerator.is_main_process:
            self._write_stats({"images_seen": self.images_seen, "learning_rate": self._learning_rate()} | values)

    def _write_stats(self, entry: dict[str, Any]) -> None:
        with (self.run / STATS_NAME).open("a", encoding="utf-8") as stats:
            stats.write(json.dumps(entry) + "\n")

    def _forget_redone(self) -> None:
        """Drop statistics of what was done after the last state was saved, since it is done again."""
        path = self.run / STATS_NAME
        if not (self.accelerator.is_main_process and path.exists()):
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = "".join(line for line in lines if self._is_done(line))
        if kept != "".join(lines):
            write_atomically(path, lambda new: new.write_text(kept, encoding="utf-8"))

    def _is_done(self, line: str) -> bool:
        try:
            entry = json.loads(line)
        except ValueError:  # a power cut left half of it
            return False
        return bool(entry.get("images_seen", 0) <= self.images_seen and entry.get("epoch", 0) <= self.epoch)

    def _card(self, scores: dict[str, float]) -> str:
        training = Training(
            train_images=len(self.train_set),
            validation_images=len(self.validation_set),
            epoch=self.epoch,
            seconds=self.seconds,
            machine=machine(),
            versions=library_versions(),
            validation=scores,
        )
        return model_card(self.config, training)

    # ------------------------------------------------------------ saved state

    def _save_state(self) -> None:
        self.saved_at = time.monotonic()
        self._require_finite_weights()
        if not self.accelerator.is_main_process:
            return
        state = {
            "model": self.plain_model.state_dict(),
            "ema": self.ema.state_dict(),
            "discriminator": self.accelerator.unwrap_model(self.discriminator).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "epoch": self.epoch,
            "batches_done": self.batches_done,
            "images_seen": self.images_seen,
            "seconds": self.seconds,
        }
        write_atomically(self.run / STATE_NAME, lambda path: torch.save(state, path))

    def _load_state(self) -> None:
        path = self.run / STATE_NAME
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.plain_model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.accelerator.unwrap_model(self.discriminator).load_state_dict(state["discriminator"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise TrainingError(f"{path} is damaged or of another model and cannot be resumed: {reason}") from error
        self.epoch, self.batches_done = state["epoch"], state["batches_done"]
        self.images_seen, self.seconds_before = state["images_seen"], state["seconds"]
        log.info("resumed %s after %d images", self.run, self.images_seen)

    def close(self) -> None:
        """Flush what the trackers hold."""
        self.accelerator.end_training()


def _anywhere(config: RunConfig) -> RunConfig:
    """The settings, wherever the data lies."""
    return replace(config, data=replace(config.data, data_root=None))


def _moving_average(share: float) -> Callable[[Any, Any, Any], None]:
    """An exponential average in which a new value gets ``share``, and more at the start, so that it forgets the start.

    After n values a new one gets at least 9 / (10 + n): by then the average's memory is a tenth of what it has seen.
    """

    def update(averages: Any, values: Any, count: Any) -> None:
        weight = max(1.0 - math.exp(-share), 9.0 / (10.0 + float(count)))
        if torch.is_floating_point(averages[0]):
            torch._foreach_lerp_(averages, values, weight)
        else:
            torch._foreach_copy_(averages, values)

    return update


def _parameter_groups(model: SpikingVAE, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; norms, biases and time constants do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


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
    if config.train.adversarial_epochs and model.latent != "potential":
        raise ValueError("adversarial fine-tuning needs latent='potential'; set --train.adversarial-share 0")


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _quietly(batches: Iterator[Any], total: float, what: str) -> Iterator[Any]:
    """A bar only for what takes longer than two seconds."""
    yield from tqdm(batches, total=math.ceil(total), desc=what, delay=2.0, leave=False)
