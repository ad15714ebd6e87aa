"""Prove and time every path of a GPU: ``bash benchmarks/gpu.sh``. Each answer is written as soon as it is there."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.profiler import profile, supported_activities

from benchmarks.apart import forget_largest_size, largest_size
from benchmarks.cases import StatelessLIF
from benchmarks.measure import describe_machine, describe_versions, run
from benchmarks.subjects import (
    RELEASED,
    Sizes,
    build,
    full_sizes,
    layer_pass,
    our_layer,
    quick_sizes,
    released_model,
    work,
)
from spikevae.config import ModelConfig
from spikevae.files import write_atomically
from spikevae.nn.vae import SpikingVAE
from spikevae.presets import PRESETS
from spikevae.runtime import pick_device, prefers_bfloat16
from spikevae.training.learner import Batch, Learner, make_accelerator
from spikevae.training.phases import phases_of
from spikevae.training.recorded import RecordedStep, Step

Answer = dict[str, Any]
CPU = torch.device("cpu")
_LEAST_SECONDS = 0.5  # of one timing
_NUDGE = 1e-6  # of the weights, relative


def main(out: Path, seconds: float = 530.0, quick: bool = False, device: str | None = None) -> None:
    """Answer one question after the other until the time is over.

    Args:
        out: Folder for gpu.json. Questions that are answered there are passed over, so a second call goes on.
        seconds: When to stop asking.
        quick: Tiny sizes: shows that everything works, also on a CPU.
        device: cuda, cuda:1 or cpu; otherwise the best that is there.
    """
    started = time.monotonic()
    place = pick_device() if device is None else torch.device(device)
    out.mkdir(parents=True, exist_ok=True)
    target = out / "gpu.json"
    record: dict[str, Any] = json.loads(target.read_text()) if target.is_file() else {"answers": {}}
    record |= {"machine": describe_machine(place), "versions": describe_versions()}
    for name, ask in questions(quick_sizes() if quick else full_sizes(place), place, out, quick):
        if name in record["answers"]:
            continue
        if time.monotonic() - started > seconds:
            print("the time is over; call it again to go on", flush=True)
            break
        begun = time.monotonic()
        try:
            answer = ask()
        except Exception as error:  # a failed path is an answer too
            answer = {"failed": f"{type(error).__name__}: {str(error)[:500]}"}
        record["answers"][name] = answer | {"took_seconds": round(time.monotonic() - begun, 1)}
        write_atomically(target, lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))
        print(f"{name}: {json.dumps(record['answers'][name])}", flush=True)


def questions(sizes: Sizes, device: torch.device, out: Path, quick: bool) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """Name and question: proofs first, then speed from the most wanted figure on."""
    networks = {"fashion-mnist": sizes.small, "paper": sizes.paper, "pictures": sizes.pictures}
    batches = (2, 3) if quick else (64, 512, 2048)
    for name, config in networks.items():
        yield f"proof/{name}", partial(proof, config, device)
    yield "proof/accelerate", partial(launched, out, 1)
    if torch.cuda.device_count() > 1:
        yield "proof/accelerate-2", partial(launched, out, 2)
    yield "matrix rate", lambda: {"flop_per_second": matrix_rate(device, sizes.matrix)}
    for batch in batches:
        yield f"recorded/fashion-mnist/{batch}", partial(recorded, sizes.small, batch, device)
    for subject in ("training", "sampling"):
        for name, config in networks.items():
            for batch in batches:
                yield f"{subject}/{name}/{batch}", partial(speed, subject, config, batch, device)
    for subject in ("training", "sampling"):
        compiled = partial(speed, subject, sizes.small, batches[1], device, is_compiled=True)
        yield f"compiled/{subject}", compiled
        yield f"profile/{subject}", partial(top_ten, subject, sizes.small, batches[1], device)
    yield "layer", partial(layers, sizes.layer, device)


def proof(config: ModelConfig, device: torch.device) -> Answer:
    """How far the results of the device are from those of the CPU; and whether a step of training runs.

    A spike that flips changes what follows. So gradients are compared as well with those of the CPU whose weights were
    moved by a millionth: no device can be expected to come nearer.
    """
    ours = released_model(config, CPU)
    there = released_model(config, device)
    moved = build("ours", config, CPU)
    with torch.no_grad():
        for weight in moved.parameters():
            weight.mul_(1 + _NUDGE * torch.randn_like(weight))
    x = torch.rand(8, config.image_channels, config.image_size, config.image_size)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # training, below, rounds as it does in use
        levels = (ours.sample(16, seed=0) - there.sample(16, seed=0).cpu()).abs() * 255
        here, *others = (
            gradients(model, x.to(where))
            for model, where in (
                (build("ours", config, CPU), CPU),
                (build("ours", config, device), device),
                (moved, CPU),
            )
        )
    differences = [float((here - other.cpu()).norm() / here.norm()) for other in others]
    step = work("training", build("ours", config, device), config, 8, device)
    step()
    return {
        "pixels_within_a_grey_level": float((levels < 1).float().mean()),
        "largest_difference_in_grey_levels": float(levels.max()),
        "relative_difference_of_gradients": differences[0],
        "nudge": _NUDGE,
        "the_same_after_a_nudge": differences[1],
        "bfloat16": prefers_bfloat16(device),
    }


def gradients(model: nn.Module, x: Tensor) -> Tensor:
    """Of reconstruction error and logits, all in one row; latent spikes without randomness."""
    outputs = model.train()(x, random=False)
    loss = (outputs.reconstruction - x).square().mean()
    if outputs.logits is not None:
        loss = loss + outputs.logits.square().mean()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def launched(out: Path, processes: int) -> Answer:
    """A short training by ``accelerate launch``, with batch norm over all processes, and what it reached."""
    data, folder = out / "made", out / f"run-{processes}"
    run([sys.executable, "-m", "tests.made_data", str(data.absolute())])
    options = [
        "--train.epochs",
        "3",
        "--train.batch-size",
        "64",
        "--train.image-limit",
        "1280",
        "--train.warmup-images",
    ]
    options += [
        "200",
        "--model.encoder-widths",
        "8",
        "8",
        "--model.decoder-widths",
        "8",
        "8",
        "--model.prior-rank",
        "4",
    ]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    command += ["--multi_gpu"] if processes > 1 else []
    command += ["-m", "spikevae.cli", "train", "fashion-mnist", "--data-root", str(data.absolute())]
    said = run([*command, "--out", str(folder.absolute()), *options], {"TQDM_DISABLE": "1"})
    return {"processes": processes, "last_line": said.strip().splitlines()[-1]}


def recorded(config: ModelConfig, batch: int, device: torch.device) -> Answer:
    """Images a second of a step as the trainer takes it, played from a recording, and of the same step as it is.

    And how far the weights are apart after eight steps of each.
    """
    preset = PRESETS[RELEASED]
    lengths = dataclasses.replace(preset.train, batch_size=batch, warmup_images=1, ema_images=1)
    settings = dataclasses.replace(preset, model=config, train=lengths)
    learners = [Learner(settings, make_accelerator("auto")) for _ in range(2)]
    step = phases_of(settings)[0].step
    ways: dict[str, Step] = {"as_it_is": step, "played": RecordedStep(step) if device.type == "cuda" else step}
    x = torch.rand(batch, config.image_channels, config.image_size, config.image_size)
    images = Batch(x.to(device), torch.zeros(batch, dtype=torch.long, device=device), batch)
    forget_largest_size(device)
    weights, rates = [], {}
    for learner, (name, way) in zip(learners, ways.items(), strict=True):
        learner.plain_model.train()
        for seed in range(8):
            torch.manual_seed(seed)
            learner.set_learning_rate(1e-3 * (1 + seed))
            way(learner, images)
        weights.append(torch.cat([each.detach().flatten() for each in learner.plain_model.parameters()]))
        rates[name] = batch / seconds_of(partial(way, learner, images), device)
    difference = float((weights[0] - weights[1]).norm() / weights[0].norm())
    return {"images_per_second": rates, "relative_difference_of_weights": difference, "bytes": largest_size(device)}


def speed(subject: str, config: ModelConfig, batch: int, device: torch.device, *, is_compiled: bool = False) -> Answer:
    """Images a second and the largest memory of a training step or a batch of samples."""
    model = released_model(config, device) if subject == "sampling" else build("ours", config, device)
    if is_compiled:
        model.compile()
        if isinstance(model, SpikingVAE):
            model.decoder.compile()
    call = work(subject, model, config, batch, device)
    forget_largest_size(device)
    seconds = seconds_of(call, device)
    return {"images_per_second": batch / seconds, "bytes": largest_size(device)}


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Of one call, after two that warm up."""
    for _ in range(2):
        call()
    count, total = 0, 0.0
    while total < _LEAST_SECONDS:
        _wait(device)
        begun = time.perf_counter()
        call()
        _wait(device)
        total += time.perf_counter() - begun
        count += 1
    return total / count


def matrix_rate(device: torch.device, side: int) -> float:
    """Operations a second of a product of two square matrices in bfloat16: the roof."""
    a, b = (torch.rand(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: a @ b, device)


def top_ten(subject: str, config: ModelConfig, batch: int, device: torch.device) -> Answer:
    """The operators in which most time goes, each with its share."""
    model = released_model(config, device) if subject == "sampling" else build("ours", config, device)
    call = work(subject, model, config, batch, device)
    call()
    with profile(activities=supported_activities()) as profiler:
        call()
        _wait(device)
    key = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
    times = {event.key: float(getattr(event, key)) for event in profiler.key_averages()}
    total = sum(times.values()) or 1.0
    return {name: times[name] / total for name in sorted(times, key=lambda name: times[name], reverse=True)[:10]}


def layers(shape: tuple[int, ...], device: torch.device) -> Answer:
    """Seconds of a spiking layer forward and backward: ours, and spikingjelly's with the back end that it takes."""
    x_seq = 2 * torch.rand(shape, device=device)
    sides: dict[str, nn.Module] = {"ours": our_layer(), "spikingjelly": StatelessLIF()}
    return {name: seconds_of(layer_pass(side.to(device), x_seq), device) for name, side in sides.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    tyro.cli(main)
