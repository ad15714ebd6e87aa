"""Other people's counters beside ours: every difference has a reason, and the networks that they count are right."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Literal

import pytest
import torch
from spikingjelly.activation_based.op_counter import ACCounter, DispatchCounterMode, MACCounter
from torch import nn

from benchmarks.counted import (
    FoldedConvolution,
    GateCost,
    Part,
    ShiftedConvolution,
    folded,
    gate_cost,
    has_shifts,
    parts,
    shift_cost,
    shifted,
)
from benchmarks.counters import compare, layer_table, memory_table
from benchmarks.others import Count, profile, run_neurobench
from spikevae.config import ModelConfig
from spikevae.nn.synapses import SpikeConv2d
from spikevae.nn.vae import SpikingVAE

T, N = 4, 3
IMAGE_LAYER = "encoder.stages.0.synapses"
Upsampling = Literal["subpixel", "transposed"]
CONFIG = ModelConfig(
    time_steps=T,
    encoder_widths=(4, 6),
    decoder_widths=(6, 5, 4),
    temporal_kernel=3,
    channel_kernel=3,
    latent_size=7,
    latent_synapses="exponential",
    prior_rank=2,
    class_names=("a", "b"),
)


@pytest.fixture(autouse=True)
def _plain_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEVAE_OPS", "reference")


def lively_parts(
    upsampling: Upsampling = "subpixel", attention: str = "tcja", gate: Literal["sigmoid", "pow2"] = "sigmoid"
) -> list[Part]:
    """Sample and classify of a model without training whose neurons fire all the same."""
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, upsampling=upsampling, attention=attention, gate=gate)
    model = SpikingVAE(config).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 9.0)
            nn.init.constant_(module.bias, 1.0)
    with torch.no_grad():
        model.decoder.expand.synapses[0].weight[0, :3] = 0.0  # type: ignore[index]
        return parts(model, torch.rand(N, 1, 28, 28))


@pytest.mark.parametrize("upsampling", ["subpixel", "transposed"])
@pytest.mark.parametrize("attention", ["tcja", "none"])
def test_every_difference_is_explained_to_the_last_operation(upsampling: Upsampling, attention: str) -> None:
    for part in lively_parts(upsampling, attention):
        for network, x in ((part.network, part.x), (part.ordinary, part.ordinary_x)):
            comparison = compare(network, x)
            assert sum(row.ours.mac + row.ours.ac for row in comparison.rows.values()) > 0
            assert [name for name, row in comparison.rows.items() if row.unexplained] == []
            left_out: list[type[nn.Module]] = [nn.BatchNorm2d]
            counters = MACCounter(extra_ignore_modules=left_out), ACCounter(extra_ignore_modules=left_out)
            with DispatchCounterMode([*counters]):
                network(x)
            theirs = sum((row.theirs["op_counter"] for row in comparison.rows.values()), Count())
            assert [theirs.mac, theirs.ac] == [counter.get_total() for counter in counters]


def test_what_a_reason_leaves_out_is_shown_as_unexplained() -> None:
    part = lively_parts()[0]
    comparison = compare(part.network, part.x)
    row = comparison.rows["decoder.stages.0.synapses.0"]
    zeros = row.reasons["op_counter"].pop("zeros")
    assert row.unexplained == zeros.mac > 0
    line = next(
        line
        for line in layer_table(comparison, compare(part.ordinary, part.ordinary_x), N)
        if "stages.0.synapses" in line
    )
    assert f"| {zeros.mac:g} |" in line


def test_the_ordinary_network_has_the_layers_of_our_column_c() -> None:
    for part in lively_parts():
        spiking, plain = (
            compare(network, x) for network, x in ((part.network, part.x), (part.ordinary, part.ordinary_x))
        )
        for name, row in plain.rows.items():
            padding = row.reasons["op_counter"].get("padding")
            assert row.dense == spiking.rows[name].dense
            assert row.theirs["op_counter"].mac == N * row.dense + (padding.mac if padding else 0)
        assert not any(type(module).__name__.endswith("SpikingLayer") for module in part.ordinary.modules())


@pytest.mark.parametrize(("upsampling", "kernels"), [("subpixel", 6 * 20 + 5 * 16), ("transposed", 6 * 5 + 5 * 4)])
def test_folded_convolutions_compute_the_same_and_their_gates_are_counted(upsampling: Upsampling, kernels: int) -> None:
    sample, classify = lively_parts(upsampling)
    for part, pairs, channels in ((sample, kernels, 6 + 5), (classify, 4 * 6, 4)):  # the image has no gates
        network = folded(part.network)
        torch.testing.assert_close(network(part.x), part.network(part.x), rtol=1e-4, atol=1e-5)
        rows = compare(part.network, part.x).rows
        uses = sum(row.ours.mac for name, row in rows.items() if "synapses" in name and name != IMAGE_LAYER)
        cost, read = gate_cost(network), 4 * 24.96
        gates = T * N * channels * read
        assert cost.multiplied == pytest.approx(gates + 3.7 * uses)
        assert cost.folded == pytest.approx(gates + T * N * 9 * pairs * (3.7 + 2 * read))


def test_plain_spikes_have_no_gate_to_fold(generator: torch.Generator) -> None:
    layer = FoldedConvolution(SpikeConv2d(2, 3))
    spikes = torch.rand(T * N, 2, 5, 5, generator=generator).round()
    torch.testing.assert_close(layer(spikes), layer.layer(spikes))
    assert gate_cost(layer) == GateCost(folded=0.0, multiplied=0.0)
    layer(0.5 * spikes)
    assert gate_cost(layer).folded > 0


@pytest.mark.parametrize("upsampling", ["subpixel", "transposed"])
def test_sums_over_plain_spikes_are_shifted_where_gates_are_powers_of_two(upsampling: Upsampling) -> None:
    for part in lively_parts(upsampling, gate="pow2"):
        assert has_shifts(part.network)
        network = shifted(part.network)
        torch.testing.assert_close(network(part.x), part.network(part.x), rtol=1e-4, atol=1e-5)
        layers = [module for module in network.modules() if isinstance(module, ShiftedConvolution) and module.gates]
        assert layers
        network = shifted(part.network)
        reads = [
            profile(form, part.x).get_report().breakdown_pj["parameter_memory_pj"]
            for form in (network, folded(part.network))
        ]
        assert reads[0] == pytest.approx(reads[1])  # a weight for each use of a spike, and none for a silent input
        assert shift_cost(network) > 0


def test_every_power_is_one_shift_and_one_sum(generator: torch.Generator) -> None:
    layer = ShiftedConvolution(SpikeConv2d(2, 3))
    spikes = torch.ones(2, 2, 5, 5)
    gates = torch.tensor([[0.5, 0.25], [0.25, 0.25]])  # two powers in the first row, one in the second
    gated = spikes * gates[..., None, None]
    torch.testing.assert_close(layer(gated), layer.layer(gated))
    assert (layer.gates, layer.shifts, layer.additions) == (4, 3 * 75, 75)
    assert shift_cost(layer) == pytest.approx(4 * 4 * 24.96 + 225 * 0.1 + 75 * (0.9 + 8 * 24.96))
    layer = ShiftedConvolution(SpikeConv2d(2, 3))
    torch.testing.assert_close(layer(spikes), layer.layer(spikes))
    assert shift_cost(layer) == 0.0
    with pytest.raises(ValueError, match="no powers of two"):
        layer(0.3 * spikes)


def test_states_are_read_and_written_at_every_step() -> None:
    sample, classify = lively_parts()
    for part, neurons in ((sample, 6 * 49 + 5 * 14**2 + 4 * 28**2), (classify, 4 * 14**2 + 6 * 7**2)):
        counts = profile(part.network, part.x).get_report().counts
        assert counts["neuron_state_read_bytes"] == counts["neuron_state_write_bytes"] == 4 * T * N * neurons
        assert profile(part.ordinary, part.ordinary_x).get_report().counts["neuron_state_read_bytes"] == 0


def test_energy_with_memory_access_is_that_of_op_counter_and_leaves_padding_out_last() -> None:
    part = lively_parts(gate="pow2")[1]
    plain = compare(part.ordinary, part.ordinary_x)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in memory_table(part, plain, 1)[2:]]
    together = {name: float(cells[-1].replace(",", "")) for name, *cells in rows}
    for name, network, x in (
        ("(a) gates multiplied, as op_counter sees it", part.network, part.x),
        ("(c) ordinary network", part.ordinary, part.ordinary_x),
    ):
        assert together[name] == pytest.approx(profile(network, x).get_report().energy_total_pj / 1e6, abs=0.06)
    in_shifts = shifted(part.network)
    energy = profile(in_shifts, part.x).get_report().energy_total_pj + shift_cost(in_shifts)
    assert together["(b) gates shifted, as op_counter sees it"] == pytest.approx(energy / 1e6, abs=0.06)
    inside = N * sum(row.dense for row in plain.rows.values()) * (4.6 + 4 * 24.96) / 1e6
    assert together["(c) without padding"] == pytest.approx(inside, rel=0.01, abs=0.06)  # biases are read as well


@pytest.mark.skipif(not importlib.util.find_spec("neurobench"), reason="needs spikevae[neurobench]")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_neurobench_agrees_in_sparsity_and_sees_no_transposed_convolution() -> None:
    part = lively_parts("transposed")[0]
    comparison = compare(part.network, part.x)
    bench = run_neurobench(part.network, part.x)
    assert bench.sparsity == pytest.approx(comparison.silent, abs=1e-6)
    assert 0.05 < bench.sparsity < 0.95
    assert "decoder.stages.0.synapses" not in bench.counts
    assert comparison.rows["decoder.stages.0.synapses"].reasons["NeuroBench"].keys() == {"no layer to it"}
    assert comparison.rows["decoder.expand.synapses.0"].reasons["NeuroBench"]["weights of 0"].ac < 0
    assert bench.dense["decoder.expand.synapses.0"] == N * T * 7 * 6 * 49
    assert bench.footprint == sum(tensor.nbytes for tensor in part.network.state_dict().values())
