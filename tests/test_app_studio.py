"""Pictures are changed and completed as a visitor asks, and every value is checked."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image

import app
from app import limits
from app.actions import Actions
from app.files import Files
from app.pictures import data_url
from app.show import Show
from app.studio import SLIDERS
from app.tabs.edit import EditTab
from spikevae.hub.checkpoints import load_generator
from spikevae.nn.editing import edit, principal_directions
from spikevae.nn.vae import SpikingVAE

MODEL = "tiny"
DIGIT = sorted((Path(app.__file__).parent / "examples").glob("mnist-*.png"))[0].read_bytes()
STILL = [0] * SLIDERS


@pytest.fixture(scope="module")
def actions(tiny_release: Path, autoregressive_release: Path, unlabelled_release: Path, grid_release: Path) -> Actions:
    return Actions([str(folder) for folder in (tiny_release, autoregressive_release, unlabelled_release, grid_release)])


@pytest.fixture(scope="module")
def model(tiny_release: Path) -> SpikingVAE:
    return load_generator(tiny_release)


def painted(left: int, right: int) -> str:
    """A mask that hides some columns of 28."""
    sheet = Image.new("L", (280, 280), 0)
    sheet.paste(255, (10 * left, 0, 10 * right, 280))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return data_url(buffer.getvalue())


def test_nothing_moved_is_the_sample_itself(actions: Actions, model: SpikingVAE) -> None:
    found = actions.studio.edit(MODEL, (5, "3", None), STILL, "any", 0)
    assert found.flips == 0
    assert found.image.equal(found.start)
    assert torch.allclose(found.start, model.sample(1, seed=5, label=3)[0], atol=1e-6)


def test_a_picture_moves_as_the_package_moves_it(actions: Actions, model: SpikingVAE) -> None:
    found = actions.studio.edit(MODEL, (0, "2", DIGIT), [2, *STILL[1:]], "any", 0)
    x = actions.read(MODEL, DIGIT)[None]
    potential = model.encode(x).potential
    assert potential is not None
    moved = potential + 2 * principal_directions(model, 2, 1)[0].step[:, None]
    assert torch.allclose(found.image, model.decode((moved > 0).float())[0], atol=1e-6)
    assert torch.allclose(found.start, model.reconstruct(x)[0], atol=1e-6)
    assert found.flips == int(((moved > 0) != (potential > 0)).sum())


def test_a_class_can_be_walked_towards() -> None:
    actions = Actions(["mnist"])
    assert actions.studio.edit("mnist", (5, "3", None), STILL, "3", 1).flips == 0
    found = actions.studio.edit("mnist", (5, "3", None), STILL, "7", 1)
    assert found.flips > 0
    before, after = actions.models.known("mnist").classify(torch.stack([found.start, found.image]))
    assert after[7] > before[7]


def test_every_direction_has_two_ends(actions: Actions, model: SpikingVAE) -> None:
    ends = actions.studio.ends(MODEL, "4")
    assert len(ends) == min(SLIDERS, model.config.prior_rank)
    assert all(end.low.shape == end.high.shape == (1, 28, 28) for end in ends)
    assert len({end.name for end in ends}) == len(ends)
    assert len(actions.studio.ends("unlabelled", "any")) > 0
    assert actions.studio.ends("autoregressive", "any") == []


def test_ends_are_of_what_temperature_0_draws(actions: Actions, grid_release: Path) -> None:
    model = load_generator(grid_release)
    typical = model.sample_potential([0], seed=8, labels=torch.tensor([4]), temperature=0.0)
    assert typical is not None
    (way,) = principal_directions(model, 4, 1)
    end = actions.studio.ends("grid", "4")[0]
    for image, amount in ((end.low, -2.5), (end.high, 2.5)):
        assert torch.allclose(image, edit(model, typical[:, 0], [way], [amount]), atol=1e-6)
    latent: Any = model.latent
    mean = latent.density.mean[4].view_as(way.step)
    assert not torch.allclose(end.low, edit(model, mean, [way], [-2.5]), atol=1e-3)


@pytest.mark.parametrize(
    ("start", "amounts", "towards", "way", "words"),
    [
        ((-1, "3", None), STILL, "any", 0, "seed -1"),
        ((1, "boots", None), STILL, "any", 0, "no class 'boots'"),
        ((1, "3", b"no picture"), STILL, "any", 0, "The file"),
        ((1, "3", None), [limits.AMOUNT + 1, *STILL[1:]], "any", 0, "amount 5 is out of range"),
        ((1, "3", None), [None, *STILL[1:]], "any", 0, "amount is missing"),
        ((1, "3", None), STILL, "boots", 0, "no class 'boots'"),
        ((1, "3", None), STILL, "7", 2, "way 2 is out of range"),
        ((1, "3", None), STILL, "7", float("nan"), "way nan"),
    ],
)
def test_what_is_asked_of_an_edit_is_checked(
    actions: Actions, start: Any, amounts: list[Any], towards: Any, way: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        actions.studio.edit(MODEL, start, amounts, towards, way)


def test_all_that_edit_computes_counts_among_what_is_computed_at_once(actions: Actions, tmp_path: Path) -> None:
    with gr.Blocks() as page:
        EditTab(actions, gr.Radio(list(actions.names), value=MODEL), Show(Files(tmp_path)))
    computed = [function for function in page.fns.values() if function.fn is not None]
    assert {function.concurrency_id for function in computed} == {"model"}
    assert {function.concurrency_limit for function in computed} == {limits.WORKERS}


def test_proposals_keep_what_is_visible(actions: Actions, model: SpikingVAE) -> None:
    x = actions.read(MODEL, DIGIT)
    found = actions.studio.complete(MODEL, DIGIT, painted(10, 20), 3, 4, "any")
    hidden = torch.zeros(28, 28)
    hidden[:, 10:20] = 1
    assert found.equal(model.inpaint(x, hidden, count=3, seed=4))
    assert found[:, :, :, :10].equal(x[None, :, :, :10].expand(3, -1, -1, -1))


@pytest.mark.parametrize(
    ("content", "mask", "count", "seed", "label", "words"),
    [
        (None, painted(0, 9), 3, 0, "any", "Choose a picture first"),
        (DIGIT, None, 3, 0, "any", "Paint over a part"),
        (DIGIT, "https://example.org/mask.png", 3, 0, "any", "Paint over a part"),
        (DIGIT, painted(0, 0), 3, 0, "any", "Paint over a part"),
        (DIGIT, "data:image/png;base64," + base64.b64encode(b"no picture").decode(), 3, 0, "any", "The file"),
        (DIGIT, painted(0, 9), limits.PROPOSALS + 1, 0, "any", "number of proposals"),
        (DIGIT, painted(0, 9), 3, -1, "any", "seed -1"),
        (DIGIT, painted(0, 9), 3, 0, "boots", "no class 'boots'"),
    ],
)
def test_what_is_to_be_completed_is_checked(
    actions: Actions, content: Any, mask: Any, count: Any, seed: Any, label: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        actions.studio.complete(MODEL, content, mask, count, seed, label)


def test_a_model_without_a_density_says_that_it_cannot(actions: Actions) -> None:
    assert not actions.models.has_density("autoregressive")
    with pytest.raises(ValueError, match="no density"):
        actions.studio.edit("autoregressive", (1, "any", None), STILL, "any", 0)
    with pytest.raises(ValueError, match="no density"):
        actions.studio.complete("autoregressive", DIGIT, painted(0, 9), 1, 0, "any")
