"""An encoder with what reads it, as a graph of the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikevae import __version__
from spikevae.files import write_atomically
from spikevae.hub.export.onnx import Part
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.neurons import ParametricSpikingLayer, SpikingLayer
from spikevae.nn.stage import SpikingStage
from spikevae.nn.vae import SpikingVAE
from spikevae.ops import THRESHOLD

if TYPE_CHECKING:
    import nir

TIME_STEP = 1e-4  # seconds; what simulators that read NIR take a step for
_GATES = "none"
_FOLDED = "folded: each channel's gate is its mean over time steps and over {} calibration images"


class FixedGate(nn.Module):
    """A gate for each channel that neither image nor time step changes.

    Args:
        gate: [C] factors.
    """

    gate: Tensor

    def __init__(self, gate: Float[Tensor, " C"]) -> None:
        super().__init__()
        self.register_buffer("gate", gate)

    def forward(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N C H W"]:
        """``x_seq`` with every channel multiplied by its gate."""
        return x_seq * self.gate[:, None, None]


@torch.no_grad()
def fold_gates(model: SpikingVAE, images: Float[Tensor, "N C H W"]) -> SpikingVAE:
    """A copy of a model whose encoder's gates are fixed: each channel's mean over time steps and images.

    Stages are calibrated one after the other, each behind those that are fixed already. The copy is an approximation:
    TCJA's gates depend on the image and the time step.
    """
    fixed = copy.deepcopy(model)
    for stage in fixed.encoder.stages:
        attention = stage.attention
        if not isinstance(attention, TemporalChannelJointAttention):
            continue
        seen: list[Tensor] = []
        hook = attention.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        fixed.features(images)
        hook.remove()
        stage.attention = FixedGate(attention.gate(seen[0]).mean(dim=(0, 1)))
    return fixed


def export_nir(model: SpikingVAE, part: Part, path: Path, *, calibration: int = 0) -> list[str]:
    """Write the encoder with its latent synapses, or with its classifier, as a NIR file; return what to say of it.

    The graph takes the centred image (2 x - 1, padded with -1 to the network's size) at each of T steps. The mean of
    its output over these steps is the latent potentials [T*L] (a spike where one is above 0), or the logits [K].
    Batch norm is folded into the convolutions, and each leak into the weights in front of it.

    Args:
        model: on the CPU, in eval mode.
        part: what follows the encoder; the decoder is refused.
        path: the file.
        calibration: of a model with TCJA, the number of its own samples (of seed 0) that its gates are averaged over,
            see :func:`fold_gates`; 0 refuses such a model.

    Raises:
        ImportError: if the packages of ``spikevae[export]`` are not there.
        ValueError: if a module has no counterpart in NIR.
    """
    try:
        import nir
    except ImportError:
        raise ImportError("nir is missing: pip install 'spikevae[export]'") from None
    _head(model, part)  # before any work
    gates = _GATES
    if calibration and _has_gates(model):
        model = fold_gates(model, model.sample(calibration, seed=0))
        gates = _FOLDED.format(calibration)
    graph = nir_graph(model, part)
    graph.metadata = {
        "spikevae": __version__,
        "part": part,
        "time_steps": str(model.config.time_steps),
        "time_step_seconds": str(TIME_STEP),
        "input": "2 x - 1 of an image in [0, 1], padded with -1, shown at every time step",
        "read_out": "mean of the output over the time steps",
        "class_names": ", ".join(model.config.class_names),
        "gates": gates,
    }
    write_atomically(path, lambda temporary: nir.write(temporary, graph))
    said = [f"show the centred image for {model.config.time_steps} steps and take the mean of the output"]
    return said if gates == _GATES else [*said, f"an approximation: gates are {gates}"]


def nir_graph(model: SpikingVAE, part: Part) -> nir.NIRGraph:
    """The graph of :func:`export_nir`, of a model without gates or with fixed ones.

    Raises:
        ValueError: if a module has no counterpart in NIR.
    """
    import nir

    head = _head(model, part)
    side = model.config.padded_size
    channels = model.config.image_channels
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([channels, side, side])})}
    gate = torch.ones(channels)
    for number, stage in enumerate(model.encoder.stages):
        assert isinstance(stage, SpikingStage)
        name = f"encoder.stages.{number}"
        leak = _leak(stage.neurons, f"{name}.neurons")
        weight, bias = _folded(stage, gate, leak)
        assert isinstance(stage.synapses, nn.Conv2d)
        stride = stage.synapses.stride
        nodes[f"stage_{number}_synapses"] = nir.Conv2d(
            (side, side), _array(weight), stride, (1, 1), (1, 1), 1, _array(bias)
        )
        side = -(-side // stride[0])
        nodes[f"stage_{number}_neurons"] = _neurons((len(bias), side, side), leak)
        gate = _gate(stage.attention, len(bias), f"{name}.attention")
    nodes["flatten"] = nir.Flatten({"input": np.array([len(gate), side, side])}, start_dim=0)
    weight = head.weight.unflatten(1, (len(gate), -1)) * gate[:, None]
    nodes["read_out"] = nir.Affine(_array(weight.flatten(1)), _array(head.bias))
    nodes["output"] = nir.Output({"output": np.array([head.out_features])})
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)))


def _has_gates(model: SpikingVAE) -> bool:
    return any(isinstance(module, TemporalChannelJointAttention) for module in model.encoder.modules())


def _head(model: SpikingVAE, part: Part) -> nn.Linear:
    """The linear layer on the encoder's firing rates."""
    if part == "decoder":
        raise ValueError(
            "decoder.stages cannot be written as NIR, which has no pixel shuffle and no transposed convolution; "
            "use --format onnx, or export the encoder or the classifier"
        )
    if part == "classifier":
        if model.classifier is None:
            raise ValueError("this model was trained without labels, so it has no classifier; export its encoder")
        return model.classifier.linear
    synapses = model.latent.synapses
    if not (model.latent.has_density and isinstance(synapses, nn.Linear)):
        raise ValueError(
            f"latent ({type(model.latent).__name__}) cannot be written as NIR: its spikes are no linear function of "
            "the last stage's firing rates; use --format onnx, or export the classifier"
        )
    return synapses


def _leak(neurons: nn.Module, name: str) -> float:
    if type(neurons) not in (SpikingLayer, ParametricSpikingLayer) or not neurons.is_standard:
        raise ValueError(f"{name} ({type(neurons).__name__}) cannot be written as NIR; use neuron=lif or neuron=plif")
    return float(neurons.leak)  # type: ignore[arg-type]


def _gate(attention: nn.Module, channels: int, name: str) -> Tensor:
    """[C] factors of the spikes behind a stage."""
    if isinstance(attention, FixedGate):
        return attention.gate
    if isinstance(attention, nn.Identity):
        return torch.ones(channels)
    raise ValueError(
        f"{name} ({type(attention).__name__}) cannot be written as NIR, which has no gate; use a model trained with "
        "--model.attention none, or fix TCJA's gates with --calibrate 256 (an approximation)"
    )


def _folded(stage: SpikingStage, gate: Tensor, leak: float) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a stage, with the gates of its inputs, its batch norm and its leak in them."""
    norm = stage.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    assert isinstance(stage.synapses, nn.Conv2d)
    weight = stage.synapses.weight.double() * gate.double()[:, None, None] * scale[:, None, None, None]
    return leak * weight, leak * (norm.bias.double() - norm.running_mean.double() * scale)


def _neurons(shape: tuple[int, ...], leak: float) -> Any:
    """Neurons whose input is multiplied by the leak already: r = tau in steps."""
    import nir

    ones = np.ones(shape, dtype=np.float32)
    return nir.LIF(
        tau=ones * np.float32(TIME_STEP / leak),
        r=ones * np.float32(1 / leak),
        v_leak=0 * ones,
        v_threshold=ones * np.float32(THRESHOLD),
        v_reset=0 * ones,
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()
