"""Several processes give what one gives: the same weights, the same images, the same scores."""

from __future__ import annotations

import json
import math
import os
import shlex
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import spikevae
from spikevae.cli import main
from spikevae.config import RunConfig
from spikevae.evaluation.command import evaluate
from spikevae.evaluation.scores import read_scores_json
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.nn.vae import SpikingVAE
from spikevae.training.discriminator import Discriminator
from spikevae.training.loop import train
from spikevae.training.run_folder import describe_run
from tests import forked


def launch_in_two_processes(*words: str | Path) -> str:
    """What a command of spikevae prints when a launcher starts two processes on the CPU that share it."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "spikevae.cli", *map(str, words)],
        cwd=Path(spikevae.__file__).parents[1],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def run_in_two_processes(folder: Path, *words: str | Path) -> str:
    """The same without a launcher, which is quicker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    outputs = [folder / f"printed-{rank}.txt" for rank in range(2)]
    processes = [
        forked.start(words, output, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, threads=1)
        for rank, output in enumerate(outputs)
    ]
    for process in processes:
        process.join(timeout=300)
        process.kill()  # unless it has ended
    printed = "".join(output.read_text(encoding="utf-8") for output in outputs)
    assert [process.exitcode for process in processes] == [0, 0], printed
    return printed


@pytest.fixture
def odd_run(config: RunConfig) -> RunConfig:
    """A deterministic epoch and an adversarial one, of three steps each, the last one of an odd number of images.

    Random numbers of a step differ between processes, so there are none: no random latent spikes, and no classifier,
    which hides some of its inputs at random.
    """
    train = replace(config.train, epochs=2, deterministic_share=0.5, adversarial_share=0.5, image_limit=69)
    return replace(config, model=replace(config.model, class_names=(), prior_components=1), train=train)


def trained_values(run: Path, part: str) -> dict[str, Tensor]:
    """Of the networks in the state of a run, all numbers that are not counts."""
    state = torch.load(run / "state.pt", weights_only=True)[part]
    return {name: value.double() for name, value in state.items() if value.is_floating_point()}


def distance(first: dict[str, Tensor], second: dict[str, Tensor], within: str = "") -> float:
    """Euclidean, of what has this in its name."""
    assert first.keys() == second.keys()
    return math.sqrt(sum(float((first[name] - second[name]).square().sum()) for name in first if within in name))


def test_two_processes_end_with_the_weights_of_one(odd_run: RunConfig, tmp_path: Path) -> None:
    """The encoder within 1 % of the way that training went, all else within 10 %.

    Sums over images are made in another order, so a spike whose potential is at the threshold can fall either way; so
    small a decoder feels a single one.
    """
    train(odd_run, tmp_path / "one")
    describe_run(odd_run, tmp_path / "two")
    words = ("train", "fashion-mnist", "--data-root", str(odd_run.data.data_root), "--resume", tmp_path / "two")
    printed = run_in_two_processes(tmp_path, *words)
    assert printed.count("is trained") == 1
    assert (tmp_path / "two" / "stats.jsonl").read_text().count("validation_images") == 2

    torch.manual_seed(odd_run.train.seed)
    networks = {"model": SpikingVAE(odd_run.model), "discriminator": Discriminator(1, odd_run.model.classes)}
    for part, within, tolerance in (
        ("model", "encoder", 0.01),
        ("model", "latent.synapses", 0.1),
        ("model", "decoder", 0.1),
        ("discriminator", "", 0.1),
    ):
        one, two = (trained_values(tmp_path / run, part) for run in ("one", "two"))
        start = {name: networks[part].state_dict()[name].double() for name in one}
        way = distance(one, start, within)
        assert distance(one, two, within) < tolerance * way, f"{part} {within}"


def test_two_processes_have_random_numbers_of_their_own_and_labels(config: RunConfig, tmp_path: Path) -> None:
    """So their first step differs from that of one process, but not by much."""
    joint = replace(config, train=replace(config.train, epochs=1, deterministic_share=0.0, adversarial_share=0.0))
    train(joint, tmp_path / "one")
    describe_run(joint, tmp_path / "two")
    words = ("train", "fashion-mnist", "--data-root", str(joint.data.data_root), "--resume", tmp_path / "two")
    run_in_two_processes(tmp_path, *words)
    one, two = (json.loads((tmp_path / run / "stats.jsonl").read_text().splitlines()[0]) for run in ("one", "two"))
    assert one["images_seen"] == two["images_seen"] == 96
    assert one["learning_rate"] == two["learning_rate"]
    for name in ("loss", "reconstruction_error", "cross_entropy"):
        assert one[name] != two[name]
        assert one[name] == pytest.approx(two[name], rel=0.2), name


def test_two_processes_write_the_bytes_of_one(tiny_release: Path, tmp_path: Path) -> None:
    words = ("sample", tiny_release, "--count", "33", "--seed", "5")
    main([*map(str, words), "--out", str(tmp_path / "one.npz")])
    printed = launch_in_two_processes(*words, "--out", tmp_path / "two.npz")
    assert printed.count("33 images written to") == 1
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_two_processes_measure_the_scores_of_one(tiny_release: Path, made_root: Path, tmp_path: Path) -> None:
    config = EvaluationConfig(
        model=str(tiny_release),
        data="fashion-mnist",
        data_root=str(made_root),
        count=600,  # three batches
        metrics=("fad", "domain", "sharpness"),
        report=tmp_path / "report",
    )
    one = evaluate(replace(config, report=None))
    words = shlex.split(config.command())[1:]
    printed = run_in_two_processes(tmp_path, *words, "--json", tmp_path / "two.json")
    assert printed.count("written to") == 1
    assert (tmp_path / "report" / "report.html").is_file()
    two = read_scores_json(tmp_path / "two.json")
    assert [score.metric for score in two.scores] == [score.metric for score in one.scores]
    for score in one.scores:
        assert two[score.metric].value == pytest.approx(score.value, rel=1e-4), score.metric
