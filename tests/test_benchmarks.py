"""The benchmarks compare like with like, and their arithmetic is right. Nothing here depends on how fast it runs."""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from benchmarks import gpu
from benchmarks.apart import forget_largest_size, largest_size
from benchmarks.cases import CASES
from benchmarks.gpu_page import gpu_chapter
from benchmarks.measure import Meter, Row, Unit, ratio, straight_line
from benchmarks.reference import ReferenceVAE, with_weights_of
from benchmarks.report import page, read_results, write_page
from benchmarks.roofline import Part, measured, parts
from benchmarks.scale import celeba_cost, celeba_on_gpus, evaluating, reading_data
from benchmarks.show import show
from benchmarks.subjects import Network, build, quick_sizes, sampling, training_step
from benchmarks.visitors import Report, watched
from spikevae.config import ModelConfig
from spikevae.evaluation.energy import counting
from spikevae.nn.stage import SpikingStage
from spikevae.nn.synapses import SpikeConv2d, SpikeConvTranspose2d
from spikevae.nn.vae import SpikingVAE
from spikevae.presets import PRESETS

CPU = torch.device("cpu")
T, N = 5, 3
TINY = dataclasses.replace(
    PRESETS["paper"].model,
    image_size=16,
    time_steps=T,
    encoder_widths=(6, 8, 10),
    decoder_widths=(10, 8, 6, 6),
    latent_size=7,
    latent_choices=4,
    tau=1.8,
)


def lively_model(attention: str) -> SpikingVAE:
    """A tiny network of the ``paper`` kind, in eval mode, with statistics of its own activity: no neuron is silent."""
    model = SpikingVAE(dataclasses.replace(TINY, attention=attention))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.8, 1.2)
            nn.init.uniform_(layer.bias, 0.2, 0.8)
    update_bn([images() for _ in range(4)], model)
    return model.eval()


def images() -> Tensor:
    return torch.rand(N, 1, 16, 16)


@pytest.mark.parametrize("attention", ["tcja", "none"])
def test_the_reference_computes_what_our_network_computes(attention: str) -> None:
    model = lively_model(attention)
    reference = with_weights_of(model)
    x = images()
    with torch.no_grad():
        ours = model(x, torch.Generator().manual_seed(1))
        plain = reference(x, torch.Generator().manual_seed(1))
    assert ours.reconstruction.std(dim=0).mean() > 1e-3, "all images are alike: nothing was compared"
    torch.testing.assert_close(plain.reconstruction, ours.reconstruction, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.logits, ours.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.divergence, ours.divergence, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attention", ["tcja", "none"])
def test_the_reference_samples_the_images_that_our_network_samples(attention: str) -> None:
    model = lively_model(attention)
    rngs = [np.random.default_rng(seed) for seed in range(N)]
    with torch.no_grad():
        z_seq = model.latent.sample_prior(rngs)
        expected = model.decode(z_seq)
    assert 0.05 < z_seq.mean() < 0.95
    rngs = [np.random.default_rng(seed) for seed in range(N)]
    noise = torch.from_numpy(np.stack([rng.random((T, TINY.latent_size), dtype=np.float32) for rng in rngs]))
    torch.testing.assert_close(with_weights_of(model).sample(noise), expected, rtol=1e-4, atol=1e-5)


def test_the_spikes_of_the_reference_are_ours() -> None:
    model = lively_model("tcja")
    reference = with_weights_of(model)
    x = images()
    with torch.no_grad():
        ours = model.encoder(2 * x - 1)  # [T, N, F]
        plain = reference.encoder((2 * x - 1).unsqueeze(-1).repeat(1, 1, 1, 1, T)).flatten(1, 3)  # [N, F, T]
    assert 0.05 < (ours > 0).float().mean() < 0.95
    torch.testing.assert_close(plain.permute(2, 0, 1), ours, rtol=1e-4, atol=1e-5)


def test_the_reference_has_as_many_parameters_as_our_network() -> None:
    for attention in ("tcja", "none"):
        config = dataclasses.replace(TINY, attention=attention)
        counts = {sum(p.numel() for p in network(config).parameters()) for network in (SpikingVAE, ReferenceVAE)}
        assert len(counts) == 1


def test_the_gradient_of_the_reference_reaches_every_parameter() -> None:
    reference = with_weights_of(lively_model("tcja")).train()
    outputs = reference(images(), torch.Generator().manual_seed(0))
    (outputs.reconstruction.sum() + outputs.logits.sum() + outputs.divergence).backward()
    assert all(parameter.grad is not None for parameter in reference.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [({"neuron": "plif"}, "paper"), ({"attention": "tla"}, "paper"), ({"image_size": 15}, "padding")],
)
def test_the_reference_refuses_what_it_cannot_be(change: dict[str, object], message: str) -> None:
    config: ModelConfig = dataclasses.replace(TINY, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        ReferenceVAE(config)


# ---------------------------------------------------------------- how figures are taken


@pytest.mark.parametrize(
    "case", ["sampling-paper", "training-paper", "sampling-released", "one-image", "layer", "relu"]
)
def test_a_case_measures_every_side_of_every_row(case: str) -> None:
    rows = CASES[case](Meter(CPU, is_quick=True))
    assert rows
    for row in rows:
        assert row.case == case
        assert row.figure > 0
        assert all(value > 0 for value in row.details.get("seconds", {}).values())
        json.dumps(dataclasses.asdict(row))


@pytest.mark.parametrize("network", ["ours", "reference", "relu"])
def test_a_training_step_moves_every_side(network: Network) -> None:
    config = quick_sizes().paper
    model = build(network, config, CPU)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    training_step(model, config, N, CPU, "float32")()
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


def test_neurons_of_a_fresh_network_fire_in_sampling_as_those_that_have_learned() -> None:
    model = build("ours", PRESETS["paper"].model, CPU)
    with counting(model, images=4) as cost:
        sampling(model, 4)()
    used = {name: rates for name, rates in cost.firing_rates.items() if "encoder" not in name}
    assert len(used) > 5
    for rates in used.values():
        assert 0.08 < mean(rates) < 0.2  # of the trained one, 0.086 to 0.163


def test_no_synapse_of_the_network_with_relu_passes_over_zeros() -> None:
    for config in (quick_sizes().paper, quick_sizes().small):
        kinds = {type(layer) for layer in build("relu", config, CPU).modules()}
        assert not kinds & {SpikeConv2d, SpikeConvTranspose2d}


def test_no_neuron_is_left_in_the_network_with_relu() -> None:
    for config in (quick_sizes().paper, quick_sizes().small):
        neurons = sum(isinstance(layer, neuron.BaseNode) for layer in build("ours", config, CPU).modules())
        twin = list(build("relu", config, CPU).modules())
        assert not any(isinstance(layer, neuron.BaseNode) for layer in twin)
        assert sum(isinstance(layer, nn.ReLU) for layer in twin) == neurons


def test_sides_take_turns_and_every_other_round_goes_backwards() -> None:
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    figures = Meter(CPU, runs=3).rounds({name: lambda n=name: side(n) for name in "ab"})  # type: ignore[misc]
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert figures == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}


def test_a_ratio_is_taken_within_each_round_so_that_a_slow_round_does_not_count() -> None:
    assert ratio([10.0, 100.0, 10.0], [5.0, 50.0, 5.0]) == 2.0


def test_a_straight_line_is_found_and_a_bend_is_measured() -> None:
    steps = [4, 8, 16, 32]
    intercept, slope, deviation = straight_line(steps, [3 + 2 * t for t in steps])
    assert (intercept, slope) == pytest.approx((3, 2))
    assert deviation == pytest.approx(0, abs=1e-9)
    assert straight_line(steps, [float(t**2) for t in steps])[2] > 0.3


def test_peak_memory_sees_what_was_held_for_a_moment() -> None:
    forget_largest_size(CPU)
    before = largest_size(CPU)
    size = 64 * 2**20
    with mmap.mmap(-1, size) as pages:  # new pages: a tensor may lie in memory that an earlier test has freed
        for start in range(0, size, mmap.PAGESIZE):
            pages[start] = 1
    assert largest_size(CPU) - before > 48 * 2**20


# ---------------------------------------------------------------- the page


def made_row(unit: Unit = "times faster", figure: float = 6.0, **others: Any) -> Row:
    return Row("made", "what was done", "the other", figure, unit, **others)


@pytest.mark.parametrize(
    ("figure", "unit", "outcome"),
    [
        (8.0, "times faster", "stretch reached"),
        (5.0, "times faster", "reached"),
        (4.99, "times faster", "not reached"),
        (8.01, "times", "not reached"),
        (8.0, "times", "reached"),
        (5.0, "seconds", "stretch reached"),
    ],
)
def test_a_bar_is_reached_from_its_own_side(figure: float, unit: Unit, outcome: str) -> None:
    bar, stretch = (5.0, 8.0) if unit == "times faster" else (8.0, 5.0)
    assert made_row(unit, figure, bar=bar, stretch=stretch).outcome == outcome
    assert made_row(unit, figure).outcome == ""


@pytest.mark.parametrize(
    ("figure", "unit", "text"),
    [
        (0.00482, "seconds", "4.82 ms"),
        (0.000026, "seconds", "26.0 µs"),
        (1.5, "seconds", "1.50 s"),
        (0.0312, "share", "3.1%"),
        (12.345, "times faster", "12.3 times faster"),
        (1234.5, "images/s", "1,234 images/s"),
    ],
)
def test_figures_are_shown_in_the_unit_that_suits_them(figure: float, unit: Unit, text: str) -> None:
    assert show(figure, unit) == text


def test_the_cost_of_celeba_follows_from_the_measured_speed() -> None:
    details = {"batch": 100, "parameters": 250_000_000}
    text = celeba_cost(made_row("images/s", 162.770, details=details), epochs=36)
    assert "10.0 hours on 1, 1.25 hours on 8, 0.16 hours on 64" in text
    assert "1,000 MB" in text
    assert "3.26 GB/s" in text  # 2 GB in 100 / 162.77 s


def test_the_cost_of_celeba_on_gpus_follows_from_the_operations_and_from_what_is_assumed() -> None:
    details = {"parameters": 2_500_000, "operations_per_image": 1.56e9}
    text = celeba_on_gpus(made_row("images/s", 50.0, details=details), epochs=60)
    assert "0.78 billion multiply-accumulates" in text
    assert "10,000 images/s" in text  # 5 % of 312 TFLOP/s
    assert "16.3 minutes on 1, 2.03 minutes on 8, 0.25 minutes on 64" in text  # 60 x 162,770 images
    assert "A step lasts 25.6 ms; to exchange 10.0 MB of gradients in a ring takes 800 µs" in text


def test_large_data_wants_cores_and_bandwidth() -> None:
    text = reading_data(10_000.0, 1000.0)
    assert "| 162,770 | 1,628 MB | 2.71 min | 10.0 cores, 100 MB/s, 16.3 s | 80.0 cores, 800 MB/s, 2.03 s |" in text
    assert "| 10,000,000 | 100,000 MB | 167 min |" in text


def test_evaluating_takes_what_the_operations_take() -> None:
    row = made_row("images/s", 500.0, details={"operations_per_image": 1.56e9})
    text = evaluating(row)
    assert "take 5.00 s on 1 GPU as above and 625 ms on 8" in text  # 50,000 x 1.56 GFLOP at 15.6 TFLOP/s
    assert "That is 58.8 s on 1 and 7.35 s on 8" in text  # 50,000 x 11.4 GFLOP at 9.7 TFLOP/s
    assert "the samples alone take 100 s" in text


def test_a_layer_alone_does_what_it_does_in_the_network() -> None:
    model = lively_model("tcja")
    second = model.encoder.stages[1]
    assert isinstance(second, SpikingStage)
    x = torch.rand(N, 1, 16, 16)
    with torch.inference_mode():
        found = {part.name: part for part in parts(model, lambda: model(x), batch=N, is_training=False, bfloat16=False)}
        gated_seq = model.encoder.stages[0]((2 * x - 1).expand(T, *x.shape))
        currents = second.synapses(gated_seq.flatten(0, 1))
    convolution = found["encoder.stages.1.synapses"]
    # 3x3 kernels from 6 channels of 8x8 places to 8 of 4x4, T x N times
    assert convolution.operations == 2 * (T * N) * (8 * 4 * 4) * (6 * 9)
    assert convolution.bytes == 4 * (T * N * (6 * 8 * 8 + 8 * 4 * 4) + 8 * 6 * 9)
    for name, expected in ((convolution.name, currents), ("encoder.stages.0: norm, neurons, gates", gated_seq)):
        torch.testing.assert_close(found[name].call(), expected, rtol=0, atol=0)


def test_the_roof_is_the_slower_of_arithmetic_and_memory() -> None:
    part = Part("a", lambda: None, calls=2, operations=1e9, bytes=1e6)
    meter = Meter(CPU, is_quick=True)
    (line,) = measured(meter, [part], matrix_rate=1e9, copy_rate=1e9)
    assert (line["roof_seconds"], line["roof"], line["bytes"]) == (2.0, "arithmetic", 2e6)
    (line,) = measured(meter, [part], matrix_rate=1e15, copy_rate=1e6)
    assert (line["roof_seconds"], line["roof"]) == (2.0, "memory")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results file with a row of each kind."""
    growth = {"subject": "time of training", "unit": "seconds", "intercept": 1.0, "slope": 0.5}
    throughput = {
        "preset": "pictures",
        "subject": "training",
        "batch": 64,
        "parameters": 1000,
        "operations_per_image": 2e9,
        "matrix_rate": 3e11,
        "share_of_matrix_rate": 0.25,
        "firing_rate": 0.14,
        "top_five": {"aten::convolution": 0.4},
    }
    layer = {"seconds": 0.5, "roof_seconds": 0.125, "roof": "memory", "operations": 1.0, "bytes": 1.0}
    roofline = {"preset": "pictures", "subject": "training", "batch": 64, "whole_seconds": 2.0, "matrix_rate": 3e11} | {
        "copy_rate": 5e9,
        "parts": [{"part": "fast", **layer, "seconds": 0.2}, *({"part": name, **layer} for name in "abcdef")],
    }
    rows = [
        made_row(bar=5.0, stretch=8.0, details={"seconds": {"ours": 0.5, "reference": 3.0}}),
        made_row("share", 0.02, bar=0.1, details=growth | {"by_time_steps": {"4": 3.0, "8": 5.0}}),
        made_row("images/s", 99.0, details=throughput),
        made_row("share", 0.5, details=roofline),
    ]
    cases = ("sampling-paper", "growth", "throughput", "roofline")
    record = {
        "machine": {
            "device": "cpu",
            "processor": "Abacus 3",
            "cores": 2,
            "threads": 2,
            "system": "Linux",
            "load_at_start": 0.0,
        },
        "versions": {"torch": "9.9"},
        "runs": 5,
        "skipped": {"memory": "the memory is too small for it"},
        "rows": [dataclasses.asdict(row) | {"case": case} for row, case in zip(rows, cases, strict=True)],
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


def test_the_page_holds_every_figure_with_machine_versions_and_plot(results: Path, tmp_path: Path) -> None:
    target = tmp_path / "docs" / "performance.md"
    write_page([results], target)
    text = target.read_text(encoding="utf-8")
    for part in ("Abacus 3", "torch 9.9", "6.00 times faster", "at least 5.00", "2.0%", "99.0", "too small", "CelebA"):
        assert part in text
    assert "| a | 500 ms | 25% | 125 ms | 25% | memory |" in text
    assert "| the other 2 | 700 ms | 35% | 250 ms | 36% |  |" in text
    assert "](images/growth.png)" in text
    assert (target.parent / "images" / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_follows_from_the_figures_alone(results: Path) -> None:
    assert page([read_results(results)]) == page([read_results(results)])


def test_a_missing_or_foreign_results_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="python -m benchmarks"):
        read_results(tmp_path / "results.json")
    (tmp_path / "other.json").write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"other\.json"):
        read_results(tmp_path / "other.json")
    with pytest.raises(FileNotFoundError, match="no results yet"):
        write_page([])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_processs_memory_is_read_before_and_after_what_it_is_watched_for() -> None:
    kept: list[mmap.mmap] = []

    def visits() -> Report:
        kept.append(mmap.mmap(-1, 2**26))
        kept[0].write(bytes(2**26))  # memory is taken when it is written to: 64 MiB
        return Report(seconds=[0.5])

    report, memory = watched(visits, os.getpid(), every=60)
    assert report.seconds == [0.5]
    assert memory[-1] - memory[0] == pytest.approx(64, abs=8)
    kept[0].close()


def test_what_was_measured_on_a_gpu_is_a_chapter_that_says_what_is_missing() -> None:
    speed = {"as_it_is": 100.0, "played": 800.0}
    proof = {"pixels_within_a_grey_level": 0.5, "relative_difference_of_gradients": 0.25}
    answers = {
        "recorded/fashion-mnist/64": {"images_per_second": speed, "bytes": 10**6},
        "training/paper/8": {"images_per_second": 50.0, "bytes": 10**6},
        "proof/paper": proof | {"nudge": 1e-6, "the_same_after_a_nudge": 0.125},
        "layer": {"ours": 1.0},
    }
    machine = {"accelerator": "Card", "processor": "P", "cores": 2}
    text = gpu_chapter({"machine": machine, "versions": {"torch": "1"}, "commit": "abc", "answers": answers})
    assert text.startswith("## On one Card")
    assert "| `fashion-mnist`, batch 64: whole, with losses and optimizer | 100 | 800 | 1.00 MB |" in text
    assert "| 50.0 | – |" in text
    assert "| `paper` | 50.0% | 0.25 | 1e-06: 0.12 |" in text
    assert "Not measured yet: sampling, compiled, profile." in text


def test_the_script_for_gpus_answers_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = dict(gpu.questions(quick_sizes(), CPU, tmp_path, quick=True))
    assert {"proof/paper", "proof/accelerate", "training/pictures/3", "compiled/sampling", "layer"} <= asked.keys()
    few = [(name, asked[name]) for name in ("proof/paper", "training/paper/2", "profile/sampling", "layer")]

    def broken() -> dict[str, Any]:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu, "questions", lambda *_: iter([*few, ("broken", broken)]))
    gpu.main(tmp_path, quick=True, device="cpu")
    answers = json.loads((tmp_path / "gpu.json").read_text())["answers"]
    assert answers["proof/paper"]["pixels_within_a_grey_level"] == 1.0
    assert answers["training/paper/2"]["images_per_second"] > 0
    assert sum(share for name, share in answers["profile/sampling"].items() if name != "took_seconds") <= 1.001
    assert answers["layer"]["ours"] > 0
    assert "no such kernel" in answers["broken"]["failed"]
    capsys.readouterr()
    gpu.main(tmp_path, quick=True, device="cpu")
    assert capsys.readouterr().out == ""
