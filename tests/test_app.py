"""What the page's buttons call, without a browser, and the page's calls from a program."""

from __future__ import annotations

import base64
import concurrent.futures
import io
import json
import os
import re
import shutil
import struct
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import app
import spikevae
from app import familiar as app_familiar
from app import limits, panels, pictures
from app.access import Access
from app.actions import Actions
from app.familiar import familiarity, is_foreign, measure, thresholds
from app.files import Files
from app.scores import scores_section
from app.server import bundled, running
from app.show import Show
from app.tabs.parts import Examples
from app.watch import Observation
from spikevae.evaluation.costs import Cost, Folded, LayerCost
from spikevae.evaluation.energy import measure_costs
from spikevae.evaluation.scores import Score, Scores, write_scores_json
from spikevae.hub.checkpoints import load_generator
from spikevae.nn.latents.mixture import Mixtures

MODEL = "tiny"
EXAMPLES = sorted((Path(app.__file__).parent / "examples").glob("*.png"))


@pytest.fixture(scope="module")
def actions(tiny_release: Path) -> Actions:
    return Actions([str(tiny_release)])


@pytest.fixture(scope="module")
def model(tiny_release: Path) -> spikevae.SpikingVAE:
    return load_generator(tiny_release)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def drawn(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(file_of(image)).decode()


def shoe() -> bytes:
    return EXAMPLES[0].read_bytes()


# ---------------------------------------------------------------- sampling


def test_the_page_shows_what_the_model_samples(actions: Actions, model: spikevae.SpikingVAE) -> None:
    found = actions.sample(MODEL, 20.0, 7.0, "any", 1)
    assert found.images.equal(model.sample(20, seed=7))
    assert actions.sample(MODEL, 3, 7, "3", 0.5).images.equal(model.sample(3, seed=7, label=3, temperature=0.5))


def test_progress_is_reported_up_to_the_end(actions: Actions) -> None:
    heard: list[float] = []
    actions.sample(MODEL, 40, 0, "any", 1.0, report=heard.append)
    assert heard == sorted(heard)
    assert len(heard) > 1
    assert heard[-1] == 1


def test_visitors_at_once_get_what_each_would_get_alone(actions: Actions) -> None:
    wishes = [(1 + n % 5, n, "any" if n % 2 else str(n % 10), 1.0) for n in range(24)]
    alone = [actions.sample(MODEL, *wish).images for wish in wishes]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        watched = [pool.submit(actions.look_inside_picture, MODEL, shoe()) for _ in range(4)]
        together = [future.result().images for future in [pool.submit(actions.sample, MODEL, *wish) for wish in wishes]]
    assert all(first.equal(second) for first, second in zip(alone, together, strict=True))
    first, *others = (future.result() for future in watched)
    assert all(other.spikes.keys() == first.spikes.keys() and other.cost == first.cost for other in others)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ((0, 0, "any", 1.0), "number of pictures 0 is out of range"),
        ((65, 0, "any", 1.0), "give one from 1 to 64"),
        ((2.5, 0, "any", 1.0), "not a whole number"),
        ((10**400, 0, "any", 1.0), "out of range"),
        (("8", 0, "any", 1.0), "is not a number"),
        ((True, 0, "any", 1.0), "is not a number"),
        ((None, 0, "any", 1.0), "is missing"),
        ((1, -1, "any", 1.0), "seed -1 is out of range"),
        ((1, 2**32, "any", 1.0), "give one from 0 to 4,294,967,295"),
        ((1, float("nan"), "any", 1.0), "out of range"),
        ((1, float("inf"), "any", 1.0), "out of range"),
        ((1, 0, "boots", 1.0), "no class 'boots'"),
        ((1, 0, ["1"], 1.0), "no class"),
        ((1, 0, "any", -0.1), "temperature -0.1 is out of range"),
        ((1, 0, "any", 1e9), "out of range"),
    ],
)
def test_every_setting_is_checked_on_the_server(actions: Actions, wish: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        actions.sample(MODEL, *wish)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_on_the_page_is_not_opened(actions: Actions, tiny_release: Path) -> None:
    for name in (str(tiny_release), "../tiny", "/etc", ""):
        with pytest.raises(ValueError, match="There is no model"):
            actions.sample(name, 1, 0, "any", 1.0)


def test_the_folder_that_one_is_in_has_its_own_name_on_the_page(
    tiny_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_release)
    assert Actions(["."]).names == ("tiny",)
    assert "tiny" in scores_section(".")


def test_two_models_of_one_name_are_refused(tiny_release: Path, tmp_path: Path) -> None:
    other = tmp_path / "tiny"
    shutil.copytree(tiny_release, other)
    with pytest.raises(ValueError, match="would all be called 'tiny'") as refused:
        Actions([str(tiny_release), str(other)])
    assert str(other) in str(refused.value)
    assert Actions([str(other), str(other)]).names == ("tiny",)  # the same one twice


def test_a_page_without_models_says_how_to_make_one() -> None:
    with pytest.raises(ValueError, match="spikevae train fashion-mnist"):
        Actions([])


# ---------------------------------------------------------------- pictures in


def test_a_picture_passes_as_the_model_would_pass_it(actions: Actions, model: spikevae.SpikingVAE) -> None:
    found = actions.reconstruct(MODEL, shoe())
    x = torch.from_numpy(np.array(Image.open(EXAMPLES[0])))[None, None].float() / 255
    assert found.seen.equal(x[0])
    assert found.image.equal(model.reconstruct(x)[0])
    assert found.probabilities is not None
    assert list(found.probabilities) == list(model.config.class_names)
    assert list(found.probabilities.values()) == model.classify(x)[0].tolist()


def test_dark_things_on_a_light_ground_are_inverted_unless_told_otherwise(actions: Actions) -> None:
    light = Image.new("L", (28, 28), 250)
    light.paste(10, (8, 8, 20, 20))
    content = file_of(light)
    as_it_is = actions.read(MODEL, content, "dark")
    assert torch.allclose(as_it_is, torch.from_numpy(np.array(light))[None] / 255)
    assert torch.allclose(actions.read(MODEL, content), 1 - as_it_is)
    assert actions.read(MODEL, shoe()).equal(actions.read(MODEL, shoe(), "dark"))
    with pytest.raises(ValueError, match="no background"):
        actions.read(MODEL, content, "green")


def test_a_drawing_counts_wherever_it_is_on_the_paper(actions: Actions) -> None:
    seen = []
    for left, top in ((10, 20), (150, 100)):
        paper = Image.new("RGB", (280, 280), "white")
        paper.paste("black", (left, top, left + 40, top + 90))
        seen.append(actions.read_drawing(MODEL, drawn(paper)))
    assert seen[0].equal(seen[1])
    rows = torch.nonzero(seen[0][0].amax(dim=1) > 0.5)
    assert int(rows.min()) == 4  # the margin of MNIST
    assert int(rows.max()) == 23


@pytest.mark.parametrize("drawing", [None, "", "hello", "data:image/png;base64,", "data:image/png;base64,%%%"])
def test_no_drawing_is_a_clear_message(actions: Actions, drawing: str | None) -> None:
    with pytest.raises(ValueError, match=r"Draw something|not base64|cannot be read"):
        actions.reconstruct_drawing(MODEL, drawing)
    with pytest.raises(ValueError, match="Draw something first"):
        actions.reconstruct_drawing(MODEL, drawn(Image.new("L", (280, 280), 255)))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size, and next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def refused_files() -> dict[str, bytes]:
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8))
    jpeg = file_of(noise, "JPEG")
    return {
        "decompression bomb": png_of_size(60_000, 60_000),
        "30,000 pixels wide": png_of_size(30_000, 600),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "text named .png": b"not an image at all",
        "truncated JPEG": jpeg[: len(jpeg) // 2],
        "zero bytes": b"",
        "too many bytes": bytes(limits.UPLOAD_BYTES + 1),
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    }


@pytest.mark.parametrize("kind", list(refused_files()))
def test_a_hostile_file_is_refused_in_one_clear_line(actions: Actions, kind: str) -> None:
    with pytest.raises(ValueError, match="The file") as caught:
        actions.reconstruct(MODEL, refused_files()[kind])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["CMYK", "16 bit", "RGBA", "animated GIF", "palette", "1 bit"])
def test_an_odd_file_is_seen_rightly(actions: Actions, kind: str) -> None:
    grey = Image.new("L", (28, 28), 0)
    grey.paste(200, (6, 6, 22, 22))
    red = Image.new("RGBA", (28, 28), (0, 0, 0, 255))
    red.paste((200, 200, 200, 255), (6, 6, 22, 22))
    files = {
        "CMYK": file_of(red.convert("RGB").convert("CMYK"), "TIFF"),
        "16 bit": file_of(Image.fromarray(np.array(grey).astype(np.uint16) * 257)),
        "RGBA": file_of(red),
        "animated GIF": file_of(grey, "GIF", save_all=True, append_images=[Image.new("L", (28, 28), 255)]),
        "palette": file_of(grey.convert("P")),
        "1 bit": file_of(grey.point(lambda value: 255 * (value > 100)).convert("1")),
    }
    seen = actions.reconstruct(MODEL, files[kind]).seen
    assert float(seen[0, 0, 0]) == pytest.approx(0, abs=0.01)
    assert float(seen[0, 14, 14]) == pytest.approx(1 if kind == "1 bit" else 200 / 255, abs=0.01)


def test_what_a_model_knows_nothing_of_is_told_from_its_data_set() -> None:
    own = {"fashion-mnist": "fashion-mnist-*.png", "mnist": "mnist-*.png"}
    actions = Actions(list(own))
    folder = Path(app.__file__).parent / "examples"
    noise = file_of(Image.fromarray(np.random.RandomState(0).randint(0, 256, (28, 28)).astype(np.uint8)))
    for name, pattern in own.items():
        for example in folder.glob(pattern):
            assert not actions.reconstruct(name, example.read_bytes()).is_foreign, example.name
        assert actions.reconstruct(name, noise).is_foreign
        assert actions.reconstruct(name, file_of(Image.new("L", (28, 28), 0)), "dark").is_foreign
    for example in folder.glob("fashion-mnist-*.png"):
        assert actions.reconstruct("mnist", example.read_bytes()).is_foreign


def test_thresholds_are_what_held_out_images_reach(model: spikevae.SpikingVAE) -> None:
    x = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    least = measure(model, x)
    posterior = model.encode(x)
    found = familiarity(model, x, model.decode(posterior.mode()), posterior.potential)
    assert found is not None
    assert 1 <= sum(is_foreign(picture, least) for picture in found) <= 4  # the last by each of the four numbers
    assert thresholds(Path(app.__file__)) is None


def test_thresholds_are_measured_on_pictures_of_any_size(
    tiny_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.RandomState(0)
    for number in range(40):
        Image.fromarray(random.randint(0, 256, (40, 48), dtype=np.uint8)).save(pictures / f"{number}.png")
    kept = tmp_path / "familiar.json"
    kept.write_text("{}")
    monkeypatch.setattr(app_familiar, "_FILE", kept)
    monkeypatch.setattr("sys.argv", ["familiar", str(tiny_release), f"folder:{pictures}"])
    app_familiar._measured.cache_clear()
    app_familiar.main()
    app_familiar._measured.cache_clear()
    (found,) = json.loads(kept.read_text()).values()
    assert found["held_out_images"] == 2


# ---------------------------------------------------------------- walks


def test_a_walk_starts_and_ends_at_its_ends_and_flips_each_spike_once(
    actions: Actions, model: spikevae.SpikingVAE
) -> None:
    walk = actions.walk_samples(MODEL, 1, "0", 2, "any", 7)
    assert len(walk.images) == 7
    assert torch.allclose(walk.images[0], model.sample(1, seed=1, label=0)[0], atol=1e-6)
    assert torch.allclose(walk.images[-1], model.sample(1, seed=2)[0], atol=1e-6)
    labels = torch.tensor([0])
    ends = model.sample_prior(range(1), seed=1, labels=labels), model.sample_prior(range(1), seed=2)
    assert walk.flips == int((ends[0] != ends[1]).sum()) > 0
    potential = model.sample_potential(range(1), seed=1, labels=labels)
    assert potential is not None
    assert (potential > 0).equal(ends[0].bool())


def test_a_walk_between_pictures_ends_at_their_reconstructions(actions: Actions) -> None:
    walk = actions.walk_pictures(MODEL, EXAMPLES[0].read_bytes(), EXAMPLES[7].read_bytes(), 3)
    for image, example in ((walk.images[0], EXAMPLES[0]), (walk.images[-1], EXAMPLES[7])):
        assert torch.allclose(image, actions.reconstruct(MODEL, example.read_bytes()).image, atol=1e-6)


def test_a_walk_to_itself_stands_still(actions: Actions) -> None:
    walk = actions.walk_samples(MODEL, 5, "any", 5, "any", 4)
    assert walk.flips == 0
    assert torch.allclose(walk.images, walk.images[:1].expand_as(walk.images), atol=1e-6)


def test_latents_without_potentials_walk_too(autoregressive_release: Path) -> None:
    actions = Actions([str(autoregressive_release)])
    walk = actions.walk_samples(autoregressive_release.name, 1, "any", 2, "any", 5)
    model = spikevae.load(autoregressive_release)
    assert torch.allclose(walk.images[0], model.sample(1, seed=1)[0], atol=1e-6)
    assert torch.allclose(walk.images[-1], model.sample(1, seed=2)[0], atol=1e-6)
    seen = actions.look_inside_picture(autoregressive_release.name, shoe())
    assert all(len(spikes) == model.config.time_steps for spikes in seen.spikes.values())
    with pytest.raises(ValueError, match="no classes to sample"):
        actions.sample(autoregressive_release.name, 1, 0, "3", 1.0)


# ---------------------------------------------------------------- models that lack something


@pytest.mark.parametrize("dataset", ["/home/someone/pictures", "../examples/mnist", "**mnist", "*", ""])
def test_a_model_of_any_data_has_examples_and_of_other_data_its_own(
    dataset: str, tiny_release: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_release, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "dataset": dataset}), encoding="utf-8")
    (tmp_path / "files").mkdir()
    examples = Examples(Actions([str(folder)]), Show(Files(tmp_path / "files")))["tiny"]
    assert [Path(path).name for path in examples] == ["picture.png"] * 6


def test_a_model_without_labels_does_all_but_name_things(unlabelled_release: Path) -> None:
    actions = Actions([str(unlabelled_release)])
    assert not actions.has_class_choice("unlabelled")
    assert actions.models.has_density("unlabelled")
    assert actions.sample("unlabelled", 2, 0, "any", 1.0).images.shape == (2, 3, 16, 16)
    assert actions.reconstruct("unlabelled", shoe()).probabilities is None
    paper = Image.new("L", (280, 280), 255)
    paper.paste(0, (100, 40, 130, 240))
    seen = actions.reconstruct_drawing("unlabelled", drawn(paper)).seen
    assert seen.shape == (3, 16, 16)
    assert float(seen[:, 0, 0].min()) == 1  # a drawing's paper stays white in colour
    assert len(actions.walk_samples("unlabelled", 1, "any", 2, "any", 3).images) == 3
    assert len(actions.look_inside_picture("unlabelled", shoe()).forming) == 3
    with pytest.raises(ValueError, match="no class '3'"):
        actions.sample("unlabelled", 1, 0, "3", 1.0)


def test_a_model_says_which_choices_it_has(actions: Actions, autoregressive_release: Path) -> None:
    assert actions.has_class_choice(MODEL)
    other = Actions([str(autoregressive_release)])
    assert not other.has_class_choice("autoregressive")
    assert not other.models.has_density("autoregressive")


# ---------------------------------------------------------------- looking inside


def test_what_is_seen_inside_agrees_with_what_is_measured(actions: Actions, model: spikevae.SpikingVAE) -> None:
    seen = actions.look_inside_picture(MODEL, shoe())
    x = actions.read(MODEL, shoe())[None]
    assert seen.image.equal(model.reconstruct(x)[0])
    assert torch.allclose(seen.forming[-1], seen.image, atol=1e-6)
    costs = measure_costs(model, x, seed=0)
    assert seen.cost.accumulates == costs["encode"].accumulates + costs["decode"].accumulates
    assert seen.cost.microjoule == pytest.approx(costs["encode"].microjoule + costs["decode"].microjoule)
    for name, spikes in seen.spikes.items():
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}
        assert spikes.mean(dim=1).tolist() == pytest.approx(seen.cost.firing_rates[name])
    for gate in seen.gates.values():
        assert gate.shape[0] == model.config.time_steps
        assert 0 < float(gate.min()) <= float(gate.max()) < 1


def test_looking_inside_leaves_nothing_on_the_model(actions: Actions) -> None:
    before = actions.sample(MODEL, 2, 3, "any", 1.0).images
    seen = actions.look_inside_sample(MODEL, 3, "any")
    assert torch.allclose(seen.image, before[0], atol=1e-6)  # that one was computed beside another
    assert all(name.startswith("decoder") for name in seen.spikes)
    network = actions.models.known(MODEL)
    density = network.latent.density
    assert isinstance(density, Mixtures)
    assert seen.cost.layers["latent.density"].multiply_accumulates == density.connections
    assert not any(module._forward_hooks for module in network.modules())
    assert actions.sample(MODEL, 2, 3, "any", 1.0).images.equal(before)


def test_the_panels_say_in_words_what_they_show(actions: Actions) -> None:
    seen = actions.look_inside_picture(MODEL, shoe())
    parts = [
        panels.spikes_panel(seen),
        panels.gates_panel(seen),
        panels.rates_panel(seen),
        panels.energy_panel(seen),
    ]
    page = "".join(parts)
    assert page.count("<img") == page.count('alt="') == len(seen.spikes) + len(seen.gates)
    for energy in (seen.cost.microjoule, seen.cost.microjoule_folded, seen.cost.ann_microjoule):
        assert f"{energy:.2f} µJ" in parts[3]
        assert f"{1000 * energy:,.1f}</td>" in parts[3]  # the sum of the layers
    assert f"{sum(layer.folded.accumulates for layer in seen.cost.layers.values()):,.0f}</td>" in parts[3]
    assert "encoder stage 1" in page
    assert "decoder entry" in page


def test_the_longest_bar_is_the_costliest_and_the_others_are_in_proportion() -> None:
    folded = Folded(accumulates=2e6, multiplies=1e5)
    layer = LayerCost("decoder.expand.synapses", accumulates=1e6, multiply_accumulates=2e6, dense=1e6, folded=folded)
    energies = layer.picojoule / 1e6, layer.folded.picojoule / 1e6, 4.6
    one = torch.zeros(1, 4, 4)
    page = panels.energy_panel(Observation(one, one[None], one[None], {}, {}, Cost({layer.name: layer})))
    shares = [float(share) for share in re.findall(r"--share:([\d.]+)%", page)]
    assert shares == pytest.approx([100 * energy / max(energies) for energy in energies], abs=0.1)
    assert f"(b) take {4.6 / energies[1]:.1f} times less energy" in page


def test_the_columns_of_a_layer_can_be_computed_from_its_operations() -> None:
    folded = Folded(accumulates=5_000.0, multiplies=2_000.0, shifts=7_000.0)
    layer = LayerCost("decoder.expand.synapses", accumulates=9.0, dense=9.0, folded=folded)
    one = torch.zeros(1, 4, 4)
    page = panels.energy_panel(Observation(one, one[None], one[None], {}, {}, Cost({layer.name: layer})))
    nanojoule = f"{(0.9 * 5_000 + 3.7 * 2_000 + 0.1 * 7_000) / 1e3:,.1f}"
    cells = re.findall(r"<td[^>]*>([\d.,]+)</td>", page)
    assert cells[-5:] == [nanojoule, "0.0", "5,000", "2,000", "7,000"]


# ---------------------------------------------------------------- files out


def test_downloads_hold_the_pictures_and_how_to_make_them_again(actions: Actions) -> None:
    images = actions.sample(MODEL, 5, 1, "any", 1.0).images
    settings = {"model": MODEL, "seed": 1}
    content = pictures.archive(images, settings)
    assert content == pictures.archive(images, settings)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [f"{number:04}.png" for number in range(5)] + ["settings.json"]
        assert json.loads(archive.read("settings.json")) == settings
        with Image.open(archive.open("0003.png")) as image:
            assert np.array_equal(np.array(image), (images[3, 0] * 255).round().byte().numpy())
    with Image.open(io.BytesIO(pictures.grid_png(images))) as grid:
        assert grid.size == (3 * 112 + 2 * 2, 2 * 112 + 2)
        assert np.array_equal(np.array(grid)[:112:4, :112:4], (images[0, 0] * 255).round().byte().numpy())


def test_an_animation_runs_there_and_back(actions: Actions) -> None:
    content = pictures.animation(torch.linspace(0, 1, 4)[:, None, None, None].expand(4, 1, 5, 5), scale=2)
    with Image.open(io.BytesIO(content)) as film:
        assert len(list(ImageSequence.Iterator(film))) == 6
        assert film.size == (10, 10)
        assert film.info["loop"] == 0


def test_names_from_outside_are_escaped() -> None:
    page = pictures.scores_table(("", "<b>"), [pictures.Row("<script>", ["&"], note="<p>")], "<i>", "<u>")
    assert not any(tag in page for tag in ("<script>", "<i>", "<u>", "<b>", "<small><p>"))


def test_scores_are_shown_or_said_to_be_missing(tiny_release: Path, tmp_path: Path) -> None:
    assert "spikevae evaluate" in scores_section(str(tiny_release))
    folder = tmp_path / "scored"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((tiny_release / name).read_bytes())
    score = Score("fad", 12.345, error=0.2, better="lower", samples=5000, name="FAD (autoencoder)")
    scores = Scores("scored", "", "mnist", "paper", 0, "spikevae evaluate scored", {}, (score,))
    write_scores_json(scores, folder / "scores.json")
    page = scores_section(str(folder))
    assert "12.35 ± 0.20" in page
    assert "FAD (autoencoder)" in page
    write_scores_json(replace(scores, weights_hash="0" * 64), folder / "scores.json")
    assert "12.35" not in scores_section(str(folder))  # of other weights


# ---------------------------------------------------------------- the page's calls, over the network


@pytest.fixture(scope="module")
def client(page_address: str) -> Iterator[Any]:
    from gradio_client import Client

    client = Client(page_address, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def pixels(path: str) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.array(image)


def test_every_button_can_be_called_by_a_stable_name(client: Any) -> None:
    calls = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(calls) == {
        "/sample", "/random_seed", "/reconstruct", "/reconstruct_drawing",
        "/walk_samples", "/walk_pictures", "/look_inside_sample", "/look_inside_picture", "/watch_spikes", "/compare",
        "/edit", "/complete", "/play_recordings",
    }  # fmt: skip
    names = [parameter["parameter_name"] for parameter in calls["/sample"]["parameters"]]
    assert names == ["model", "count", "seed", "label", "temperature"]


def test_a_call_gives_the_models_pictures_as_png(client: Any, model: spikevae.SpikingVAE) -> None:
    gallery, grid, archive, line = client.predict(MODEL, 3, 11, "any", 1.0, api_name="/sample")
    expected = (model.sample(3, seed=11) * 255).round().byte()
    for entry, image in zip(gallery, expected, strict=True):
        enlarged = pixels(entry["image"])  # so that it can be looked at where it is saved
        assert enlarged.shape == (280, 280)
        assert np.array_equal(enlarged[::10, ::10], image[0].numpy())
        assert np.array_equal(enlarged[9::10, 9::10], image[0].numpy())
    assert pixels(grid).shape == (226, 226)
    assert zipfile.is_zipfile(archive)
    assert "?model=tiny&amp;count=3&amp;seed=11&amp;label=any&amp;temperature=1.0" in line


def test_a_link_names_the_class_that_a_number_stands_for(client: Any) -> None:
    _, _, _, line = client.predict(MODEL, 1, 11, 0, 1.0, api_name="/sample")
    assert "label=0&amp;" in line


def test_all_calls_answer(client: Any) -> None:
    from gradio_client import handle_file

    first, other = (handle_file(str(path)) for path in EXAMPLES[:2])
    seed = client.predict(api_name="/random_seed")
    assert 0 <= seed <= limits.SEED_LIMIT
    seen, again, classes, _ = client.predict(MODEL, first, "auto", api_name="/reconstruct")
    assert pixels(seen).shape == pixels(again).shape == (280, 280)
    assert len(classes["confidences"]) == 5
    paper = Image.new("L", (280, 280), 255)
    paper.paste(0, (100, 40, 130, 240))
    assert client.predict(MODEL, drawn(paper), api_name="/reconstruct_drawing")[2]["label"]
    for found in (
        client.predict(MODEL, 1, "any", 2, "any", 4, api_name="/walk_samples"),
        client.predict(MODEL, first, other, 4, api_name="/walk_pictures"),
    ):
        assert len(found[1]) == 4
    start, changed, line = client.predict(MODEL, 1, "3", first, 2, 0, 0, 0, 0, 0, "any", 0, api_name="/edit")
    assert pixels(start).shape == pixels(changed).shape == (280, 280)
    proposals, _ = client.predict(
        MODEL, first, drawn(Image.new("L", (280, 280), 255)), 2, 0, "any", api_name="/complete"
    )
    assert len(proposals) == 2
    animation, line = client.predict(MODEL, 1, "any", 5, api_name="/watch_spikes")
    assert pixels(animation).ndim == 3
    assert "additions" in line
    one, _, other, _ = client.predict(MODEL, "3", 1.0, "autoregressive", "any", 1.0, 4, 9, api_name="/compare")
    assert len(one) == len(other) == 4
    for found in (
        client.predict(MODEL, 1, "any", api_name="/look_inside_sample"),
        client.predict(MODEL, first, api_name="/look_inside_picture"),
    ):
        assert [entry["caption"] for entry in found[0]] == ["t = 1", "t = 2", "t = 3"]
        assert "<table" in found[1]


def test_a_mistake_is_answered_in_words_and_a_failure_without_its_trace(client: Any, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    text = tmp_path / "text.png"
    text.write_bytes(b"not an image at all")
    for arguments, name, words in (
        ((MODEL, 3, -1, "any", 1.0), "/sample", "seed -1 is out of range"),
        ((MODEL, 3, 1, "boots", 1.0), "/sample", "no class 'boots'"),
        (("/etc", 3, 1, "any", 1.0), "/sample", "There is no model '/etc' here"),
        ((MODEL, handle_file(str(text)), "auto"), "/reconstruct", "not a known image format"),
        ((MODEL, None, "auto"), "/reconstruct", "Choose a picture first"),
    ):
        with pytest.raises(AppError, match=words) as caught:
            client.predict(*arguments, api_name=name)
        assert "Traceback" not in str(caught.value)


def posted(address: str, name: str, data: list[Any]) -> str:
    """What a plain HTTP client gets: the call's whole stream of events."""
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{name}",
        json.dumps({"data": data}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.loads(answer.read())["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/{name}/{event}", timeout=60) as answer:
        return str(answer.read().decode())


def answered(address: str, name: str, data: list[Any], *, on_page: bool) -> dict[str, Any]:
    """What a browser is answered, whose page was used, or a program that calls as a browser does."""
    with urllib.request.urlopen(f"{address}/config", timeout=60) as answer:
        calls = json.loads(answer.read())["dependencies"]
    (call,) = (call for call in calls if call["api_name"] == name)
    session = f"of-{name}-{on_page}"
    asked = {"fn_index": call["id"], "data": data, "session_hash": session}
    request = urllib.request.Request(
        f"{address}/gradio_api/queue/join",
        json.dumps(asked | ({"trigger_id": call["targets"][0][0]} if on_page else {})).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=60).close()
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=60) as answer:
        for line in answer:
            if b"process_completed" in line:
                return dict(json.loads(line.removeprefix(b"data: ")))
    raise AssertionError("no answer")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("sample", ["unlabelled", 2, 1, "3", 1.0], "no class '3'"),
        ("sample", ["autoregressive", 2, 1, "3", 1.0], "no classes to sample"),
        ("sample", ["autoregressive", 2, 1, "any", 0.5], "temperature=0.5"),
        ("walk_samples", ["unlabelled", 1, "0", 2, "9", 3], "no class '0'"),
        ("look_inside_sample", ["unlabelled", 0, "3"], "no class '3'"),
        ("watch_spikes", ["unlabelled", 3, "3", 5], "no class '3'"),
        ("edit", ["unlabelled", 1, "0", None, 0, 0, 0, 0, 0, 0, "7", 0], "no class '0'"),
        ("compare", ["tiny", "3", 1, "unlabelled", "3", 1, 2, 0], "no class '3'"),
    ],
)
def test_what_a_page_sends_of_the_model_before_is_no_mistake_of_a_visitor(
    page_address: str, name: str, data: list[Any], words: str
) -> None:
    seen = answered(page_address, name, data, on_page=True)
    assert seen["success"], seen["output"]
    told = answered(page_address, name, data, on_page=False)
    assert not told["success"]
    assert words in told["output"]["error"]


def test_a_class_that_no_model_has_is_a_mistake_on_the_page_too(page_address: str) -> None:
    told = answered(page_address, "sample", ["tiny", 2, 1, "boots", 1.0], on_page=True)
    assert "no class 'boots'" in told["output"]["error"]


def test_the_page_is_for_this_machine_only_unless_told_otherwise() -> None:
    import inspect

    assert inspect.signature(app.launch).parameters["host"].default == "127.0.0.1"


def test_the_page_begins_with_the_models_that_can_name_its_examples() -> None:
    names = bundled()
    assert set(names) <= set(spikevae.released_models())
    can_name = [spikevae.load(name).classifier is not None for name in names]
    assert can_name == sorted(can_name, reverse=True)
    assert names[:2] == ["fashion-mnist", "mnist"]  # of whose data sets it has test images


def test_a_taken_port_is_named(tiny_release: Path, page_address: str) -> None:
    port = int(page_address.rpartition(":")[2])
    words = rf"127\.0\.0\.1:{port} cannot be listened on"
    with pytest.raises(OSError, match=words), running([str(tiny_release)], Access(port=port)):
        pass


def listed(folder: Path) -> set[str]:
    """What is in a folder, while some of it is deleted."""
    return {os.path.join(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files)}


def test_files_of_old_requests_are_deleted(
    tiny_release: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    from gradio_client import Client

    monkeypatch.setattr(limits, "KEEP_SECONDS", 3)
    with running([str(tiny_release)], Access(port=unused_port)) as address:
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        shown = listed(folder)
        assert shown
        client = Client(address, verbose=False, analytics_enabled=False)
        client.predict(MODEL, 3, 5, "any", 1.0, api_name="/sample")
        client.close()
        assert listed(folder) > shown
        for _ in range(100):  # 20 s, but not by the clock: the machine may be busy with something else
            if listed(folder) == shown:
                break
            threading.Event().wait(0.2)
        assert listed(folder) == shown  # what every visitor sees first stays
    assert not folder.exists()


def test_strangers_are_asked_for_the_password(tiny_release: Path, unused_port: int) -> None:
    with running([str(tiny_release)], Access(port=unused_port, auth="me:secret")) as address:
        with pytest.raises(urllib.error.HTTPError) as caught:
            posted(address, "sample", [MODEL, 1, 0, "any", 1.0])
        caught.value.close()
        assert caught.value.code == 401


def test_many_visitors_at_once_are_all_served(page_address: str) -> None:
    from benchmarks.visitors import visit

    report = visit(page_address, MODEL, visitors=32, seconds=2.0)
    assert report.failures == []
    assert report.requests >= 32
