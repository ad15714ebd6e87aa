"""Every row of the table, as a case: what is compared, and what bar it has to reach."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import nn
from torch.profiler import profile, supported_activities
from torch.utils.flop_counter import FlopCounterMode
from torchvision.io import encode_jpeg

import spikevae
from benchmarks.measure import Meter, Row, busy_processes, in_a_process, medians, ratio, run, straight_line
from benchmarks.roofline import measured as roofline_measured
from benchmarks.roofline import parts as roofline_parts
from benchmarks.subjects import (
    RELEASED,
    Network,
    Precision,
    Sizes,
    build,
    full_sizes,
    layer_pass,
    our_layer,
    quick_sizes,
    released_model,
    sampling,
    training_step,
    work,
)
from spikevae.config import ModelConfig, to_dict
from spikevae.data.images import read_image, to_uint8
from spikevae.evaluation.energy import counting
from spikevae.hub.checkpoints import save_release
from spikevae.nn.networks import parameter_count
from spikevae.runtime import prefers_bfloat16

PLAIN = "plain reference (FSVAE's data layout)"


def sizes_for(meter: Meter) -> Sizes:
    """How large everything is in this run."""
    return quick_sizes() if meter.is_quick else full_sizes(meter.device)


def without_attention(config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(config, attention="none")


# ---------------------------------------------------------------- against the reference


def sampling_paper(meter: Meter) -> list[Row]:
    """Sampling, the same network on both sides, TCJA on and off."""
    sizes, rows = sizes_for(meter), []
    for config, bar, stretch in ((sizes.paper, 8.0, 12.0), (without_attention(sizes.paper), None, None)):
        seconds = meter.seconds(
            {
                "ours": sampling(build("ours", config, meter.device), sizes.batch),
                "reference": sampling(build("reference", config, meter.device), sizes.batch),
            }
        )
        rows.append(
            _faster(
                "sampling-paper", f"sampling, `paper` preset{_attention(config)}", seconds, sizes.batch, bar, stretch
            )
        )
    return rows


def training_paper(meter: Meter) -> list[Row]:
    """A training step, the same network on both sides, TCJA on and off; ours as it trains by default and in float32."""
    sizes, rows = sizes_for(meter), []
    for config, bar, stretch in ((sizes.paper, 8.0, 12.0), (without_attention(sizes.paper), None, None)):

        def step(network: Network, precision: Precision, config: ModelConfig = config) -> Callable[[], None]:
            return training_step(build(network, config, meter.device), config, sizes.batch, meter.device, precision)

        sides = {"ours": step("ours", "auto"), "reference": step("reference", "float32")}
        if prefers_bfloat16(meter.device):
            sides["ours in float32"] = step("ours", "float32")
        seconds = meter.seconds(sides)
        what = f"training step, `paper` preset{_attention(config)}"
        rows.append(_faster("training-paper", what, seconds, sizes.batch, bar, stretch))
        if "ours in float32" in seconds:
            plain = {"ours": seconds["ours in float32"], "reference": seconds["reference"]}
            rows.append(_faster("training-paper", f"{what}, ours in float32 too", plain, sizes.batch, None, None))
    return rows


def sampling_released(meter: Meter) -> list[Row]:
    """Sampling from the released model, against the reference network."""
    sizes = sizes_for(meter)
    model = released_model(sizes.small, meter.device)
    seconds = meter.seconds(
        {
            "ours": sampling(model, sizes.batch),
            "reference": sampling(build("reference", sizes.paper, meter.device), sizes.batch),
        }
    )
    against = "plain reference of the `paper` preset, T = 16 at 32x32"
    what = f"sampling, released {RELEASED} model"
    return [_faster("sampling-released", what, seconds, sizes.batch, 20.0, 40.0, against)]


def memory(meter: Meter) -> list[Row]:
    """Peak memory of the training step, each in a process of its own."""
    sizes, config = sizes_for(meter), sizes_for(meter).paper
    sides = {
        "ours": _memory_of(meter, "training", "ours", config, "auto"),
        "reference": _memory_of(meter, "training", "reference", config, "float32"),
    }
    if prefers_bfloat16(meter.device):
        sides["ours in float32"] = _memory_of(meter, "training", "ours", config, "float32")
    needed = meter.rounds(sides)
    what = f"peak memory of that training step, batch {sizes.batch}"
    rows = [
        Row(
            "memory", what, PLAIN, ratio(needed["ours"], needed["reference"]), "times", 1 / 3, 1 / 6,
            details={"bytes": medians(needed)},
        )
    ]  # fmt: skip
    if "ours in float32" in needed:
        figure = ratio(needed["ours in float32"], needed["reference"])
        rows.append(Row("memory", f"{what}, ours in float32 too", PLAIN, figure, "times"))
    return rows


# ---------------------------------------------------------------- against what the work must cost


def one_image(meter: Meter) -> list[Row]:
    """Latency of one image in a warm process."""
    model = released_model(sizes_for(meter).small, meter.device)
    seconds = meter.seconds({"ours": sampling(model, 1)})
    figure = statistics.median(seconds["ours"])
    what = f"sampling one image, released {RELEASED} model, warm process"
    return [Row("one-image", what, "", figure, "seconds", 0.002, None)]


def layer(meter: Meter) -> list[Row]:
    """The spiking layer against the memory's bandwidth, and against spikingjelly's own layer."""
    shape, rows = sizes_for(meter).layer, []
    for dtype in (torch.float32, torch.bfloat16):
        x_seq = (torch.rand(shape) * 2).to(meter.device, dtype)
        source, target = torch.rand_like(x_seq), torch.empty_like(x_seq)

        def copy_there_and_back(source: torch.Tensor = source, target: torch.Tensor = target) -> None:
            target.copy_(source)
            source.copy_(target)

        sides: dict[str, Callable[[], None]] = {
            "ours": layer_pass(our_layer().to(meter.device), x_seq),
            "copies": copy_there_and_back,
        }
        if dtype == torch.float32:
            sides["spikingjelly"] = layer_pass(StatelessLIF().to(meter.device), x_seq)
        seconds = meter.seconds(sides)
        is_main = dtype == torch.float32
        name = str(dtype).removeprefix("torch.")
        rows.append(
            Row(
                "layer",
                f"spiking layer, forward and backward, {list(shape)}, {name}",
                "copying as many bytes twice, once for each direction",
                ratio(seconds["ours"], seconds["copies"]),
                "times",
                2.0 if is_main else 2.5,
                1.5,
                details={
                    "seconds": medians(seconds),
                    "bytes_per_second": 4 * x_seq.nbytes / statistics.median(seconds["copies"]),
                },
            )
        )
        if is_main:
            figure = ratio(seconds["spikingjelly"], seconds["ours"])
            rows.append(Row("layer", "the same layer", "spikingjelly's multi-step LIF layer", figure, "times faster"))
    return rows


class StatelessLIF(nn.Module):
    """Spikingjelly's own multi-step layer, started at rest as ours."""

    def __init__(self) -> None:
        super().__init__()
        ours = our_layer()
        self.neurons = neuron.LIFNode(
            tau=ours.tau,
            surrogate_function=surrogate.ATan(alpha=ours.surrogate_slope),
            detach_reset=True,
            step_mode="m",
        )

    def forward(self, x_seq: torch.Tensor) -> torch.Tensor:
        self.neurons.reset()
        spike_seq: torch.Tensor = self.neurons(x_seq)
        self.neurons.reset()
        return spike_seq


def relu(meter: Meter) -> list[Row]:
    """The whole training step against the same network with ReLU in place of every neuron, on T x N images."""
    sizes, rows = sizes_for(meter), []
    for name, config in ((RELEASED, sizes.small), ("paper", sizes.paper)):
        sides: dict[str, Network] = {"ours": "ours", "ReLU": "relu"}
        seconds = meter.seconds(
            {
                side: training_step(build(network, config, meter.device), config, sizes.batch, meter.device)
                for side, network in sides.items()
            }
        )
        figure = ratio(seconds["ours"], seconds["ReLU"])
        what = f"whole training step, `{name}` preset"
        against = "the same network, ReLU for neurons"
        rows.append(Row("relu", what, against, figure, "times", 1.5, 1.15, details={"seconds": medians(seconds)}))
    return rows


def growth(meter: Meter) -> list[Row]:
    """Time and memory of training and sampling as T grows, and how far they are from a straight line."""
    sizes, rows = sizes_for(meter), []
    configs = {t: dataclasses.replace(sizes.paper, time_steps=t) for t in sizes.time_steps}
    for subject in ("training", "sampling"):
        sides: dict[str, Callable[[], object]] = {}
        for t, config in configs.items():
            model = build("ours", config, meter.device)
            sides[str(t)] = work(subject, model, config, sizes.batch, meter.device)
        rows.append(_straight(f"time of {subject}", medians(meter.seconds(sides)), "seconds"))
        needed = meter.rounds(
            {str(t): _memory_of(meter, subject, "ours", config, "auto") for t, config in configs.items()}
        )
        rows.append(_straight(f"memory of {subject}", medians(needed), "bytes"))
    return rows


# ---------------------------------------------------------------- starting, settings, absolute figures


def start(meter: Meter) -> list[Row]:
    """The command line from nothing: its help, and one image."""
    config = sizes_for(meter).small
    python, command = sys.executable, [sys.executable, "-m", "spikevae.cli"]
    with tempfile.TemporaryDirectory() as folder:
        name = RELEASED
        if meter.is_quick or RELEASED not in spikevae.released_models():
            name = str(Path(folder) / "model")
            save_release(released_model(config, torch.device("cpu")), Path(name), dataset=RELEASED, card="Untrained.\n")
        picture = str(Path(folder) / "one.png")
        seconds = meter.seconds(
            {
                "help": lambda: run([*command, "--help"]),
                "sample": lambda: run([*command, "sample", name, "--count", "1", "--out", picture]),
                "torch": lambda: run([python, "-c", "import torch"]),
            }
        )
    figures = medians(seconds)
    cold = ratio(seconds["sample"], seconds["torch"])
    return [
        Row("start", "import and `spikevae --help`", "", figures["help"], "seconds", 0.3, None),
        Row(
            "start", "`spikevae sample`, cold, one image", "python importing torch alone", cold, "times", 1.15, 1.05,
            details={"seconds": figures},
        ),
    ]  # fmt: skip


def settings(meter: Meter) -> list[Row]:
    """What the settings of ``spikevae.runtime`` give, which everything else here is measured with, on both sides."""
    sizes = sizes_for(meter)
    request = {
        "what": "speed", "config": to_dict(sizes.small), "batch": sizes.batch, "layer": sizes.layer,
    }  # fmt: skip
    sides: dict[str, tuple[bool, dict[str, str | None]]] = {
        "as shipped": (True, {}),
        "memory returned": (False, {}),
        "threads spinning": (True, {"GOMP_SPINCOUNT": None}),
        "threads passive": (True, {"GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": "passive"}),
    }
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in sides}

    def ask(name: str, is_small: bool) -> float:
        keep, environment = sides[name]
        answer = in_a_process(request | {"keep_memory": keep, "is_small": is_small}, environment)
        answers[name].append(answer)
        return answer["small"]

    def row(what: str, against: str, name: str, key: str) -> Row:
        figures = {side: [answer[key] for answer in answers[side]] for side in (name, "as shipped")}
        figure = ratio(figures[name], figures["as shipped"])
        return Row("settings", what, against, figure, "times faster", details={"seconds": medians(figures)})

    # Only what `rounds` returns in order belongs together: both lists below are filled once in every round.
    meter.rounds({name: functools.partial(ask, name, False) for name in sides})
    step = f"training step, `{RELEASED}` preset"
    rows = [
        row(f"freed memory kept: {step}", "glibc's default", "memory returned", "training"),
        row("freed memory kept: spiking layer", "glibc's default", "memory returned", "layer"),
        row(f"threads that sleep early: {step}", "threads that spin", "threads spinning", "training"),
        row(f"threads that sleep early: {step}", "threads that sleep at once", "threads passive", "training"),
    ]
    for values in answers.values():
        values.clear()
    with busy_processes(os.cpu_count() or 1):
        meter.rounds({name: functools.partial(ask, name, True) for name in ("as shipped", "threads spinning")})
    busy = "threads that sleep early: a small operation, every core wanted by another program"
    return [*rows, row(busy, "threads that spin", "threads spinning", "small")]


def throughput(meter: Meter) -> list[Row]:
    """Images a second, the share of what the machine can do at most, and where the time goes."""
    sizes, rows = sizes_for(meter), []
    in_training = torch.bfloat16 if prefers_bfloat16(meter.device) else torch.float32
    rate = _matrix_rate(meter, sizes.matrix, in_training)
    for name, config in ((RELEASED, sizes.small), ("paper", sizes.paper), ("pictures", sizes.pictures)):
        for subject in ("training", "sampling"):
            model, dense = build("ours", config, meter.device), build("relu", config, meter.device)
            call, dense_call = (work(subject, each, config, sizes.batch, meter.device) for each in (model, dense))
            seconds = statistics.median(meter.seconds({f"{name} {subject}": call})[f"{name} {subject}"])
            with counting(model, images=sizes.batch) as cost:
                call()
            with FlopCounterMode(display=False) as counter:
                dense_call()  # which multiplies every input, also those that are zero
            rows.append(
                Row(
                    "throughput",
                    f"{subject}, `{name}` preset, batch {sizes.batch}",
                    "",
                    sizes.batch / seconds,
                    "images/s",
                    details={
                        "preset": name,
                        "subject": subject,
                        "batch": sizes.batch,
                        "parameters": parameter_count(model),
                        "firing_rate": statistics.mean(map(statistics.mean, cost.firing_rates.values())),
                        "operations_per_image": counter.get_total_flops() / sizes.batch,
                        "matrix_rate": rate,
                        "share_of_matrix_rate": counter.get_total_flops() / seconds / rate,
                        "top_five": _top_five(meter, call),
                    },
                )
            )
    return rows


def roofline(meter: Meter) -> list[Row]:
    """Layer by layer: the share of what the machine allows, by its matrix products and by copying memory."""
    sizes, rows = sizes_for(meter), []
    has_half = prefers_bfloat16(meter.device)
    copied = torch.rand(sizes.matrix * sizes.matrix, device=meter.device)
    into = torch.empty_like(copied)
    seconds = medians(meter.seconds({"copying": lambda: into.copy_(copied)}))["copying"]
    copy_rate = 2 * copied.numel() * copied.element_size() / seconds
    rates = {"training": _matrix_rate(meter, sizes.matrix, torch.bfloat16 if has_half else torch.float32)}
    rates["sampling"] = _matrix_rate(meter, sizes.matrix, torch.float32) if has_half else rates["training"]
    for name, config in ((RELEASED, sizes.small), ("paper", sizes.paper), ("pictures", sizes.pictures)):
        for subject, rate in rates.items():
            is_training = subject == "training"
            model = build("ours", config, meter.device)
            call = work(subject, model, config, sizes.batch, meter.device)
            found = roofline_parts(
                model, call, batch=sizes.batch, is_training=is_training, bfloat16=is_training and has_half
            )
            lines = roofline_measured(meter, found, rate, copy_rate)
            whole = medians(meter.seconds({subject: call}))[subject]
            details = {"preset": name, "subject": subject, "batch": sizes.batch, "whole_seconds": whole} | {
                "matrix_rate": rate, "copy_rate": copy_rate, "parts": lines,
            }  # fmt: skip
            share = sum(float(line["roof_seconds"]) for line in lines) / whole
            what = f"{subject}, `{name}` preset, batch {sizes.batch}: least time of its layers"
            rows.append(Row("roofline", what, "the whole call", share, "share", details=details))
    return rows


def loading(meter: Meter) -> list[Row]:
    """How fast one thread turns image files of CelebA's size into pixels."""
    coarse = torch.rand(3, 14, 11, generator=torch.Generator().manual_seed(0))
    picture = nn.functional.interpolate(coarse[None], (218, 178), mode="bicubic")[0].clamp(0, 1)
    content = encode_jpeg(to_uint8(picture), quality=90).numpy().tobytes()

    def read() -> None:
        read_image(io.BytesIO(content), channels=3, size=64, crop=148)

    seconds = statistics.median(meter.seconds({"decoding": read})["decoding"])
    what = "decoding a JPEG of CelebA's size (178x218) to 64x64, one thread"
    return [Row("loading", what, "", 1 / seconds, "images/s", details={"bytes_of_file": len(content)})]


CASES: dict[str, Callable[[Meter], list[Row]]] = {
    "sampling-paper": sampling_paper,
    "training-paper": training_paper,
    "sampling-released": sampling_released,
    "memory": memory,
    "one-image": one_image,
    "layer": layer,
    "relu": relu,
    "growth": growth,
    "start": start,
    "settings": settings,
    "throughput": throughput,
    "roofline": roofline,
    "loading": loading,
}
CPU_ONLY = ("start", "settings", "loading")


# ---------------------------------------------------------------- details


def _attention(config: ModelConfig) -> str:
    return ", without TCJA on both sides" if config.attention == "none" else ""


def _faster(
    case: str,
    what: str,
    seconds: dict[str, list[float]],
    batch: int,
    bar: float | None,
    stretch: float | None,
    against: str = PLAIN,
) -> Row:
    figures = medians(seconds)
    details = {"seconds": figures, "images_per_second": {name: batch / figure for name, figure in figures.items()}}
    figure = ratio(seconds["reference"], seconds["ours"])
    return Row(case, f"{what}, batch {batch}", against, figure, "times faster", bar, stretch, details)


def _memory_of(meter: Meter, subject: str, network: str, config: ModelConfig, precision: str) -> Callable[[], float]:
    request = {
        "what": "memory", "subject": subject, "network": network, "config": to_dict(config), "precision": precision,
        "batch": sizes_for(meter).batch, "device": meter.device.type, "keep_memory": True,
    }  # fmt: skip
    return lambda: in_a_process(request)["bytes"]


def _straight(what: str, figures: dict[str, float], unit: str) -> Row:
    steps = [int(t) for t in figures]
    intercept, slope, deviation = straight_line(steps, list(figures.values()))
    details = {"subject": what, "unit": unit, "by_time_steps": figures, "intercept": intercept, "slope": slope}
    span = f"T = {', '.join(figures)}"
    return Row("growth", f"{what}, `paper` preset, {span}", "a straight line", deviation, "share", 0.10, None, details)


def _matrix_rate(meter: Meter, side: int, dtype: torch.dtype) -> float:
    """Operations a second of a product of two square matrices."""
    a, b = (torch.rand(side, side, device=meter.device).to(dtype) for _ in range(2))
    seconds = meter.seconds({"matrix product": lambda: a @ b})["matrix product"]
    return 2.0 * side**3 / statistics.median(seconds)


def _top_five(meter: Meter, call: Callable[[], object]) -> dict[str, float]:
    """The five operators in which most time goes, each with its share."""
    with profile(activities=supported_activities()) as profiler:
        call()
        meter.synchronize()
    key = "self_cpu_time_total" if meter.device.type == "cpu" else "self_device_time_total"
    times = {event.key: float(getattr(event, key)) for event in profiler.key_averages()}
    total = sum(times.values()) or 1.0
    first = sorted(times, key=lambda name: times[name], reverse=True)[:5]
    return {name: times[name] / total for name in first}
