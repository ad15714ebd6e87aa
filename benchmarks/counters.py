"""What other people's counters make of a model, beside ours, layer by layer: ``python -m benchmarks.counters``.

spikingjelly's ``op_counter`` comes with spikevae, NeuroBench with ``pip install 'spikevae[neurobench]'``. Every
difference from our counts is computed from what the layers see. What that leaves is printed as unexplained, and is 0.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import tyro
from torch import Tensor, nn

import spikevae
from benchmarks.counted import (
    MEMORY_PICOJOULE,
    WEIGHT_BYTES,
    Part,
    folded,
    gate_cost,
    has_shifts,
    parts,
    shift_cost,
    shifted,
)
from benchmarks.others import (
    Count,
    NeuroBench,
    Reasons,
    Seen,
    neurobench_reasons,
    op_counter_counts,
    op_counter_reasons,
    profile,
    run_neurobench,
    tensor_bytes,
)
from spikevae.config import DataConfig
from spikevae.data.sets import load_split
from spikevae.evaluation.costs import MAC_PICOJOULE
from spikevae.evaluation.energy import counting
from spikevae.hub.checkpoints import read_dataset_name
from spikevae.nn.networks import parameter_count
from spikevae.nn.vae import SpikingVAE


@dataclass
class Row:
    """One layer by every counter, of all images together."""

    ours: Count = field(default_factory=Count)
    dense: float = 0.0
    """Our column (c), of one image."""
    theirs: dict[str, Count] = field(default_factory=dict)
    reasons: dict[str, Reasons] = field(default_factory=dict)

    @property
    def unexplained(self) -> float:
        """Operations for which no reason accounts."""
        left = (self.theirs[other] - sum(self.reasons[other].values(), self.ours) for other in self.theirs)
        return sum(abs(count.mac) + abs(count.ac) for count in left)


@dataclass
class Comparison:
    """One call by every counter."""

    rows: dict[str, Row]
    """By module, in the order of the network."""
    silent: float
    """Share of neurons and time steps without a spike, by our count."""
    neurobench: NeuroBench | None


def compare(network: nn.Module, x: Tensor) -> Comparison:
    """Count one call of a network in every way. NeuroBench is left out where it is not installed."""
    modules = dict(network.named_modules())
    seen: dict[str, Seen] = {name: [] for name in modules}
    handles = [
        module.register_forward_hook(lambda _, args, out, name=name: seen[name].append((args[0], out)))
        for name, module in modules.items()
    ]
    with counting(network, images=1) as cost:
        network(x)
    for handle in handles:
        handle.remove()
    rows: dict[str, Row] = {}
    for name, layer in cost.layers.items():
        row = rows.setdefault(name.removesuffix(".squeeze").removesuffix(".time"), Row())
        row.ours += Count(layer.multiply_accumulates, layer.accumulates)
        row.dense += layer.dense
    found = op_counter_counts(network, x)
    bench = run_neurobench(network, x) if importlib.util.find_spec("neurobench") else None
    for name in found.keys() | rows.keys():
        row = rows.setdefault(name, Row())
        row.theirs["op_counter"] = found.get(name, Count())
        row.reasons["op_counter"] = op_counter_reasons(modules[name], seen[name])
        if bench is not None:
            row.theirs["NeuroBench"] = theirs = bench.counts.get(name, Count())
            row.reasons["NeuroBench"] = neurobench_reasons(modules[name], seen[name], row.ours, theirs)
    sizes = {name: seen[name][0][1].numel() for name in cost.firing_rates}
    fired = sum(sizes[name] * sum(steps) / len(steps) for name, steps in cost.firing_rates.items())
    silent = 1 - fired / sum(sizes.values()) if sizes else 0.0
    return Comparison({name: rows[name] for name in modules if name in rows}, silent, bench)


def layer_table(spiking: Comparison, plain: Comparison, images: int) -> list[str]:
    """Markdown: operations for one image by layer, why others count otherwise, and what is left unexplained."""
    others = ["op_counter", "NeuroBench"] if spiking.neurobench else ["op_counter"]
    head = ["layer", "ours", *(text for other in others for text in (other, "because of")), "unexplained"]
    head += ["(c) ours", *(f"(c) {other}" for other in others)]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, row in spiking.rows.items():
        cells = [name, _shown(row.ours, images)]
        for other in others:
            cells += [_shown(row.theirs[other], images), _reasons(row.reasons[other], images)]
        relu = plain.rows.get(name, Row())
        cells += [f"{row.unexplained + relu.unexplained:g}", _number(relu.dense)]
        cells.append(_number(relu.theirs.get("op_counter", Count()).mac / images))
        if plain.neurobench:
            cells.append(_number(plain.neurobench.dense.get(name, 0.0) / images))
        lines.append(_line(cells))
    total = sum((row.ours for row in spiking.rows.values()), Count())
    cells = ["together", _shown(total, images)]
    for other in others:
        cells += [_shown(sum((row.theirs[other] for row in spiking.rows.values()), Count()), images), ""]
    cells += ["", _number(sum(row.dense for row in plain.rows.values()))]
    cells.append(_number(sum(row.theirs["op_counter"].mac for row in plain.rows.values()) / images))
    if plain.neurobench:
        cells.append(_number(sum(plain.neurobench.dense.values()) / images))
    return [*lines, _line(cells)]


def memory_table(part: Part, plain: Comparison, images: int) -> list[str]:
    """Markdown: op_counter's energy with memory access, in microjoules for one image.

    op_counter charges an ordinary convolution for the zeros beyond its edges. Spikes lie within, so the last row, which
    leaves those zeros out of column (c) too, is the fairer one to compare with.
    """
    in_folds = _in_form(part, folded)
    folding = profile(in_folds, part.x).get_report().breakdown_pj
    gates = gate_cost(in_folds)
    ordinary = profile(part.ordinary, part.ordinary_x).get_report().breakdown_pj
    padding = sum((row.reasons["op_counter"].get("padding", Count()) for row in plain.rows.values()), Count()).mac
    ways = {
        "(a) gates multiplied, as op_counter sees it": (
            profile(part.network, part.x).get_report().breakdown_pj,
            0.0,
            0.0,
        ),
        "(a) gates multiplied, weights read for spikes alone": (folding, gates.multiplied, 0.0),
        "(b) gates folded": (folding, gates.folded, 0.0),
    }
    if has_shifts(part.network):
        in_shifts = _in_form(part, shifted)
        found = profile(in_shifts, part.x).get_report().breakdown_pj
        ways["(b) gates shifted, as op_counter sees it"] = (found, shift_cost(in_shifts), 0.0)
    ways["(c) ordinary network"] = (ordinary, 0.0, 0.0)
    ways["(c) without padding"] = (ordinary, 0.0, padding)
    lines = [_line(["", "arithmetic", "weights", "neuron states", "gates", "together"]), _line(["---"] * 6)]
    for name, (energy, extra, outside) in ways.items():
        values = [
            energy["mac_pj"] + energy["ac_pj"] - outside * MAC_PICOJOULE,
            energy["parameter_memory_pj"] - outside * WEIGHT_BYTES * MEMORY_PICOJOULE,
            energy["neuron_state_memory_pj"],
            extra,
        ]
        lines.append(_line([name, *(f"{value / 1e6 / images:,.1f}" for value in (*values, sum(values)))]))
    return lines


def _in_form(part: Part, form: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The network of a part in another form, which computes the same; nothing is counted in it yet."""
    torch.testing.assert_close(form(part.network)(part.x), part.network(part.x), rtol=1e-3, atol=1e-3)
    return form(part.network)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _shown(count: Count, images: int) -> str:
    parts = [f"{_number(value / images)} {kind}" for value, kind in ((count.mac, "MAC"), (count.ac, "AC")) if value]
    return ", ".join(parts) or "0"


def _reasons(reasons: Reasons, images: int) -> str:
    shown = []
    for name, count in reasons.items():
        value = (count.mac + count.ac) / images
        if value:
            shown.append(f"{name} {value:+,.0f}" if abs(value) >= 10 else f"{name} {value:+.2g}")
    return "; ".join(shown)


def main(models: tuple[str, ...] = ("fashion-mnist", "mnist"), images: int = 8) -> None:
    """Print the tables of docs/energy.md. The test split of the models' data set must be there.

    Args:
        models: bundled ones, or folders.
        images: that are classified, and sampled.
    """
    os.environ["SPIKEVAE_OPS"] = "reference"  # operator by operator, where others' hooks see it
    torch.set_num_threads(1)
    if not importlib.util.find_spec("neurobench"):
        print("without NeuroBench; pip install 'spikevae[neurobench]'")
    for name in models:
        model: SpikingVAE = spikevae.load(name)
        config = DataConfig(dataset=read_dataset_name(name), image_size=model.config.image_size)
        pixels = load_split(config, "test").images(0, images)
        for part in parts(model, pixels.float() / 255):
            with torch.no_grad():
                _print_part(name, part, images)


def _print_part(name: str, part: Part, images: int) -> None:
    spiking, plain = compare(part.network, part.x), compare(part.ordinary, part.ordinary_x)
    print(f"\n{name}, {part.name}: operations for one image, mean of {images}\n")
    print("\n".join(layer_table(spiking, plain, images)), end="\n\n")
    if spiking.neurobench:
        print(f"ActivationSparsity {spiking.neurobench.sparsity:.6f}; 1 less our firing rate {spiking.silent:.6f}")
        learned = 4 * parameter_count(part.network)
        print(f"Footprint {spiking.neurobench.footprint:,} bytes; of numbers that are learned {learned:,}")
    moved = [tensor_bytes(part.network, part.x), tensor_bytes(part.ordinary, part.ordinary_x)]
    shown = [f"{count / images / 1e6:.2f} MB" for count in moved]
    print(f"every tensor moved once (MemoryAccessCounter): {shown[0]}, (c) {shown[1]}")
    print(f"\n{name}, {part.name}: microjoule with memory access, one image\n")
    print("\n".join(memory_table(part, plain, images)))


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.counters")
