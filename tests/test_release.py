"""A finished run becomes a bundled model with a card; an unfinished one does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from spikevae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from spikevae.evaluation.scores import Score, Scores, write_scores_json
from spikevae.files import hash_file
from spikevae.hub.checkpoints import load
from spikevae.hub.model_card import Training, model_card
from spikevae.nn.networks import build_network
from spikevae.presets import preset_for
from spikevae.release import Release, _swap, release
from spikevae.training.loop import train

TRAINING = Training(
    train_images=95, validation_images=5, epoch=2, seconds=630.0, machine="2 CPU cores", versions={"torch": "2.14.1"}
)


@pytest.fixture(scope="module")
def run(made_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    start = preset_for("fashion-mnist")
    config = RunConfig(
        model=ModelConfig(
            class_names=start.model.class_names,
            time_steps=3,
            encoder_widths=(4, 4, 4),
            decoder_widths=(4, 4),
            latent_size=8,
            prior_rank=2,
        ),
        data=DataConfig(data_root=str(made_root)),
        train=TrainConfig(epochs=1, adversarial_share=0.0, batch_size=32),
    )
    folder = tmp_path_factory.mktemp("runs") / "made"
    train(config, folder)
    return folder


def test_a_released_model_is_the_model_of_its_run(run: Path, tmp_path: Path) -> None:
    folder = release(Release(run, "garments"), released=tmp_path)
    images = load(run).sample(3, seed=1)
    assert torch.equal(load(folder).sample(3, seed=1), images)
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}


def test_the_card_of_a_released_model_names_its_scores_and_another_data_set_if_told(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "garments"
    folder.mkdir()
    score = {"metric": "fad", "name": "FAD", "value": 1.25, "error": 0.125}
    record = dict.fromkeys(("subject", "subject_hash", "data", "protocol", "command"), "")
    scores = {**record, "seed": 0, "versions": {}, "scores": [score], "floors": [], "details": {}}
    (folder / "scores.json").write_text(json.dumps(scores))
    release(Release(run, "garments", dataset="celeba", note="Stopped twice."), released=tmp_path)
    card = (folder / "README.md").read_text()
    assert "Stopped twice." in card
    assert "1.25 ± 0.12" in card
    assert "CelebA" in card
    assert str(run) not in card
    assert json.loads((folder / "config.json").read_text())["dataset"] == "celeba"


def test_a_card_names_metrics_as_tables_do_and_gives_all_energies(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "garments"
    folder.mkdir()
    energy = Score("sample_energy", 61.79, name="energy of a sample (µJ)")
    costs = {"sample": {"microjoule": 61.79, "microjoule_folded": 14.16, "ann_microjoule": 68.24}}
    scores = Scores("garments", "", "mnist", "paper", 0, "", {}, (energy,), split="test", details={"costs": costs})
    write_scores_json(scores, folder / "scores.json")
    release(Release(run, "garments"), released=tmp_path)
    card = (folder / "README.md").read_text()
    assert "| energy of a sample (µJ) | 61.79 (gates folded 14.2, ordinary network 68.2) |" in card
    assert "type: sample_energy" in card
    assert "value: 61.79" in card


def test_a_card_has_no_scores_of_the_weights_before(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "garments"
    folder.mkdir()
    score = {"metric": "fad", "name": "FAD", "value": 1.25, "error": 0.125}
    record = dict.fromkeys(("model", "data", "protocol", "command"), "")
    scores = {**record, "weights_hash": "0" * 64, "seed": 0, "versions": {}, "scores": [score], "baselines": []}
    (folder / "scores.json").write_text(json.dumps(scores))
    release(Release(run, "garments"), released=tmp_path)
    assert "1.25 ± 0.12" not in (folder / "README.md").read_text()
    assert f"{folder / 'scores.json'} was measured with other weights" in caplog.text
    for known in (hash_file(folder / "model.safetensors"), "memory:" + "0" * 64):  # of a model in memory: who knows
        scores["weights_hash"] = known
        (folder / "scores.json").write_text(json.dumps(scores))
        release(Release(run, "garments"), released=tmp_path)
        assert "1.25 ± 0.12" in (folder / "README.md").read_text()


def test_a_card_shows_no_scores_on_other_images_than_a_test_split(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "garments"
    folder.mkdir()
    scores = Scores("garments", "", "mnist", "paper", 0, "", {}, (Score("fad", 1.25, 0.125),), split="validation")
    write_scores_json(scores, folder / "scores.json")
    release(Release(run, "garments"), released=tmp_path)
    assert "1.25" not in (folder / "README.md").read_text()
    assert "compares with the validation part and no test split" in caplog.text


def test_an_unfinished_run_is_not_released(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in run.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    record = json.loads((copy / "run.json").read_text())
    record["config"]["train"]["epochs"] = 2
    (copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="stands at epoch 1 of 2"):
        release(Release(copy, "garments"), released=tmp_path / "released")
    assert not (tmp_path / "released").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_release_that_is_too_large_leaves_the_one_before_as_it_was(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(Release(run, "garments"), released=tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr("spikevae.release._LARGEST", 1000)
    for name in ("garments", "new"):
        with pytest.raises(ValueError, match="a bundled model may take 1,000"):
            release(Release(run, name), released=tmp_path)
        assert contents(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["garments"]


def test_a_release_that_cannot_be_put_in_its_place_leaves_the_one_before(tmp_path: Path) -> None:
    new, folder = tmp_path / "missing", tmp_path / "garments"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        _swap(new, folder, tmp_path / "before")
    assert contents(tmp_path) == {"garments/config.json": b"{}"}


@pytest.mark.parametrize("name", [".", "..", "", "../x", "a/b", "/tmp/x", ".hidden", "a\n", "a" * 65, "-x", "a b"])
def test_a_name_of_a_release_is_no_path(run: Path, tmp_path: Path, name: str) -> None:
    released = tmp_path / "released"
    released.mkdir()
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(ValueError, match="no name of a model"):
        release(Release(run, name), released=released)
    assert contents(tmp_path) == {"notes.txt": b"precious"}


def test_a_release_follows_no_link(run: Path, tmp_path: Path) -> None:
    theirs, released = tmp_path / "theirs", tmp_path / "released"
    theirs.mkdir()
    released.mkdir()
    (released / "garments").symlink_to(theirs)
    with pytest.raises(ValueError, match="is no folder"):
        release(Release(run, "garments"), released=released)
    assert contents(theirs) == {}


@pytest.mark.parametrize(("dataset", "words"), [("mnist", "CC BY-SA 3.0"), ("folder:mine", "images of one's own")])
def test_the_card_says_where_the_data_comes_from_and_what_it_took(dataset: str, words: str) -> None:
    card = model_card(preset_for(dataset), TRAINING)
    for part in (words, "95 training images", "2 of", "10 minutes", "2 CPU cores", "torch 2.14.1", "seed 0"):
        assert part in card


def test_the_card_counts_parameters_beside_the_papers_and_states_a_split_that_is_not_official() -> None:
    assert "It has 1,832,576 parameters; the paper's network has about 1.83 million." in model_card(
        preset_for("dvs128-gesture"), TRAINING
    )
    smaller = preset_for("dvs128-gesture", "n-mnist-classifier")  # no network of the paper
    count = sum(weight.numel() for weight in build_network(smaller.model).parameters())
    assert f"It has {count:,} parameters. `config.json`" in model_card(smaller, TRAINING)
    for dataset in ("cifar10-dvs", "n-caltech101"):
        start = preset_for(dataset)
        known = dataclasses.replace(start, model=dataclasses.replace(start.model, class_names=("a", "b")))
        assert "the first 90 % of every class are for training" in model_card(known, TRAINING)


def test_the_card_names_further_data_without_the_folders_above_it() -> None:
    config = preset_for("n-mnist")
    data = dataclasses.replace(config.data, also="events:/home/Jane Doe/my recordings")
    card = model_card(dataclasses.replace(config, data=data), TRAINING)
    assert "among them those of events:my recordings;" in card
    assert "Doe" not in card
    data = dataclasses.replace(config.data, also="sim-n-mnist")
    assert "among them those of sim-n-mnist;" in model_card(dataclasses.replace(config, data=data), TRAINING)


def test_the_card_gives_the_command_that_makes_the_model_again() -> None:
    config = preset_for("mnist")
    assert "`spikevae train mnist --preset mnist`, seed 0" in model_card(config, TRAINING, name="mnist")
    assert "`spikevae train mnist`, set as `run.json` says, seed 0" in model_card(config, TRAINING)
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=7))
    assert "seed 7" in model_card(other, TRAINING, name="mnist")
