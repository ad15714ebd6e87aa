"""Parts of a model as graphs of the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from spikevae import __version__
from spikevae.files import write_atomically
from spikevae.hub.export.gates import fold_decoder_gates, fold_gates
from spikevae.hub.export.nir_decoder import decoder_metadata, decoder_nodes
from spikevae.hub.export.nir_nodes import TIME_STEP, array, chain, convolution, gate_of, leak_of, neurons, norm_of
from spikevae.hub.export.onnx import Part
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.stage import SpikingStage
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import check_memory

if TYPE_CHECKING:
    import nir

_GATES = "none"
_FOLDED = "folded: each channel's gate is its mean over time steps and over {} calibration images"
_ENCODER_METADATA = {
    "input": "2 x - 1 of an image in [0, 1], padded with -1, shown at every time step",
    "read_out": "mean of the output over the time steps",
}
_BOTH_VIEWS = "class probabilities are the mean of two softmaxes: of the logits of an image and of its mirror image"


def export_nir(model: SpikingVAE, part: Part, path: Path, *, calibration: int = 0) -> list[str]:
    """Write the encoder with its latent synapses or its classifier, or the decoder, as a NIR file.

    The encoder's graph takes the centred image (2 x - 1, padded with -1 to the network's size) at each of T steps. The
    mean of its output over these steps is the latent potentials (a spike where one is above 0) or the logits [K].
    Potentials are [T*L], of a grid of latent spikes maps [T*C, S, S]. What the decoder's graph takes and gives is in
    :func:`decoder_metadata`. Batch norm is folded into the convolutions, and each leak into the weights in front of it.

    Args:
        model: on the CPU, in eval mode.
        part: what to write.
        path: the file.
        calibration: of a model with TCJA, the number of its own samples (of seed 0) that its gates are averaged over,
            see :func:`fold_gates`; 0 refuses such a model. For a part without gates it changes nothing.

    Returns:
        What to say of the file.

    Raises:
        ImportError: if the packages of ``spikevae[export]`` are not there.
        ValueError: if a module has no counterpart in NIR, or so many samples do not fit the memory.
    """
    try:
        import nir
    except ImportError:
        raise ImportError("nir is missing: pip install 'spikevae[export]'") from None
    is_decoder = part == "decoder"
    if not is_decoder:
        _head(model, part)  # before any work
    gates, has_gates = _GATES, _has_gates(model.decoder if is_decoder else model.encoder)
    if calibration and has_gates:
        _check_memory(model, calibration)
        if is_decoder:
            model = fold_decoder_gates(model, model.sample_prior(range(calibration), seed=0))
        else:
            model = fold_gates(model, model.sample(calibration, seed=0))
        gates = _FOLDED.format(calibration)
    graph = nir_graph(model, part)
    has_both_views = part == "classifier" and model.config.classify_mirrored
    graph.metadata = {
        "spikevae": __version__,
        "part": part,
        "time_steps": str(model.config.time_steps),
        "time_step_seconds": str(TIME_STEP),
        "class_names": ", ".join(model.config.class_names),
        "gates": gates,
        **(decoder_metadata(model.decoder, model.config.image_size) if is_decoder else _ENCODER_METADATA),
        **({"views": _BOTH_VIEWS} if has_both_views else {}),
    }
    write_atomically(path, lambda temporary: nir.write(temporary, graph))
    shown, taken = ("latent spikes", "weighted sum") if is_decoder else ("the centred image", "mean")
    said = [f"show {shown} for {model.config.time_steps} steps and take the {taken} of the output"]
    if has_both_views:
        said.append(_BOTH_VIEWS)
    if calibration and not has_gates:
        said.append(f"--calibrate {calibration} changed nothing: the {part} has no gates")
    return said if gates == _GATES else [*said, f"an approximation: gates are {gates}"]


def nir_graph(model: SpikingVAE, part: Part) -> nir.NIRGraph:
    """The graph of :func:`export_nir`, of a model without gates or with fixed ones.

    Raises:
        ValueError: if a module has no counterpart in NIR.
    """
    import nir

    if part == "decoder":
        return chain(decoder_nodes(model.decoder, model.config.grid_size))
    head = _head(model, part)
    side = model.config.padded_size
    channels = model.config.image_channels
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([channels, side, side])})}
    gate = torch.ones(channels)
    is_grid = isinstance(head, nn.Conv2d)
    for number, stage in enumerate(model.encoder.stages[: model.encoder.latent_stages if is_grid else None]):
        assert isinstance(stage, SpikingStage)
        assert isinstance(stage.synapses, nn.Conv2d)
        name = f"encoder.stages.{number}"
        leak = leak_of(stage.neurons, f"{name}.neurons")
        scale, shift = norm_of(stage)
        weight = stage.synapses.weight.double() * gate.double()[:, None, None] * scale[:, None, None, None]
        stride = stage.synapses.stride[0]
        nodes[f"stage_{number}_synapses"] = convolution(side, leak * weight, leak * shift, stride=stride)
        side = -(-side // stride)
        nodes[f"stage_{number}_neurons"] = neurons((len(shift), side, side), leak)
        gate = gate_of(stage.attention, len(shift), f"{name}.attention")
    if isinstance(head, nn.Conv2d):
        assert head.bias is not None
        nodes["read_out"] = convolution(side, head.weight * gate[:, None, None], head.bias)
    else:
        nodes["flatten"] = nir.Flatten({"input": np.array([len(gate), side, side])}, start_dim=0)
        weight = head.weight.unflatten(1, (len(gate), -1)) * gate[:, None]
        nodes["read_out"] = nir.Affine(array(weight.flatten(1)), array(head.bias))
    nodes["output"] = nir.Output({"output": nodes["read_out"].output_type["output"]})
    return chain(nodes)


def _has_gates(network: nn.Module) -> bool:
    return any(isinstance(module, TemporalChannelJointAttention) for module in network.modules())


def _check_memory(model: SpikingVAE, calibration: int) -> None:
    """Refuse more calibration images than fit the memory: they go through the network together."""
    config = model.config
    both_sides = 2 * 4 * config.time_steps * config.decoder_widths[-1] * config.padded_size**2  # bytes, of a layer
    check_memory(calibration * both_sides, f"--calibrate {calibration}: so many images", "some hundreds will do")


def _head(model: SpikingVAE, part: Part) -> nn.Linear | nn.Conv2d:
    """The linear layer, or the convolution, on the encoder's firing rates."""
    if part == "classifier":
        if model.classifier is None:
            raise ValueError("this model was trained without labels, so it has no classifier; export its encoder")
        return model.classifier.linear
    synapses = model.latent.synapses
    if not (model.latent.has_density and isinstance(synapses, nn.Linear | nn.Conv2d)):
        raise ValueError(
            f"latent ({type(model.latent).__name__}) cannot be written as NIR: its spikes are no linear function of "
            "the encoder's firing rates; use --format onnx, or export the classifier or the decoder"
        )
    return synapses
