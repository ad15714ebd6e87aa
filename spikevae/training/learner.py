"""What learns: the networks of a run with their optimizers and their moving average, in one process or many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import accelerate
import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from spikevae.config import RunConfig
from spikevae.distributed import is_one_of_many, share_batch_norm
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.networks import Network, build_network, weights_of
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import prefers_bfloat16
from spikevae.training.discriminator import Discriminator
from spikevae.training.losses import firing_rates
from spikevae.training.optimizers import optimizers_of
from spikevae.training.pretrained import take_weights
from spikevae.training.teacher import teacher_of

_ADVERSARIAL_BETAS = (0.5, 0.99)
_DISCRIMINATOR_RATE = 2  # learning rate, times that of the decoder


class Batch(NamedTuple):
    """The images, or event frames, of a step that this process has."""

    x: Tensor  # [N, C, H, W] in [0, 1], or counts [T, N, 2, H, W]
    labels: Tensor  # [N], -1 without one; or shares of the classes [N, K]
    total: int  # images of the step, over all processes
    new_z_seq: Tensor | None = None  # latent spikes [T, N, L] of new images, in a phase that decodes some

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same with every tensor changed."""
        new_z_seq = None if self.new_z_seq is None else change(self.new_z_seq)
        return Batch(change(self.x), change(self.labels), self.total, new_z_seq)


def make_accelerator(precision: str) -> accelerate.Accelerator:
    """Connect the processes of a run, if there are several, and choose device and arithmetic."""
    AcceleratorState._reset_state()  # shared by all runs of a process; it would keep the first one's precision
    on_cpus = is_one_of_many() and not torch.cuda.is_available()  # else accelerate would not connect them
    is_half = precision == "bfloat16"
    if precision == "auto":
        asked = [prefers_bfloat16(PartialState(cpu=on_cpus).device)]
        if is_one_of_many():  # each has asked its own processor; all follow the first
            broadcast_object_list(asked)
        is_half = asked[0]
    return accelerate.Accelerator(
        cpu=on_cpus,
        mixed_precision="bf16" if is_half else "no",
        step_scheduler_with_optimizer=False,
        kwargs_handlers=[accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


class Learner:
    """The networks of a run, ready to take steps.

    Args:
        config: all settings.
        accelerator: of the processes that learn together.
        is_new: whether the run begins; otherwise its own saved state is loaded next.

    Raises:
        FileNotFoundError: if a model that the settings name is not there.
        ValueError: if such a model does not fit, the network has more weights than could be read back, or an
            adversarial phase is asked for of a latent without a density.
    """

    def __init__(self, config: RunConfig, accelerator: accelerate.Accelerator, *, is_new: bool = True) -> None:
        settings = config.train
        self.config = config
        self.accelerator = accelerator
        weights_of(config.model)  # refuses more than could be read back
        torch.manual_seed(settings.seed)
        model = build_network(config.model)
        if isinstance(model, SpikingEventVAE) and settings.adversarial_epochs:
            raise ValueError("adversarial fine-tuning is for images; set --train.adversarial-share 0")
        if isinstance(model, SpikingVAE) and settings.adversarial_epochs and not model.latent.has_density:
            raise ValueError(
                f"adversarial fine-tuning needs a latent with a density, as potential, not {config.model.latent!r}; "
                "set --train.adversarial-share 0"
            )
        start = settings.start_from if is_new else None
        self.taken_over = take_weights(model, start) if start else 0.0  # share of the weights that learn
        self.teacher = teacher_of(config.model, settings.teacher, accelerator.device) if settings.teacher else None
        self.ema = AveragedModel(
            model, multi_avg_fn=_moving_average(settings.batch_size / settings.ema_images), use_buffers=True
        ).to(accelerator.device)
        model.to(accelerator.device)
        if accelerator.num_processes > 1:
            share_batch_norm(model)
        self.model, *self.optimizers = accelerator.prepare(model, *optimizers_of(model, settings))
        self.discriminator: Any = None  # of a run with adversarial fine-tuning
        self.discriminator_optimizer: Any = None
        if isinstance(model, SpikingVAE) and settings.adversarial_epochs:
            classes = config.model.classes if model.latent.is_conditional else 0  # new images have none otherwise
            discriminator = Discriminator(config.model.image_channels, classes)
            discriminator_optimizer = torch.optim.AdamW(
                discriminator.parameters(), lr=settings.adversarial_learning_rate, betas=_ADVERSARIAL_BETAS
            )
            self.discriminator, self.discriminator_optimizer = accelerator.prepare(
                discriminator, discriminator_optimizer
            )
        self._let_record()

    @property
    def plain_model(self) -> Network:
        """The network itself, without the wrapper that shares its gradients between processes."""
        model: Network = self.accelerator.unwrap_model(self.model)
        return model

    def firing_rates(self) -> AbstractContextManager[list[Tensor]]:
        """Collects the firing rates of the layers that run meanwhile, where firing costs."""
        return firing_rates(self.plain_model) if self.config.objective.firing_rate_weight else nullcontext([])

    @property
    def generator(self) -> SpikingVAE:
        """The same, where it is known to have a decoder."""
        model = self.plain_model
        assert isinstance(model, SpikingVAE)
        return model

    @property
    def averaged_model(self) -> Network:
        """The network with the moving average of the weights: what is validated, shown and released."""
        model: Network = self.ema.module  # type: ignore[assignment]
        return model

    @property
    def plain_discriminator(self) -> Discriminator:
        """The discriminator, likewise without wrapper."""
        discriminator = self.accelerator.unwrap_model(self.discriminator)
        assert isinstance(discriminator, Discriminator)
        return discriminator

    def autocast(self) -> AbstractContextManager[Any]:
        """Convolutions inside compute as ``TrainConfig.precision`` says."""
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context

    def start_from_average(self) -> None:
        """Go on from the averaged weights with a fresh optimizer, as a new phase does."""
        self.plain_model.load_state_dict(self.averaged_model.state_dict())
        for optimizer in self.optimizers:
            optimizer.optimizer.state.clear()

    def forget_quickly(self) -> None:
        """Let the gradients' averages be short, as suits networks that learn against each other."""
        for group in self._parameter_groups():
            if "betas" in group:
                group["betas"] = _ADVERSARIAL_BETAS
            else:
                group["momentum"] = _ADVERSARIAL_BETAS[0]

    @property
    def learning_rate(self) -> float:
        """Of the model, in the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def set_learning_rate(self, rate: float) -> None:
        """Of the model; the discriminator's is twice as high."""
        for optimizer in self._all_optimizers():
            own = _DISCRIMINATOR_RATE * rate if optimizer is self.discriminator_optimizer else rate
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(own)
                else:
                    group["lr"] = own

    def forget_gradients(self) -> None:
        """Of all networks."""
        for optimizer in self._all_optimizers():
            optimizer.zero_grad()

    def descend(self, loss: Tensor) -> None:
        """One step of the model down the gradient of a loss."""
        self._descend(self.model, self.optimizers, loss)

    def descend_discriminator(self, loss: Tensor) -> None:
        """The same of the discriminator."""
        self._descend(self.discriminator, [self.discriminator_optimizer], loss)

    def _descend(self, module: nn.Module, optimizers: list[Any], loss: Tensor) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(module.parameters(), self.config.train.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()

    def share(self, count: int, total: int) -> float:
        """Factor on the mean over ``count`` images of this process, of ``total`` over all.

        With it the mean over processes, which is what is made of gradients and terms, is the mean over images.
        """
        return count * float(self.accelerator.num_processes) / total

    def mean_over_processes(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Averaged terms, so that all processes see the same and stop together if one is no number."""
        if self.accelerator.num_processes == 1:
            return terms
        values = self.accelerator.reduce(torch.stack(list(terms.values())), "mean")
        return dict(zip(terms, values, strict=True))

    def any_process(self, flag: bool) -> bool:
        """Whether a flag is up in any process."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum") > 0)

    def require_finite_weights(self) -> None:
        """Raise a FloatingPointError where a weight is no longer a number."""
        for name, value in self.plain_model.state_dict().items():
            if not bool(value.isfinite().all()):
                raise FloatingPointError(f"the weight {name} is no longer finite")

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self._let_record()

    def _let_record(self) -> None:
        """On a GPU learning rates are tensors, so that a recorded step (recorded.py) sees them change."""
        device = self.accelerator.device
        for group in self._parameter_groups():
            rate, group["capturable"] = float(group["lr"]), device.type == "cuda"
            group["lr"] = torch.tensor(rate, device=device) if device.type == "cuda" else rate

    def _parameter_groups(self) -> Iterator[dict[str, Any]]:
        for optimizer in self._all_optimizers():
            yield from optimizer.param_groups

    def _all_optimizers(self) -> Iterator[Any]:
        yield from self.optimizers
        if self.discriminator_optimizer is not None:
            yield self.discriminator_optimizer

    def _parts(self) -> dict[str, Any]:
        """What changes with a step, by its name in a saved state."""
        optimizers = dict(zip(("optimizer", "kernel_optimizer"), self.optimizers, strict=False))
        parts = {"model": self.plain_model, "ema": self.ema} | optimizers
        if self.discriminator is None:
            return parts
        return parts | {
            "discriminator": self.plain_discriminator,
            "discriminator_optimizer": self.discriminator_optimizer,
        }


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
