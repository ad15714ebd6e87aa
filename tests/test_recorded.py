"""Steps that a GPU plays from a recording, and what they need: no value is waited for, batches are ready ahead."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from spikevae.config import RunConfig
from spikevae.presets import PRESETS
from spikevae.training.batches import ahead, batches_left
from spikevae.training.learner import Batch, Learner, make_accelerator
from spikevae.training.phases import phases_of
from spikevae.training.recorded import RecordedStep
from spikevae.training.run_folder import Progress
from spikevae.training.sets import load_sets

SIZE = 4
SMALL = {"encoder_widths": (4, 4, 4), "decoder_widths": (4, 4, 4), "prior_rank": 2, "prior_components": 1}


def learner_of(name: str, settings: dict[str, Any] | None = None) -> Learner:
    preset = PRESETS[name]
    train = replace(preset.train, batch_size=SIZE, warmup_images=1, ema_images=1)
    return Learner(
        replace(preset, model=replace(preset.model, **settings or {}), train=train), make_accelerator("auto")
    )


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fashion-mnist", SMALL),
        ("faces", {"encoder_widths": (4, 4), "decoder_widths": (4, 4), "image_size": 8, "latent_size": 16}),
        ("n-mnist", {"encoder_widths": (4, 4), "decoder_widths": (4, 4), "latent_size": 8}),
        ("n-mnist-classifier", {}),
    ],
)
def test_no_step_waits_for_a_value(name: str, settings: dict[str, Any]) -> None:
    """Fake tensors have none: whatever asks for one fails, as it would while a GPU records."""
    learner = learner_of(name, settings)
    model = learner.config.model
    shape = (SIZE, model.image_channels, *model.frame_size)
    for phase in filter(lambda phase: phase.epochs, phases_of(learner.config)):
        if phase.prepare is not None:
            phase.prepare(learner)
        with FakeTensorMode(allow_non_fake_inputs=True):
            x = torch.rand(model.time_steps, *shape) if model.takes_events else torch.rand(shape)
            new_z_seq = torch.rand(model.time_steps, SIZE, model.latent_size) if phase.samples else None
            terms = phase.step(learner, Batch(x, torch.zeros(SIZE, dtype=torch.long), SIZE, new_z_seq))
        assert terms["loss"].shape == ()


class Played(RecordedStep):
    """As on a GPU, but what is "recorded" is the call itself."""

    def _beside(self, learner: Learner, batch: Batch) -> dict[str, Tensor]:
        return self._step(learner, batch)

    def _record(self, learner: Learner, batch: Batch) -> None:
        self._batch = batch.map(Tensor.clone)
        step, kept = self._step, self._batch

        class Graph:
            def replay(self) -> None:
                played._terms = step(learner, kept)

        played = self
        self._graph = Graph()  # type: ignore[assignment]


def test_whole_batches_are_played_and_smaller_ones_taken_as_they_are() -> None:
    seen: list[tuple[int, float]] = []

    def step(learner: Learner, batch: Batch) -> dict[str, Tensor]:
        seen.append((batch.x.data_ptr(), float(batch.x[0])))
        return {"loss": batch.x.sum()}

    learner, played = learner_of("mnist"), Played(step)
    batches = [Batch(torch.full((SIZE,), float(number)), torch.zeros(SIZE), SIZE) for number in range(6)]
    batches.insert(5, Batch(torch.full((1,), 9.0), torch.zeros(1), 1))
    losses = [float(played(learner, batch)["loss"]) for batch in batches]
    assert losses == [0.0, 4.0, 8.0, 12.0, 16.0, 9.0, 20.0]  # each batch once, in its order
    assert [value for _, value in seen] == [0.0, 1.0, 2.0, 3.0, 4.0, 9.0, 5.0]
    addresses = [address for address, _ in seen]
    assert addresses[3] == addresses[4] == addresses[6]  # where the recording reads
    assert addresses[5] not in addresses[:5]


def test_a_step_that_cannot_be_recorded_is_taken_as_it_is_and_said_so_once(caplog: pytest.LogCaptureFixture) -> None:
    class Refused(Played):
        def _record(self, learner: Learner, batch: Batch) -> None:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    learner = learner_of("mnist")
    played = Refused(lambda learner, batch: {"loss": batch.x.sum()})
    with caplog.at_level(logging.INFO):
        losses = [float(played(learner, Batch(torch.ones(SIZE), torch.zeros(SIZE), SIZE))["loss"]) for _ in range(6)]
    assert losses == [4.0] * 6
    assert [record.getMessage() for record in caplog.records] == [
        "steps are taken one operation at a time: operation not permitted when stream is capturing"
    ]


def test_a_learning_rate_that_is_a_tensor_changes_in_place() -> None:
    learner = learner_of("mnist")
    for group in (*learner.optimizers[0].param_groups, *learner.discriminator_optimizer.param_groups):
        group["lr"] = torch.tensor(0.0)
    kept = [learner.optimizers[0].param_groups[0]["lr"], learner.discriminator_optimizer.param_groups[0]["lr"]]
    learner.set_learning_rate(0.25)
    assert [float(rate) for rate in kept] == [0.25, 0.5]


def test_threads_make_the_next_ones_in_order() -> None:
    started, names = [], set()
    begin = threading.Event()

    def make(number: int) -> int:
        started.append(number)
        names.add(threading.current_thread().name)
        begin.wait(5.0)
        return -number

    made = ahead(make, range(6), workers=2)
    threading.Timer(0.2, begin.set).start()
    assert next(made) == 0
    assert {0, 1} <= set(started)  # the second was begun before the first was there
    assert list(made) == [-1, -2, -3, -4, -5]
    assert threading.main_thread().name not in names
    assert list(ahead(lambda number: number + 1, range(3), workers=0)) == [1, 2, 3]


def test_an_epoch_that_goes_on_draws_the_new_images_that_it_would_have_drawn(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, train=replace(config.train, epochs=2, deterministic_share=0.0, adversarial_share=0.5))
    learner = Learner(config, make_accelerator("float32"))
    data, _ = load_sets(config, None, None)
    potentials = torch.randn(40 * config.model.classes, config.model.time_steps * config.model.latent_size)
    learner.generator.latent.fit(potentials, torch.arange(len(potentials)) % config.model.classes)
    phase, size = phases_of(config)[-1], config.train.batch_size
    start = phase.epochs.start * len(data)
    whole = list(batches_left(data, learner, phase, Progress(epoch=1, images_seen=start)))
    rest = list(batches_left(data, learner, phase, Progress(epoch=1, batches_done=1, images_seen=start + size)))
    assert len(rest) == len(whole) - 1
    for once, again in zip(whole[1:], rest, strict=True):
        assert once.total == again.total
        assert torch.equal(once.x, again.x)
        assert once.new_z_seq is not None
        assert again.new_z_seq is not None
        assert torch.equal(once.new_z_seq, again.new_z_seq)
    assert whole[-1].total == len(data) - (len(whole) - 1) * size
