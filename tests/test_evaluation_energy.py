"""Operations and energy: checked by hand on small networks."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
import torch
from spikingjelly.activation_based import op_counter
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.evaluation.energy import counting, measure_costs
from spikevae.evaluation.metrics.spikes import spike_scores
from spikevae.evaluation.operations import connections_used
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.networks import parameter_count
from spikevae.nn.neurons import SpikingLayer
from spikevae.nn.vae import SpikingVAE

CONFIG = ModelConfig(
    time_steps=3,
    encoder_widths=(4, 6),
    decoder_widths=(6, 5, 4),
    temporal_kernel=3,
    channel_kernel=3,
    latent_size=7,
    prior_rank=2,
    class_names=("a", "b"),
)


def lively(config: ModelConfig) -> SpikingVAE:
    """A model without training whose neurons fire all the same."""
    model = SpikingVAE(config).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 6.0)
    return model


class TwoLayers(nn.Module):
    """3 inputs → 4 spiking neurons → 2 outputs, T = 2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4, bias=False)
        self.neurons = SpikingLayer(2.0, 2.0)
        self.second = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            # Input 1, 0, 1: currents 4, 0, 2, 4. From rest, a current of 2 reaches the threshold at once (2 / 2 = 1).
            self.first.weight.copy_(torch.tensor([[2.0, 9.0, 2.0], [0.0, 9.0, 0.0], [1.0, 9.0, 1.0], [4.0, 9.0, 0.0]]))

    def forward(self, x_seq: Tensor) -> Tensor:
        out: Tensor = self.second(self.neurons(self.first(x_seq)))
        return out


def test_two_layers_cost_what_they_cost_by_hand() -> None:
    network = TwoLayers()
    x_seq = torch.tensor([[[0.5, 0.0, 1.0]], [[0.0, 0.0, 1.0]]])  # [T=2, N=1, 3], values that are no spikes
    with counting(network, images=1) as cost:
        network(x_seq)
    # First layer: 3 inputs that are not zero, 4 connections each. Currents 3, 0, 1.5, 2 and 2, 0, 1, 0; so in step 0
    # neurons 0 and 3 fire (potentials 1.5, 0, 0.75, 1); in step 1 neuron 0 (1 again) and no other (0.875 in neuron 2).
    assert cost.layers["first"].multiply_accumulates == 12
    assert cost.layers["first"].accumulates == 0
    assert cost.firing_rates["neurons"] == [0.5, 0.25]
    assert cost.layers["second"].accumulates == 3 * 2
    assert cost.layers["second"].multiply_accumulates == 0
    assert cost.microjoule == pytest.approx((12 * 4.6 + 6 * 0.9) / 1e6)
    # As an ordinary network: 12 and 8 connections, once.
    assert cost.ann_microjoule == pytest.approx(20 * 4.6 / 1e6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 2, 5, 7)),
        (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), (2, 2, 4, 3)),
        (nn.Conv1d(3, 3, 3, padding="same"), (2, 3, 5)),
        (nn.Linear(4, 5), (6, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_connections_are_counted_one_by_one(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    for weight in layer.parameters():
        nn.init.ones_(weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    # With all weights 1, the sum of the outputs counts every pair of a spike and a weight once.
    assert connections_used(layer, x) == pytest.approx(layer(x).sum().item())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_operations_are_counted_whatever_numbers_the_weights_are(dtype: torch.dtype) -> None:
    layers = (nn.Conv1d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(2, 3, 3))
    for layer, shape in zip(layers, ((4, 2, 5), (4, 2, 5, 5), (4, 2, 5, 5)), strict=True):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        for values in (x, x.round()):
            assert connections_used(layer.to(dtype), values) == connections_used(layer.float(), values.float())


def test_a_model_of_doubles_costs_what_one_of_floats_does() -> None:
    model = lively(CONFIG)
    x = torch.rand(2, 1, 28, 28)
    floats = measure_costs(model, x, seed=0)
    doubles = measure_costs(model.double(), x, seed=0)
    assert {call: cost.to_dict() for call, cost in doubles.items()} == {
        call: cost.to_dict() for call, cost in floats.items()
    }


def test_accumulates_agree_with_spikingjelly() -> None:
    first = nn.Conv2d(2, 4, 3, padding=1, bias=False)
    network = nn.Sequential(first, nn.Flatten(), nn.Linear(4 * 36, 5, bias=False))
    nn.init.constant_(first.weight, 0.25)  # so that the second layer's input is no spikes
    x = (torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    counter = op_counter.SynOpCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([counter]):
        network(x)
    with torch.no_grad(), counting(network, images=1) as cost:
        network(x)
    assert cost.accumulates == counter.get_total()
    assert cost.multiply_accumulates > 0


def test_energy_is_reported_where_no_layer_is_known_to_spike() -> None:
    layer = nn.Linear(3, 4, bias=False)
    with counting(layer, images=1) as cost:
        layer(torch.ones(1, 3))
    rate, energy = spike_scores({"encode": cost}, cost.firing_rates, samples=1)
    assert (rate.metric, rate.value, energy.metric) == ("firing_rate", None, "encode_energy")
    assert "no layer is a BaseNode" in rate.note
    assert energy.value == cost.microjoule > 0


def test_costs_are_those_of_one_image_whatever_their_number() -> None:
    model = lively(CONFIG)
    x = torch.rand(1, 1, 28, 28)
    one, four = (measure_costs(model, x.expand(count, -1, -1, -1), seed=0)["encode"] for count in (1, 4))
    assert four.microjoule == pytest.approx(one.microjoule)
    assert four.ann_microjoule == one.ann_microjoule
    assert list(four.firing_rates) == list(one.firing_rates)
    for layer, steps in one.firing_rates.items():
        assert four.firing_rates[layer] == pytest.approx(steps, rel=1e-4)


def test_gated_spikes_are_multiplied_and_plain_ones_added() -> None:
    x = torch.rand(2, 1, 28, 28)
    plain, gated = lively(dataclasses.replace(CONFIG, attention="none")), lively(CONFIG)
    second = "encoder.stages.1.synapses"
    plain_cost, gated_cost = (measure_costs(model, x, seed=0)["encode"].layers[second] for model in (plain, gated))
    assert plain_cost.accumulates > 0
    assert plain_cost.multiply_accumulates == 0
    assert gated_cost.accumulates == 0
    assert gated_cost.multiply_accumulates > 0


class Gated(nn.Module):
    """Spikes of T = 2 steps and 2 channels, one gate for each, then a 3x3 convolution to 3 maps."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3, padding=1, bias=False)

    def forward(self, spike_seq: Tensor, gate: Tensor) -> Tensor:
        out: Tensor = self.convolution((spike_seq * gate[..., None, None]).flatten(0, 1))
        return out


def test_folding_gates_costs_what_it_costs_by_hand_and_changes_nothing() -> None:
    network = Gated()
    spike_seq = torch.zeros(2, 1, 2, 4, 4)  # [T, N, C, H, W]
    spike_seq[0, 0, 0, 0, 0] = 1  # a corner: 2x2 places of the output see it
    spike_seq[0, 0, 1, 1, 2] = 1  # inside: 3x3
    spike_seq[1, 0, 0, 3, 1] = 1  # an edge: 2x3
    gate = torch.tensor([[[0.3, 0.6]], [[0.7, 0.2]]])  # [T, N, C]
    with counting(network, images=1) as cost:
        gated = network(spike_seq, gate)
    layer = cost.layers["convolution"]
    uses = (4 + 9 + 6) * 3  # of a spike by a weight
    assert (layer.accumulates, layer.multiply_accumulates) == (0, uses)
    assert (layer.folded.accumulates, layer.folded.multiply_accumulates) == (uses, 0)
    assert layer.folded.multiplies == 2 * 2 * 3 * 9  # T x C_in x C_out x k²
    assert cost.microjoule == pytest.approx(57 * 4.6 / 1e6)
    assert cost.microjoule_folded == pytest.approx((108 * 3.7 + 57 * 0.9) / 1e6)
    # Adding up the kernels that are folded gives what the gated spikes give.
    folded = torch.stack(
        [
            nn.functional.conv2d(spike_seq[t], network.convolution.weight * gate[t, 0][:, None, None], padding=1)
            for t in (0, 1)
        ]
    )
    torch.testing.assert_close(folded.flatten(0, 1), gated)


def test_linear_layers_on_rates_take_the_cheaper_order() -> None:
    model = lively(CONFIG)
    x = torch.rand(2, 1, 28, 28)
    features = model.encoder(2 * x - 1)  # [T=3, N=2, F]; 28 pixels need no padding here
    spikes = float((features != 0).sum()) / 2
    rates = float((features.mean(0) != 0).sum()) / 2
    for name, outputs in (("latent.synapses", 3 * 7), ("classifier.linear", 2)):
        cost = measure_costs(model, x, seed=0)["encode" if name.startswith("latent") else "classify"].layers[name]
        rates_first = spikes * 0.9 + rates * outputs * 4.6
        spikes_first = spikes * outputs * 0.9 + 3 * 6 * outputs * 4.6  # T x C sums for each output, each times a gate
        assert cost.picojoule == pytest.approx(rates * outputs * 4.6)
        assert cost.folded.picojoule == pytest.approx(min(rates_first, spikes_first))
        assert cost.folded.order == ("rates first" if rates_first < spikes_first else "spikes first")


def test_layers_of_a_grid_on_rates_take_the_cheaper_order_too() -> None:
    model = lively(
        dataclasses.replace(CONFIG, latent="grid", latent_size=98, encoder_widths=(4, 6, 8), decoder_widths=(6, 5, 4))
    )
    x = torch.rand(2, 1, 28, 28)
    maps = model.encoder(2 * x - 1)  # [T=3, N=2, 6, 7, 7]
    features = model.encoder.upper(maps)
    costs = measure_costs(model, x, seed=0)
    layer, convolution = costs["encode"].layers["latent.synapses"], model.latent.get_submodule("synapses")
    assert isinstance(convolution, nn.Conv2d)
    rates = connections_used(convolution, maps.mean(0)) / 2
    rates_first = float((maps != 0).sum()) / 2 * 0.9 + rates * 4.6
    spikes_first = connections_used(convolution, maps.flatten(0, 1)) / 2 * 0.9 + 3 * convolution.weight.numel() * 3.7
    assert layer.picojoule == pytest.approx(rates * 4.6)
    assert layer.folded.picojoule == pytest.approx(min(rates_first, spikes_first))
    linear = costs["classify"].layers["classifier.linear"]
    rates_first = float((features != 0).sum()) / 2 * 0.9 + float((features.mean(0) != 0).sum()) / 2 * 2 * 4.6
    spikes_first = float((features != 0).sum()) / 2 * 2 * 0.9 + 3 * 8 * 2 * 4.6
    assert linear.folded.picojoule == pytest.approx(min(rates_first, spikes_first))


def test_without_gates_nothing_is_folded_and_a_read_out_adds_weights_alone() -> None:
    model = lively(dataclasses.replace(CONFIG, attention="none"))
    layers = measure_costs(model, torch.rand(2, 1, 28, 28), seed=0)["decode"].layers
    assert layers["decoder.read_out.convolution"].folded.order in ("sums first", "spikes first")
    assert all(layer.folded.multiplies == 0 for layer in layers.values())
    assert layers["decoder.stages.0.synapses.0"].folded.accumulates == layers["decoder.stages.0.synapses.0"].accumulates


def test_gates_that_are_powers_of_two_shift_and_multiply_nothing() -> None:
    model = lively(CONFIG)
    rounded = SpikingVAE(dataclasses.replace(CONFIG, gate="pow2")).eval()
    rounded.load_state_dict(model.state_dict())
    x, z_seq = torch.rand(2, 1, 28, 28), torch.ones(3, 2, 7)
    layers = {}
    for network in (model, rounded):
        with torch.inference_mode(), counting(network, images=2) as cost:
            network.classify(x, batch_size=2)
            network.decode(z_seq)
        layers[network] = cost.layers
    kernel = 3 * 4 * 6 * 9  # T x C_in x C_out x k²
    convolution = "encoder.stages.1.synapses"
    assert (layers[model][convolution].folded.multiplies, layers[model][convolution].folded.shifts) == (kernel, 0)
    layer = layers[rounded][convolution]
    assert (layer.folded.multiplies, layer.folded.shifts) == (0, kernel)
    assert layer.folded.picojoule == pytest.approx(0.9 * layer.folded.accumulates + 0.1 * kernel)
    assert all(layer.folded.multiplies == 0 for layer in layers[rounded].values())


@pytest.mark.parametrize(("gate", "picojoule"), [("sigmoid", 3.7 + 0.9), ("pow2", 0.1 + 0.9)])
def test_gates_on_the_currents_of_a_residual_block_are_counted_for_every_current(
    gate: Literal["sigmoid", "pow2"], picojoule: float
) -> None:
    config = ModelConfig(
        network="classifier", layers="stem2 res3/2+attention readout", image_size=8, class_names=("a", "b"), gate=gate
    )
    model = SpikingClassifier(config).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # so that neurons fire
            nn.init.constant_(module.bias, 1.0)
    with torch.no_grad(), counting(model, images=5) as cost:
        model(torch.rand(5, 1, 8, 8))
    products = cost.layers["layers.1.attention.products"]
    currents = 4 * 3 * 4 * 4  # T, C, H, W
    assert (products.multiply_accumulates, products.accumulates) == (currents, 0)
    assert products.folded.picojoule == pytest.approx(currents * picojoule)


def test_flips_are_counted_beside_a_plain_classification() -> None:
    model = lively(dataclasses.replace(CONFIG, classify_mirrored=True))
    costs = measure_costs(model, torch.rand(2, 1, 28, 28), seed=0)
    assert costs["classify_flip"].microjoule > 1.5 * costs["classify"].microjoule
    # A picture that is its own mirror image costs twice as much.
    same = torch.rand(2, 1, 28, 14)
    costs = measure_costs(model, torch.cat([same, same.flip(3)], dim=3), seed=0)
    for column in ("microjoule", "microjoule_folded"):
        assert getattr(costs["classify_flip"], column) == pytest.approx(
            2 * getattr(costs["classify"], column), rel=1e-3
        )


@pytest.mark.parametrize("read_out", ["membrane", "weighted"])
def test_a_read_out_of_whole_numbers_is_counted_once(read_out: Literal["membrane", "weighted"]) -> None:
    config = dataclasses.replace(CONFIG, time_steps=1, temporal_kernel=1, attention="none", read_out=read_out)
    model = lively(config)
    with torch.inference_mode(), counting(model, images=2) as cost:
        model.decode(torch.ones(1, 2, 7))
    convolution = cost.layers["decoder.read_out.convolution"]
    assert convolution.accumulates > 0
    assert convolution.folded.accumulates == convolution.accumulates
    operations = ("accumulates", "multiplies", "multiply_accumulates", "shifts")
    assert all(getattr(layer.folded, name) >= 0 for layer in cost.layers.values() for name in operations)


def test_the_first_layer_and_every_call_are_counted() -> None:
    model = lively(CONFIG)
    costs = measure_costs(model, torch.full((2, 1, 28, 28), 0.25), seed=0)
    assert set(costs) == {"encode", "decode", "sample", "classify"}
    # 14x14 outputs with 9 inputs each, less the border's one row and one column of padding; computed once, not T times.
    assert costs["encode"].layers["encoder.stages.0.synapses"].multiply_accumulates == 4 * (3 * 14 - 1) ** 2
    assert all(len(steps) == CONFIG.time_steps for steps in costs["encode"].firing_rates.values())
    assert costs["sample"].layers["latent.density"].multiply_accumulates == 3 * 7 * 2 + 2 * 2 + 3 * 7
    assert costs["decode"].layers["decoder.expand.filter"].multiply_accumulates == 2 * 6 * 7 * 7
    assert "classifier.linear" in costs["classify"].layers
    assert "latent.synapses" not in costs["classify"].layers


def test_nothing_is_left_behind_on_the_network() -> None:
    model = lively(CONFIG)
    measure_costs(model, torch.rand(1, 1, 28, 28), seed=0)
    assert not any(module._forward_hooks for module in model.modules())
    assert parameter_count(nn.Linear(3, 4)) == 16
