"""How far each layer is from what the machine allows: the rate of its matrix products, or of copying memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.measure import Meter, medians
from spikevae.nn.stage import SpikingStage
from spikevae.ops import norm_fire_gate

_CONNECTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Part:
    """A layer of a network on its own, with what it gets in the whole one."""

    name: str
    call: Callable[[], object]
    calls: int
    """How often the network runs it."""
    operations: float
    """Multiplications and additions of a call if every input is multiplied, in all passes."""
    bytes: float
    """To be moved by a call at the least: each tensor is read or written once where a pass needs it."""


@dataclass
class _Seen:
    """What a module got and gave at its first call."""

    x: Tensor
    output: Tensor
    gets_gradient: bool
    calls: int = 1


def parts(model: nn.Module, work: Callable[[], object], *, batch: int, is_training: bool, bfloat16: bool) -> list[Part]:
    """Synapses of each stage, its norm with neurons and gates, and what is connected outside of stages.

    Args:
        model: ours.
        work: runs it, on ``batch`` images.
        batch: N.
        is_training: whether that is a step of training, with gradients.
        bfloat16: whether it autocasts.
    """
    stages = {name: module for name, module in model.named_modules() if isinstance(module, SpikingStage)}
    inner = {id(module) for stage in stages.values() for module in stage.modules()}
    watched = {f"{name}.synapses": stage.synapses for name, stage in stages.items()} | {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _CONNECTED) and id(module) not in inner
    }
    found = []
    for name, seen in _watch(watched, work).items():
        module = watched[name]
        arrays = 2 * seen.output.numel() + (1 + seen.gets_gradient) * seen.x.numel() if is_training else 0
        moved = seen.x.numel() + seen.output.numel() + arrays
        weights = sum(weight.numel() for weight in module.parameters())
        found.append(
            Part(
                name,
                _passes(module, module.parameters(), seen.x, is_training, bfloat16, seen.gets_gradient),
                seen.calls,
                2.0 * _connections(module, seen) * (2 + seen.gets_gradient if is_training else 1),
                (moved + weights * (3 if is_training else 1)) * _size(seen.x, bfloat16),
            )
        )
        of_stage = name.removesuffix(".synapses")
        if of_stage in stages:
            stage, x = stages[of_stage], seen.output
            learned = [weight for key, weight in stage.named_parameters() if not key.startswith("synapses")]
            fired = stage.time_steps * x[0].numel() * batch if len(x) == batch else x.numel()
            moved = x.numel() + fired + (2 * x.numel() + fired if is_training else 0)
            found.append(
                Part(
                    f"{of_stage}: norm, neurons, gates",
                    _passes(_neurons(stage, batch), learned, x, is_training, bfloat16, True),
                    seen.calls,
                    0.0,
                    moved * _size(x, bfloat16),
                )
            )
    return found


def measured(meter: Meter, found: Iterable[Part], matrix_rate: float, copy_rate: float) -> list[dict[str, float | str]]:
    """Seconds of each part in one run of the network, the least that the machine allows, and what sets that."""
    lines: list[dict[str, float | str]] = []
    for part in found:
        seconds = part.calls * medians(meter.seconds({part.name: part.call}))[part.name]
        arithmetic, memory = part.calls * part.operations / matrix_rate, part.calls * part.bytes / copy_rate
        lines.append(
            {
                "part": part.name,
                "seconds": seconds,
                "operations": part.calls * part.operations,
                "bytes": part.calls * part.bytes,
                "roof_seconds": max(arithmetic, memory),
                "roof": "arithmetic" if arithmetic > memory else "memory",
            }
        )
    return lines


def _watch(modules: dict[str, nn.Module], work: Callable[[], object]) -> dict[str, _Seen]:
    found: dict[str, _Seen] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if name in found:
                found[name].calls += 1
            else:
                x = inputs[0]
                found[name] = _Seen(x.detach().clone(), output.detach().clone(), gets_gradient=x.requires_grad)

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        work()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _passes(
    call: Callable[[Tensor], Tensor],
    parameters: Iterable[nn.Parameter],
    x: Tensor,
    is_training: bool,
    bfloat16: bool,
    gets_gradient: bool,
) -> Callable[[], object]:
    """One pass forward, and in training one back."""
    learned = [weight for weight in parameters if weight.requires_grad]

    def forward() -> Tensor:
        with torch.inference_mode():
            return call(x)

    def both() -> object:
        given = x.clone().requires_grad_() if gets_gradient else x
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
            output = call(given)
        wanted = [*learned, given] if gets_gradient else learned
        return torch.autograd.grad(output, wanted, torch.ones_like(output))

    return both if is_training else forward


def _neurons(stage: SpikingStage, batch: int) -> Callable[[Tensor], Tensor]:
    """What a stage does behind its synapses; one input may be shown at all steps."""

    def fire(x: Tensor) -> Tensor:
        if len(x) == batch:
            shown = stage.norm(x).unsqueeze(0).expand(stage.time_steps, *x.shape)
            return norm_fire_gate(shown, nn.Identity(), stage.neurons, stage.attention)
        current_seq = stage.filter(x.unflatten(0, (stage.time_steps, -1)))
        return norm_fire_gate(current_seq, stage.norm, stage.neurons, stage.attention)

    return fire


def _connections(module: nn.Module, seen: _Seen) -> float:
    """(Input, weight) pairs of a call, zeros included."""
    (layer,) = (part for part in module.modules() if isinstance(part, _CONNECTED))
    if isinstance(layer, nn.ConvTranspose2d):
        return float(seen.x.numel() * layer.weight[0].numel())
    return float(seen.output.numel() * layer.weight[0].numel())


def _size(x: Tensor, bfloat16: bool) -> int:
    return 2 if bfloat16 else x.element_size()
