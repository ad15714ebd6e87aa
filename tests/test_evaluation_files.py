"""What evaluate writes and reads: nothing unasked, nothing lost, nothing that it should not open."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikevae.data.images import save_images
from spikevae.evaluation.command import evaluate, run
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics import METRICS, register
from spikevae.evaluation.metrics.registry import Metric
from spikevae.evaluation.reports.results import write_results
from spikevae.evaluation.reports.text import table_text
from spikevae.evaluation.scores import Baseline, Score, Scores, merge_scores_json, read_scores_json, write_scores_json
from spikevae.evaluation.settings import BUILT_IN, EvaluationConfig
from spikevae.evaluation.streams import first_images
from spikevae.hub.checkpoints import RELEASED


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationConfig:
    """Sharpness of 12 images against themselves, from an empty current folder."""
    save_images(torch.rand(12, 1, 8, 8), tmp_path / "x.npz")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return EvaluationConfig(images=tmp_path / "x.npz", reference=tmp_path / "x.npz", metrics=("sharpness",))


def test_no_file_is_written_that_was_not_asked_for(
    config: EvaluationConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config, print)
    assert "sharpness over real" in capsys.readouterr().out
    assert not list(Path.cwd().iterdir())
    run(dataclasses.replace(config, json=Path("a.json")), print)
    assert [path.name for path in Path.cwd().iterdir()] == ["a.json"]


def test_what_cannot_be_printed_is_kept_without_replacing_a_file(
    config: EvaluationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("scores.json").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    run(config, print)  # the table holds "±"
    assert Path("scores.json").read_text(encoding="utf-8") == "mine"
    assert read_scores_json(Path("scores-2.json")).value("sharpness") == pytest.approx(1)

    def closed(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(config, closed)
    assert Path("scores-3.json").is_file()


def test_a_name_that_is_no_utf_8_loses_neither_the_numbers_nor_the_page(config: EvaluationConfig) -> None:
    name = os.fsdecode(b"caf\xe9.npz")
    Path(name).write_bytes(Path(config.images or "").read_bytes())
    evaluate(dataclasses.replace(config, images=Path(name), json=Path("s.json"), report=Path("report")))
    assert read_scores_json(Path("s.json")).model == name
    assert "caf\\udce9.npz" in Path("report", "report.html").read_text(encoding="utf-8")


def test_names_from_strangers_cannot_control_the_terminal_by_a_table() -> None:
    bad = "x\x1b[2J\n\u202eforged  9.9"
    scores = Scores(
        bad, "", bad, "paper", 0, bad, {},
        (Score(bad, 1.0, extractor=bad, name=bad), Score("a", None, note=bad), Score("fad_papers", 1.0, note=bad)),
        baselines=(Baseline(bad, "fad_papers", 1.0, None, 5, bad, ""),),
    )  # fmt: skip
    lines = table_text(scores).split("\n")
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("forged") for line in lines)
    assert "x\\x1b[2J\\n\\u202eforged" in lines[0]


def test_places_are_checked_before_the_work(config: EvaluationConfig, tmp_path: Path) -> None:
    nothing = dataclasses.replace(config, images=tmp_path / "not-there.npz")
    with pytest.raises(ValueError, match=r"is a folder; name a file in it"):
        evaluate(dataclasses.replace(nothing, json=tmp_path))
    with pytest.raises(ValueError, match=r"x.npz is no folder"):
        evaluate(dataclasses.replace(nothing, report=tmp_path / "x.npz"))


def test_merging_replaces_what_is_measured_now_and_nothing_else(config: EvaluationConfig) -> None:
    path = Path("s.json")
    scores = evaluate(config)
    earlier = dataclasses.replace(
        scores, scores=(Score("fad", 1.5, name="FAD"), Score("sharpness", 9.0)), details={"confusion": [[1]]}
    )
    write_scores_json(earlier, path)
    evaluate(dataclasses.replace(config, json=path, merge=True))
    merged = read_scores_json(path)
    assert merged["fad"] == earlier["fad"]
    assert merged.value("sharpness") == pytest.approx(1)
    assert merged["sharpness"].command == scores.command
    assert merged.details == {"confusion": [[1]]}
    write_scores_json(dataclasses.replace(earlier, weights_hash="other"), path)
    with pytest.raises(ValueError, match=r"have weights_hash other, these have"):
        evaluate(dataclasses.replace(config, json=path, merge=True))
    for others in (
        dataclasses.replace(earlier, model="other.npz"),
        dataclasses.replace(earlier, protocol="torch-fidelity"),
    ):
        write_scores_json(others, path)
        with pytest.raises(ValueError, match=r"have (model other.npz|protocol torch-fidelity), these have"):
            evaluate(dataclasses.replace(config, json=path, merge=True))
    with pytest.raises(ValueError, match=r"--merge needs --json with a file of scores that is there"):
        dataclasses.replace(config, json=Path("gone.json"), merge=True)


@pytest.mark.parametrize(("name", "value"), [("split", "validation"), ("protocol", "torch-fidelity"), ("data", "x")])
def test_scores_that_will_not_go_together_are_refused_before_anything_is_measured(
    config: EvaluationConfig, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("s.json")
    other: dict[str, Any] = {name: value}
    write_scores_json(dataclasses.replace(evaluate(config), **other), path)
    measured: list[Evaluation] = []

    def note(evaluation: Evaluation) -> list[Score]:
        measured.append(evaluation)
        return []

    monkeypatch.setitem(METRICS, "mine", Metric("mine", note, {"mine": "mine"}))
    with pytest.raises(ValueError, match=f"have {name} {value}, these have"):
        run(dataclasses.replace(config, metrics=("mine",), json=path, merge=True), print)
    assert not measured
    assert [one.name for one in Path.cwd().iterdir()] == ["s.json"]


def test_scores_of_a_classifier_that_will_not_go_together_are_refused_before_it_looks_at_an_image(
    made_root: Path, tmp_path: Path
) -> None:
    config = EvaluationConfig(model="tcja-fashion-mnist", data_root=str(tmp_path / "nothing"), json=tmp_path / "s.json")
    of_others = Scores("m", "other", "fashion-mnist", "paper", 0, "c", {}, (), split="test")
    write_scores_json(of_others, tmp_path / "s.json")
    with pytest.raises(ValueError, match="have weights_hash other, these have"):  # and not that there are no data
        evaluate(dataclasses.replace(config, merge=True))


def test_numbers_that_cannot_be_written_where_they_should_are_kept_elsewhere(
    config: EvaluationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "there"

    def spoil(evaluation: Evaluation) -> list[Score]:
        folder.write_text("no folder any more", encoding="utf-8")
        return [Score("mine", 3.0)]

    monkeypatch.setitem(METRICS, "mine", Metric("mine", spoil, {"mine": "mine"}))
    with pytest.raises(OSError, match="there"):
        run(dataclasses.replace(config, metrics=("mine",), json=folder / "s.json"), print)
    assert "cannot be written, so the numbers are kept in scores.json" in capsys.readouterr().err
    assert read_scores_json(Path("scores.json")).value("mine") == 3.0


def test_scores_that_another_command_merged_meanwhile_stay(
    config: EvaluationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("s.json")
    evaluate(dataclasses.replace(config, json=path))

    def measure_while_another_ends(evaluation: Evaluation) -> list[Score]:
        evaluate(dataclasses.replace(config, metrics=("theirs",), json=path, merge=True))
        return [Score("mine", 1.0)]

    monkeypatch.setitem(METRICS, "theirs", Metric("theirs", lambda _: [Score("theirs", 2.0)], {"theirs": "theirs"}))
    monkeypatch.setitem(METRICS, "mine", Metric("mine", measure_while_another_ends, {"mine": "mine"}))
    evaluate(dataclasses.replace(config, metrics=("mine",), json=path, merge=True))
    assert [score.metric for score in read_scores_json(path).scores] == ["sharpness", "theirs", "mine"]
    assert list(Path.cwd().iterdir()) == [Path.cwd() / path]  # and no lock


def test_many_that_merge_into_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    empty = Scores("m", "ab", "mnist", "paper", 0, "c", {}, ())
    write_scores_json(empty, path)
    mine = [dataclasses.replace(empty, scores=(Score(str(number), 1.0),)) for number in range(12)]
    with ThreadPoolExecutor(len(mine)) as threads:
        list(threads.map(lambda scores: merge_scores_json(scores, path), mine))
    assert {score.metric for score in read_scores_json(path).scores} == {str(number) for number in range(12)}
    assert list(tmp_path.iterdir()) == [path]


def test_scores_against_other_images_are_kept_apart_from_those_of_a_test_split(
    config: EvaluationConfig, made_root: Path, tmp_path: Path
) -> None:
    save_images(torch.rand(12, 1, 28, 28), tmp_path / "a.npz")
    on_test = dataclasses.replace(
        config, images=tmp_path / "a.npz", reference=None, data="fashion-mnist", data_root=str(made_root)
    )
    on_validation = dataclasses.replace(on_test, split="validation")
    on_images = dataclasses.replace(on_test, reference=tmp_path / "a.npz")
    path = Path("s.json")
    assert (evaluate(on_images).data, evaluate(on_images).split) == (str(tmp_path / "a.npz"), "")
    evaluate(dataclasses.replace(on_test, json=path))
    for other, message in (
        (on_validation, "split test, these have validation"),
        (on_images, "data fashion-mnist, the"),
    ):
        with pytest.raises(ValueError, match=f"have {message}"):
            evaluate(dataclasses.replace(other, json=path, merge=True))
    assert read_scores_json(path).value("sharpness") == evaluate(on_test).value("sharpness")


def test_earlier_files_say_by_their_command_what_was_compared_with(tmp_path: Path) -> None:
    scores = Scores("m", "ab", "mnist", "paper", 0, "spikevae evaluate m", {}, ())
    path = tmp_path / "s.json"
    for options, data, split in (
        ("", "mnist", "test"),
        (" --split validation", "mnist", "validation"),
        (" --reference 'my own/x.npz'", "my own/x.npz", ""),
    ):
        write_scores_json(dataclasses.replace(scores, command=scores.command + options), path)
        stored = json.loads(path.read_text(encoding="utf-8"))
        del stored["split"]
        path.write_text(json.dumps(stored), encoding="utf-8")
        assert (read_scores_json(path).data, read_scores_json(path).split) == (data, split)


def test_only_scores_on_a_test_split_stand_beside_published_numbers(tmp_path: Path) -> None:
    on_test = read_scores_json(RELEASED / "mnist" / "scores.json")
    write_scores_json(dataclasses.replace(on_test, model="held out", split="validation"), tmp_path / "v.json")
    write_scores_json(dataclasses.replace(on_test, model="elsewhere", split=""), tmp_path / "r.json")
    files = [RELEASED / "mnist" / "scores.json", tmp_path / "v.json", tmp_path / "r.json"]
    text = write_results(files, tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| **mnist, paper protocol** | one shot |" in text
    assert "### held out, paper protocol, validation part" in text
    assert "**held out" not in text
    assert "**elsewhere" not in text


def test_numbers_by_other_weights_are_named_so_and_stand_beside_no_published_ones(tmp_path: Path) -> None:
    path = RELEASED / "mnist" / "scores.json"
    measured = read_scores_json(path)
    baseline = Baseline("pixel noise", "fid", 765.4, None, 5, "mnist test", "ab")
    for extractor, is_shown in (("inception-v3-compat", True), ("inception with OTHER WEIGHTS than published", False)):
        fid = Score("fid", 321.5, extractor=extractor, weights_hash="ab", name="FID")
        scores = dataclasses.replace(measured, scores=(*measured.scores[1:], fid), baselines=(baseline,))
        write_scores_json(scores, tmp_path / "s.json")
        text = write_results([tmp_path / "s.json"], tmp_path / "results.md").read_text(encoding="utf-8")
        compared, details = text.split("### mnist")
        assert [number in compared for number in ("321.5", "765.4")] == [is_shown, is_shown]
        assert ("| FID (OTHER WEIGHTS) | 321.5 |" in details) is not is_shown
        assert ("FID (OTHER WEIGHTS)" in table_text(scores)) is not is_shown


def test_what_cannot_be_measured_now_does_not_take_the_place_of_a_number() -> None:
    before = Scores(
        model="m", weights_hash="ab", data="mnist", protocol="paper", seed=0, command="then", versions={},
        scores=(Score("fid", 12.0), Score("kid", None, note="no weights")),
        baselines=(Baseline("real", "fid", 3.0, None, 5, "mnist test", "cd"),),
    )  # fmt: skip
    now = dataclasses.replace(
        before,
        command="now",
        baselines=(),
        scores=(Score("fid", None, note="no network"), Score("kid", None, note="?")),
    )
    merged = now.merged_into(before)
    assert merged["fid"] == before["fid"]
    assert merged.baselines == before.baselines
    assert merged["kid"].note == "?"


def test_scores_of_earlier_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(
        '{"subject": "mnist", "subject_hash": "ab", "data": "mnist", "protocol": "paper", "seed": 0, "command": "c", '
        '"versions": {}, "scores": [{"metric": "fad", "value": 1.0, "name": "FAD"}], "floors": [{"what": "blur", '
        '"metric": "fad", "value": 9.0, "error": null, "samples": 5, "reference": "t", "weights_hash": ""}], '
        '"details": {"costs": {"sample": {"microjoule": 2.0, "ann_microjoule": 3.0}}}}',
        encoding="utf-8",
    )
    scores = read_scores_json(tmp_path / "old.json")
    assert (scores.model, scores.weights_hash, scores.baselines[0].what) == ("mnist", "ab", "blur")
    assert scores.costs == {"sample": {"microjoule": 2.0, "ann_microjoule": 3.0}}


def test_released_scores_have_the_three_columns() -> None:
    for name, calls in (("fashion-mnist", 2), ("mnist", 2), ("faces", 1)):
        costs = read_scores_json(RELEASED / name / "scores.json").costs
        assert len(costs) == calls
        for columns in costs.values():
            assert columns["microjoule_folded"] < columns["ann_microjoule"] / 2
            assert columns["microjoule_folded"] < columns["microjoule"]


@pytest.fixture
def contrast() -> Iterator[str]:
    """The name of a metric that is registered as another program would."""

    @register("contrast")
    def measure_contrast(evaluation: Evaluation) -> list[Score]:
        ours, real = (first_images(one, 1000).float().std() for one in (evaluation.samples, evaluation.reference))
        return [Score("contrast", float(ours / real), better="1")]

    yield "contrast"
    del METRICS["contrast"]


def test_a_metric_is_added_from_outside_and_an_unknown_one_lists_the_known(
    config: EvaluationConfig, contrast: str
) -> None:
    scores: Scores = evaluate(dataclasses.replace(config, metrics=(contrast, "sharpness")))
    assert scores.value("contrast") == pytest.approx(1)
    with pytest.raises(ValueError, match=r"there is no metric 'fda'; use fad, fid, .*spikes, contrast"):
        evaluate(dataclasses.replace(config, metrics=("fda",)))


def test_the_help_names_every_metric() -> None:
    assert set(BUILT_IN) == set(METRICS)


def test_zips_and_bare_arrays_are_images_and_originals_are_not_scored(config: EvaluationConfig, tmp_path: Path) -> None:
    images = torch.rand(12, 1, 8, 8)
    save_images(images, tmp_path / "rec", torch.rand(12, 1, 8, 8))
    with zipfile.ZipFile(tmp_path / "rec.zip", "w") as archive:
        for file in (tmp_path / "rec").iterdir():
            archive.write(file, f"rec/{file.name}")
            archive.writestr(f"__MACOSX/rec/._{file.name}", b"no picture")
    np.save(tmp_path / "rec.npy", (images * 255).round().to(torch.uint8).numpy())
    found = [
        evaluate(dataclasses.replace(config, images=tmp_path / name))["sharpness"]
        for name in ("rec", "rec.zip", "rec.npy")
    ]
    assert {score.samples for score in found} == {12}
    assert found[0].value == pytest.approx(found[1].value)
    assert found[0].value == pytest.approx(found[2].value, rel=1e-5)


class Harm:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harmed",)


def test_files_that_are_no_images_or_weights_end_in_one_line(config: EvaluationConfig, tmp_path: Path) -> None:
    np.savez(tmp_path / "bytes.npz", np.full((12, 8, 8), 254.0))
    torch.save({"x": Harm()}, tmp_path / "pickle.pth")
    os.mkfifo(tmp_path / "pipe.npz")
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name, message in (("bytes.npz", "divide"), ("pipe.npz", "is a pipe"), ("cut.npz", "cut.npz")):
        with pytest.raises(ValueError, match=message):
            evaluate(dataclasses.replace(config, images=tmp_path / name))
    trusted = hashlib.sha256((tmp_path / "pickle.pth").read_bytes()).hexdigest()
    inception = dataclasses.replace(
        config, metrics=("fid",), inception_weights=tmp_path / "pickle.pth", inception_sha256=trusted
    )
    with pytest.raises(ValueError, match=r"pickle.pth is not a file of weights, and was not used"):
        evaluate(inception)
    assert not Path("harmed").exists()
    with pytest.raises(ValueError, match="--device gpu: PyTorch has no such device here; use cpu"):
        evaluate(dataclasses.replace(config, device="gpu"))
