"""Latents side by side: ``python -m benchmarks.latents OUT --data-root ROOT``.

The same small network learns Fashion-MNIST with one latent after the other. Encoder, decoder, attention, neurons, data
and number of epochs stay the same; each latent has the divergence, and the weight of it, that its authors gave it.
Then all are measured on the test split, with the same meters.

OUT is a folder. A latent in its ``results.json`` is skipped, and an interrupted training goes on where it stopped. That
file is what ``python -m spikevae.evaluation.reports.results … --latents FILE`` makes a section of docs/results.md from.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.trainings import read_results, run_missing
from spikevae.config import DataConfig, ObjectiveConfig, RunConfig, TrainConfig
from spikevae.evaluation.command import evaluate
from spikevae.evaluation.reports.latents import COLUMNS, latent_table
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.presets import PRESETS
from spikevae.runtime import machine, reuse_freed_memory, sleep_while_waiting
from spikevae.training.loop import train
from spikevae.training.run_folder import STATS_NAME

DIVERGENCE_WEIGHTS = {"grid": 1e-4, "potential": 1e-4, "autoregressive": 1.0, "esvae": 1e-3}
_WITH_DENSITY = ("grid", "potential")
_METRICS = ("fad", "domain", "sharpness", "reconstruction", "accuracy", "spikes")


def main(
    out: tyro.conf.Positional[Path],
    data_root: Annotated[str, tyro.conf.arg(metavar="FOLDER")],
    latents: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = tuple(DIVERGENCE_WEIGHTS),
    epochs: int = 3,
    image_limit: int | None = None,
    count: int = 5_120,
    fad_autoencoder: Path | None = None,
    fad_statistics: Path | None = None,
) -> None:
    """Run what is missing, and print the table.

    Args:
        out: Folder for results.json and the runs.
        data_root: Where Fashion-MNIST lies.
        latents: Which to compare, in this order.
        epochs: Passes over the training images, for each latent.
        image_limit: Use only so many training images (for trying things out).
        count: Samples behind each score.
        fad_autoencoder: The papers' FAD: fashion_64.pth of FSVAE's repository...
        fad_statistics: ... and fashion_test_64.npz.
    """
    configs = {latent: settings(latent, data_root, epochs, image_limit) for latent in latents}
    evaluation = EvaluationConfig(
        model=str(out),
        metrics=_METRICS if fad_autoencoder is None else (*_METRICS, "fad_papers"),
        count=count,
        data_root=data_root,
        fad_autoencoder=fad_autoencoder,
        fad_statistics=fad_statistics,
    )
    for latent, entry in read_results(out).items():
        if (entry["settings"]["epochs"], entry["settings"]["image_limit"]) != (epochs, image_limit):
            raise ValueError(f"{out} holds {latent} of another number of epochs or images; give another folder")
    results = run_missing(out, latents, partial(run, configs=configs, evaluation=evaluation))
    print(latent_table(results).as_markdown())


def settings(latent: str, data_root: str, epochs: int, image_limit: int | None = None) -> RunConfig:
    """The settings of a run: the released model's, smaller, and without the adversarial phase.

    Raises:
        ValueError: if this latent is not compared.
    """
    if latent not in DIVERGENCE_WEIGHTS:
        raise ValueError(f"{latent!r} is not compared; the latents are {', '.join(DIVERGENCE_WEIGHTS)}")
    preset = PRESETS["fashion-mnist"]
    return RunConfig(
        model=dataclasses.replace(
            preset.model,
            encoder_widths=(32, 64, 128),
            encoder_depth=0,
            decoder_widths=(64, 32, 16),
            latent=latent,
            latent_size=4 * 49,
            prior_rank=64,
            prior_components=8,
            classify_mirrored=False,
        ),
        data=DataConfig(data_root=data_root),
        objective=ObjectiveConfig(divergence_weight=DIVERGENCE_WEIGHTS[latent]),
        train=dataclasses.replace(
            preset.train,
            epochs=epochs,
            deterministic_share=1 / 3 if latent in _WITH_DENSITY else 0.0,
            adversarial_share=0.0,
            warmup_images=0,
            ema_images=0,
            preview_epochs=epochs,
            image_limit=image_limit,
        ),
    )


def run(
    latent: str, folder: Path, is_new: bool, *, configs: dict[str, RunConfig], evaluation: EvaluationConfig
) -> dict[str, Any]:
    """Train one latent, or go on with it, and measure it."""
    config = configs[latent]
    train(config, folder, is_new=is_new)
    entries = [json.loads(line) for line in (folder / STATS_NAME).read_text(encoding="utf-8").splitlines()]
    last = [entry for entry in entries if "epoch" in entry][-1]
    found = evaluate(dataclasses.replace(evaluation, model=str(folder)))
    return {
        "scores": {
            score.metric: (score.value, score.error)
            for score in found.scores
            if score.metric in COLUMNS and score.value is not None
        },
        **{name: found.costs["sample"][name] for name in ("microjoule", "microjoule_folded")},
        "parameters": found.details["parameters"],
        "seconds": last["seconds"],
        "machine": machine(),
        "versions": found.versions,
        "settings": {
            "command": _command(config.train, configs, evaluation),
            "encoder_widths": config.model.encoder_widths,
            "decoder_widths": config.model.decoder_widths,
            "time_steps": config.model.time_steps,
            "latent_size": config.model.latent_size,
            "epochs": config.train.epochs,
            "image_limit": config.train.image_limit,
            "images": last["train_images"],
        },
    }


def _command(settings: TrainConfig, latents: Iterable[str], evaluation: EvaluationConfig) -> str:
    files = {"--fad-autoencoder": evaluation.fad_autoencoder, "--fad-statistics": evaluation.fad_statistics}
    papers = "".join(f" {option} {file.name}" for option, file in files.items() if file is not None)
    limit = "" if settings.image_limit is None else f" --image-limit {settings.image_limit}"
    return (
        f"python -m benchmarks.latents OUT --data-root ROOT --epochs {settings.epochs}{limit} "
        f"--latents {' '.join(latents)}{papers}"
    )


if __name__ == "__main__":
    sleep_while_waiting()
    reuse_freed_memory()
    try:
        tyro.cli(main, prog="python -m benchmarks.latents")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
