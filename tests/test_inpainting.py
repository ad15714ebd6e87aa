"""Completing pictures and moving along directions of the density."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import spikevae
from spikevae.nn import inpainting
from spikevae.nn.editing import direction_towards, edit, principal_directions
from spikevae.nn.vae import SpikingVAE
from tests.test_cli import one_line, run

MODELS = ["tiny_release", "grid_release", "unlabelled_release"]


@pytest.fixture(scope="module")
def garments() -> SpikingVAE:
    """The released model of Fashion-MNIST."""
    model: SpikingVAE = spikevae.load("fashion-mnist")
    return model


def right_half(size: int) -> torch.Tensor:
    """A mask of it."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[:, size // 2 :] = True
    return mask


@pytest.mark.parametrize("name", MODELS)
def test_proposals_keep_what_is_visible_and_repeat_with_their_seed(name: str, request: pytest.FixtureRequest) -> None:
    model = spikevae.load(request.getfixturevalue(name))
    size, channels = model.config.image_size, model.config.image_channels
    x, mask = torch.rand(channels, size, size), right_half(size)
    proposals = model.inpaint(x, mask, count=3, seed=1)
    assert proposals.shape == (3, channels, size, size)
    assert torch.equal(proposals[:, :, ~mask], x[:, ~mask].expand(3, -1, -1))
    assert 0 <= proposals.min() <= proposals.max() <= 1
    assert torch.equal(model.inpaint(x[None], mask.float()[None, None], count=3, seed=1), proposals)
    x[:, mask] = torch.nan  # what is hidden is not looked at
    assert torch.equal(model.inpaint(x, mask, count=3, seed=1), proposals)
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_potentials_have_a_gradient_in_their_noise(name: str, request: pytest.FixtureRequest) -> None:
    """Without it proposals are the best of some hundred samples, which nothing then fits to the picture."""
    latent = spikevae.load(request.getfixturevalue(name)).latent
    noise = latent.noise([np.random.default_rng(seed) for seed in range(3)]).requires_grad_()
    (gradient,) = torch.autograd.grad(latent.potential_of(noise).square().sum(), [noise])
    assert (gradient[:, 2:] != 0).float().mean() > 0.5


def test_what_is_hidden_is_found_again(garments: SpikingVAE) -> None:
    x, mask = garments.sample(2, seed=3), right_half(28)
    others = garments.sample(2, seed=4)
    for image, other in zip(x, others, strict=True):
        errors = (garments.inpaint(image, mask, count=4) - image).square()[:, :, mask].mean(dim=(1, 2))
        assert errors.min() < 0.5 * (other - image).square()[:, mask].mean()


def test_proposals_that_fit_best_come_first(grid_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors are of whole images, before what is visible is put back; two batches of proposals are one order."""
    monkeypatch.setattr(inpainting, "_CANDIDATES", 8)
    monkeypatch.setattr(inpainting, "_BATCH", 4)
    monkeypatch.setattr(inpainting, "_STEPS", 6)
    model: SpikingVAE = spikevae.load(grid_release)
    x, mask = torch.rand(1, 28, 28), right_half(28)
    decoded: list[torch.Tensor] = []
    decode = model.decode

    def remember(z_seq: torch.Tensor) -> torch.Tensor:
        decoded.append(decode(z_seq))
        return decoded[-1]

    monkeypatch.setattr(model, "decode", remember)
    proposals = model.inpaint(x, mask, count=6, seed=1)
    made = torch.cat([images for images in decoded if not images.requires_grad][-2:])  # the last of each batch
    errors = (made - x).square()[:, :, ~mask].mean(dim=(1, 2))
    assert not torch.equal(errors.argsort(), torch.arange(6))  # or another order would pass too
    assert torch.equal(proposals[:, :, mask], made[errors.argsort()][:, :, mask])


def test_a_class_may_be_asked_for(garments: SpikingVAE) -> None:
    top = torch.zeros(28, 28, dtype=torch.bool)
    top[4:] = True
    proposals = garments.inpaint(torch.zeros(1, 28, 28), top, count=4, label="ankle boot")
    assert (garments.classify(proposals).argmax(dim=1) == 9).sum() >= 3


def test_pictures_are_completed_in_inference_mode_too(garments: SpikingVAE) -> None:
    with torch.inference_mode():
        image = garments.sample(1)
        proposals = garments.inpaint(image, right_half(28), count=1)
    assert torch.equal(proposals, garments.inpaint(image.clone(), right_half(28), count=1))


def test_what_cannot_be_completed_is_refused(garments: SpikingVAE, autoregressive_release: Path) -> None:
    x, mask = torch.zeros(1, 28, 28), right_half(28)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"mask": right_half(14)}, "a mask"),
        ({"mask": torch.zeros(28, 28)}, "no pixel is hidden"),
        ({"x": torch.zeros(2, 1, 28, 28)}, "one image"),
        ({"x": torch.full((1, 28, 28), torch.nan)}, "NaN"),
        ({"x": torch.zeros(3, 28, 28)}, "images must be"),
        ({"count": 0}, "count=0"),
        ({"count": 257}, "1 to 256"),
        ({"seed": -1}, "seed=-1"),
        ({"label": "boat"}, "ankle boot"),
    )
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            garments.inpaint(**{"x": x, "mask": mask, "count": 1, **wrong})
    with pytest.raises(ValueError, match="no density"):
        spikevae.load(autoregressive_release).inpaint(x, mask)


def test_the_command_writes_proposals(tiny_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, mask = tmp_path / "a.png", tmp_path / "mask.png"
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(picture)
    Image.fromarray(np.tri(40, dtype=np.uint8) * 255).save(mask)
    words = ("inpaint", tiny_release, picture, "--count", "3", "--out", tmp_path / "filled.npz")
    assert run(*words, "--mask", mask) == 0
    pixels = np.load(tmp_path / "filled.npz")["arr_0"]
    assert pixels.shape == (3, 28, 28, 1)
    assert (pixels[:, 0, -1] == 90).all()
    assert run(*words, "--box", "0", "0", "14", "28") == 0
    Image.new("L", (30, 40)).save(mask)
    capsys.readouterr()
    wrong: tuple[tuple[list[str | Path], str], ...] = (
        ([], "either --mask FILE or --box"),
        (["--mask", mask], "30, 40"),
        (["--box", "5", "0", "4", "28"], "LEFT < RIGHT"),
        (["--box", "0", "0", "28", "28"], "is the whole picture; leave a part of it visible"),
        (["--mask", tmp_path / "none.png"], "none.png"),
    )
    for options, message in wrong:
        assert run(*words, *options) == 1
        assert message in one_line(capsys)


def test_a_mask_fits_the_picture_as_it_is_looked_at(
    tiny_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    Image.new("L", (60, 40), 90).save(tmp_path / "a.jpg", exif=sideways)
    words = ("inpaint", tiny_release, tmp_path / "a.jpg", "--count", "1", "--out", tmp_path / "filled.png")
    hole = np.zeros((60, 40), np.uint8)
    hole[:30] = 255
    Image.fromarray(hole).save(tmp_path / "upright.png")
    assert run(*words, "--mask", tmp_path / "upright.png") == 0
    Image.fromarray(hole.T).save(tmp_path / "lying.png")
    assert run(*words, "--mask", tmp_path / "lying.png") == 1
    assert "(60, 40) pixels, but the picture has (40, 60)" in one_line(capsys)
    Image.fromarray(np.pad(np.zeros((40, 40), np.uint8), ((10, 10), (0, 0)), constant_values=255)).save(
        tmp_path / "beside.png"
    )
    assert run(*words, "--mask", tmp_path / "beside.png") == 1
    assert "nothing is white in its central square" in one_line(capsys)


def test_a_thin_stroke_of_a_mask_is_filled_in_along_its_whole_length(tiny_release: Path, tmp_path: Path) -> None:
    Image.new("L", (280, 300), 90).save(tmp_path / "a.png")
    strokes = np.zeros((300, 280), np.uint8)
    strokes[10 + 143, 50:100] = 255  # one pixel of the ten that become one; ten rows above the square are not seen
    Image.fromarray(strokes).save(tmp_path / "mask.png")
    words = ("inpaint", tiny_release, tmp_path / "a.png", "--mask", tmp_path / "mask.png", "--count", "1")
    assert run(*words, "--out", tmp_path / "filled.npz") == 0
    changed = np.load(tmp_path / "filled.npz")["arr_0"][0, :, :, 0] != 90
    assert changed[14, 5:10].any()
    changed[14, 5:10] = False
    assert not changed.any()


def test_a_mask_that_leaves_nothing_of_the_picture_is_refused(
    tiny_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (40, 40), 90).save(tmp_path / "a.png")
    strokes = Image.new("RGBA", (40, 40), (0, 0, 0, 0))  # of a layer, which is transparent elsewhere
    strokes.paste((255, 255, 255, 255), (10, 10, 20, 20))
    strokes.save(tmp_path / "mask.png")
    words = ("inpaint", tiny_release, tmp_path / "a.png", "--mask", tmp_path / "mask.png")
    assert run(*words, "--out", tmp_path / "filled.png") == 1
    assert "is all white (as what is transparent is); paint black what is to stay" in one_line(capsys)


def test_directions_are_the_principal_ones_of_a_class(garments: SpikingVAE) -> None:
    start = garments.sample_potential([0], seed=0, labels=torch.tensor([9]))
    assert start is not None
    directions = principal_directions(garments, "Ankle boot", count=4)
    norms = [float(direction.step.norm()) for direction in directions]
    assert norms == sorted(norms, reverse=True)
    same = edit(garments, start[:, 0], directions, [0.0] * 4)
    assert torch.equal(same, garments.sample(1, seed=0, label=9)[0])
    changed = edit(garments, start[:, 0], directions[:1], [2.0])
    assert (changed - same).abs().mean() > 0.005


def test_a_direction_leads_to_another_class(garments: SpikingVAE) -> None:
    start = garments.sample_potential([0], seed=0, labels=torch.tensor([1]))
    assert start is not None
    towards = direction_towards(garments, start[:, 0], "Ankle boot")
    assert towards.name == "towards ankle boot"
    images = torch.stack([edit(garments, start[:, 0], [towards], [amount]) for amount in (0.0, 1.0)])
    assert garments.classify(images).argmax(dim=1).tolist() == [1, 9]


def test_every_class_is_reached_from_every_other(garments: SpikingVAE) -> None:
    """The mean of a class was the end once: half of the images there were of the class, and many were speckled."""
    starts = garments.sample_potential(range(10), seed=1, labels=torch.arange(10))
    assert starts is not None
    images, wanted = [], []
    for first in range(10):
        for other in {*range(10)} - {first}:
            towards = direction_towards(garments, starts[:, first], other)
            images.append(edit(garments, starts[:, first], [towards], [1.0]))
            wanted.append(other)
    found = garments.classify(torch.stack(images)).argmax(dim=1)
    assert (found == torch.tensor(wanted)).float().mean() > 0.85


@pytest.mark.usefixtures("unchecked_types")
def test_what_cannot_be_moved_along_directions_is_refused_in_one_line(garments: SpikingVAE) -> None:
    potentials = garments.sample_potential(range(4), seed=0)  # as many images as time steps
    assert potentials is not None
    directions = principal_directions(garments, 0, count=2)
    anything: Any = edit
    start = potentials[:, 0]
    for given, amounts, message in (
        (start, [1.0], "1 amounts for 2 directions; give one for each"),
        (potentials, [1.0, 0.0], r"potentials of one image are \[T, L\].*take potential\[:, n\]"),
        (start.flatten(), [1.0, 0.0], r"potentials of one image are \[T, L\]"),
        (start.numpy(), [1.0, 0.0], "potentials must be a tensor of torch"),
        (start, [1.0, float("nan")], "amount=nan along direction 2: expected a number"),
        (start, ["1", 0.0], "amount='1' along direction 1"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            anything(garments, given, directions, amounts)
        assert "\n" not in str(caught.value)
    towards: Any = direction_towards
    for given, message in (
        (potentials, r"\[T, L\] = \[4, 588\], got \[4, 4, 588\]"),
        (start.numpy(), "a tensor of torch"),
    ):
        with pytest.raises(ValueError, match=message):
            towards(garments, given, 0)


def test_directions_that_are_not_there_are_refused(
    garments: SpikingVAE, unlabelled_release: Path, autoregressive_release: Path
) -> None:
    with pytest.raises(ValueError, match="give a class"):
        principal_directions(garments)
    with pytest.raises(ValueError, match="count=0"):
        principal_directions(garments, 0, count=0)
    with pytest.raises(ValueError, match="no density"):
        principal_directions(spikevae.load(autoregressive_release), 0)
    unlabelled = spikevae.load(unlabelled_release)
    assert len(principal_directions(unlabelled, count=3)) == 3
    with pytest.raises(ValueError, match="no classes"):
        direction_towards(unlabelled, torch.zeros(3, 8), 0)


@pytest.mark.parametrize("name", [*MODELS, "autoregressive_release"])
def test_another_default_device_changes_nothing(name: str, request: pytest.FixtureRequest) -> None:
    model = spikevae.load(request.getfixturevalue(name))
    size = model.config.image_size
    x, mask = torch.rand(model.config.image_channels, size, size), right_half(size)

    def images() -> list[torch.Tensor]:
        made = [model.sample(3, seed=1), model.reconstruct(x[None])]
        if model.latent.has_density:
            made += [model.sample(2, seed=1, temperature=0.5), model.inpaint(x, mask, count=2)]
            made.append(model.sample_potential([1], seed=1))
        return made

    expected = images()
    with torch.device("meta"):
        found = images()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
