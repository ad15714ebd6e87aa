"""What attention brings to event data, by whole trainings: ``python -m benchmarks.ablation OUT --data-root ROOT``.

Two tasks: N-MNIST, whose label lies in space, and sim-gestures, whose label lies in time. Each is learned with tcja,
tla, cla and none, from several seeds; everything else stays the same. The held-out recordings of a run are fixed
beforehand, and tested once, after its last epoch. Then N-MNIST is learned with tcja on four fifths of all its
recordings, five times.

Who has one of the large sets names it: ``--only dvs128-gesture``, ``cifar10-dvs`` or ``n-caltech101``. The paper's
preset is then trained with each attention on its training split, and tested on its test split.

OUT is a folder. A run in its ``results.json`` is skipped, and an interrupted one goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.trainings import run_folder, run_missing
from spikevae.config import DataConfig, RunConfig
from spikevae.data.events.eventset import EventSet
from spikevae.data.sets import load_split
from spikevae.evaluation.energy import counting
from spikevae.hub.checkpoints import load
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.networks import parameter_count
from spikevae.presets import PRESETS, preset_for
from spikevae.runtime import reuse_freed_memory, sleep_while_waiting
from spikevae.training.loop import train

ATTENTIONS = ("tcja", "none", "tla", "cla")
LARGE_SETS = ("dvs128-gesture", "cifar10-dvs", "n-caltech101")
_FOLDS = 5
_COUNTED = 100  # recordings behind the energy
_BATCH = 100


@dataclass(frozen=True)
class Task:
    """A run of the queue: what is learned, with which attention, from which seed or on which fold."""

    name: str
    attention: str
    number: int

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.name}/{self.attention}/{self.number}"


def task_of(key: str) -> Task:
    """The run that a key of the results names."""
    name, attention, number = key.split("/")
    return Task(name, attention, int(number))


def queue(seeds: int, only: Sequence[str] = ()) -> list[Task]:
    """All runs, the most telling ones first: tcja against none, the branches where time matters, and the folds.

    Args:
        seeds: trainings of each kind.
        only: names of tasks; without any, all but the large sets.

    Raises:
        ValueError: if there is no such task.
    """
    known = ("sim-gestures", "n-mnist", "n-mnist-folds", *LARGE_SETS)
    if unknown := [name for name in only if name not in known]:
        raise ValueError(f"--only {unknown[0]} is none of {', '.join(known)}")
    large = [Task(name, attention, seed) for name in LARGE_SETS for seed in range(seeds) for attention in ATTENTIONS]
    return [task for task in (*_small(seeds), *large) if task.name in (only or known[:3])]


def _small(seeds: int) -> list[Task]:
    some, others = ATTENTIONS[:2], ATTENTIONS[2:]
    kinds = [("sim-gestures", some), ("n-mnist", some), ("sim-gestures", others), ("n-mnist", others)]
    runs = [
        [Task(name, attention, seed) for seed, attention in itertools.product(range(seeds), attentions)]
        for name, attentions in kinds
    ]
    folds = [Task("n-mnist-folds", "tcja", fold) for fold in range(_FOLDS)]
    return [*runs[0], *runs[1], *runs[2], *folds, *runs[3]]


def main(
    out: tyro.conf.Positional[Path],
    data_root: Annotated[str, tyro.conf.arg(metavar="FOLDER")],
    seeds: int = 3,
    only: tuple[str, ...] = (),
    quick: bool = False,
) -> None:
    """Run what is missing of the queue, and print the table.

    Args:
        out: Folder for results.json and the runs.
        data_root: Where N-MNIST, MNIST and Fashion-MNIST lie.
        seeds: Trainings of each kind.
        only: Tasks, of sim-gestures, n-mnist, n-mnist-folds, dvs128-gesture, cifar10-dvs and n-caltech101; otherwise
            the first three.
        quick: One epoch of 64 recordings: shows that everything works.
    """
    keys = [task.key for task in queue(seeds, only)]
    results = run_missing(out, keys, partial(run, data_root=data_root, is_quick=quick))
    print("\n".join(table(results)))
    for key in results:
        task, folder = task_of(key), run_folder(out, key)
        if task.attention == "tcja" and task.name == "sim-gestures" and folder.is_dir():
            share = accuracy_with_constant_gates(folder, task, data_root)
            print(f"{key}: {share:.1%} with every gate replaced by its mean over time")


def settings(task: Task, data_root: str) -> RunConfig:
    """The settings of a run: the preset's but for the attention, the seed, and what keeps the queue short."""
    if task.name in LARGE_SETS:
        preset = preset_for(task.name)
        return dataclasses.replace(
            preset,
            model=dataclasses.replace(preset.model, attention=task.attention),
            data=dataclasses.replace(preset.data, data_root=data_root).taken_by(preset.model),
            train=dataclasses.replace(preset.train, seed=task.number, preview_epochs=preset.train.epochs),
        )
    name = task.name.removesuffix("-folds")
    preset = PRESETS["n-mnist-classifier" if name == "n-mnist" else name]
    seed = 0 if task.name != name else task.number
    size = {"n-mnist": preset.model.image_size, "sim-gestures": 16}[name]
    epochs = {"n-mnist": 40, "sim-gestures": 16}[name]
    return dataclasses.replace(
        preset,
        model=dataclasses.replace(preset.model, attention=task.attention, image_size=size, slice_by="number"),
        data=DataConfig(dataset=name, data_root=data_root, image_size=size, time_steps=10),
        train=dataclasses.replace(
            preset.train,
            seed=seed,
            epochs=epochs,
            preview_epochs=epochs,
            precision="float32",
            warmup_images=3_200,
            ema_images=3_200,
            shift=2 if name == "sim-gestures" else preset.train.shift,
        ),
    )


def parts(task: Task, config: RunConfig) -> tuple[EventSet, EventSet]:
    """What a run learns from and what it is tested on.

    600 and 400 of N-MNIST's training recordings, four fifths and one fifth of all of them, or the training and the test
    split of another set.
    """
    whole = dataclasses.replace(config.data, validation_share=0.0)
    train_set, test_set = (load_split(whole, split) for split in ("train", "test"))
    assert isinstance(train_set, EventSet)
    assert isinstance(test_set, EventSet)
    if task.name == "sim-gestures" or task.name in LARGE_SETS:
        return train_set, test_set
    if task.name == "n-mnist":
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(train_set)))
        return train_set.chosen(order[400:]), train_set.chosen(order[:400])
    everything = train_set.joined(test_set)
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(everything)))
    return everything.chosen(order[order % _FOLDS != task.number]), everything.chosen(
        order[order % _FOLDS == task.number]
    )


def run(key: str, folder: Path, is_new: bool, *, data_root: str, is_quick: bool) -> dict[str, Any]:
    """Train, measure and describe one run, or go on with it."""
    task = task_of(key)
    config = settings(task, data_root)
    train_set, test_set = parts(task, config)
    if not config.model.classes:  # N-Caltech101 names its own
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, class_names=train_set.class_names))
    if is_quick:
        train_set, test_set = train_set.subset(64), test_set.subset(20)
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=1))
    started = time.process_time()
    train(config, folder, train_set=train_set, validation_set=test_set, is_new=is_new)
    model = load(folder).eval()
    assert isinstance(model, SpikingClassifier)
    frames, labels = test_set.frames().transpose(0, 1).float(), test_set.labels
    assert labels is not None
    return {
        "accuracy": accuracy(model, frames, labels),
        "reversed_accuracy": accuracy(model, frames.flip(0), labels),
        "recordings": [len(train_set), len(test_set)],
        "parameters": parameter_count(model),
        "cpu_seconds": round(time.process_time() - started),
        **energy(model, frames[:, :_COUNTED]),
    }


def accuracy(model: SpikingClassifier, frames: Tensor, labels: Tensor) -> float:
    """Share of recordings whose class is found."""
    return float((model.classify(frames, batch_size=_BATCH).argmax(dim=1) == labels).double().mean())


def accuracy_with_constant_gates(folder: Path, task: Task, data_root: str) -> float:
    """Accuracy of a run's model whose gates no longer know the time step: what order in the gates is worth to it."""
    model = load(folder)
    for module in model.modules():
        if isinstance(module, TemporalChannelJointAttention):
            module.register_forward_hook(_constant_gate)
    _, test_set = parts(task, settings(task, data_root))
    assert test_set.labels is not None
    return accuracy(model, test_set.frames().transpose(0, 1).float(), test_set.labels)


def _constant_gate(module: TemporalChannelJointAttention, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    gate = module.gate(inputs[0]).mean(dim=0, keepdim=True)  # [1, N, C]
    return inputs[0] * gate[..., None, None]


def energy(model: SpikingClassifier, frames: Tensor) -> dict[str, float]:
    """Microjoule of a classification, plain and with gates folded, and of the same layers run once without spikes."""
    with torch.inference_mode(), counting(model, images=frames.shape[1]) as cost:
        model(frames)
    return {
        "microjoule": cost.microjoule,
        "microjoule_folded": cost.microjoule_folded,
        "ann_microjoule": cost.ann_microjoule,
    }


def table(results: dict[str, Any]) -> Iterator[str]:
    """Mean and standard deviation of each task and attention, as Markdown."""
    yield "| task | attention | runs | accuracy | parameters | µJ | µJ folded |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    names = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in results))
    for name in sorted(names, key=lambda name: (name.split("/")[0], ATTENTIONS.index(name.split("/")[1]))):
        runs = [value for key, value in results.items() if key.rsplit("/", 1)[0] == name]
        found = [value["accuracy"] * 100 for value in runs]
        spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
        task, attention = name.split("/")
        yield (
            f"| {task} | {attention} | {len(runs)} | {mean(found):.2f}{spread} % | {runs[0]['parameters']:,} "
            f"| {mean(value['microjoule'] for value in runs):.2f} "
            f"| {mean(value['microjoule_folded'] for value in runs):.2f} |"
        )


if __name__ == "__main__":
    sleep_while_waiting()
    reuse_freed_memory()
    tyro.cli(main, prog="python -m benchmarks.ablation")
