"""The ablation of attention on event data: its queue, its divisions and its table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.ablation import ATTENTIONS, LARGE_SETS, Task, parts, queue, run, settings, table
from spikevae.presets import PRESETS
from tests.made_events import write_dvs128, write_n_mnist


def test_the_queue_begins_with_what_tells_most() -> None:
    tasks = queue(seeds=3)
    assert len({task.key for task in tasks}) == len(tasks) == 2 * 4 * 3 + 5
    assert {task.attention for task in tasks[:12]} == {"tcja", "none"}
    assert {task.name for task in tasks[:6]} == {"sim-gestures"}
    assert [task.name for task in tasks].count("n-mnist-folds") == 5


def test_the_large_sets_are_asked_for_by_name_and_take_the_papers_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tasks = queue(3, ("dvs128-gesture",))
    assert [task.key for task in tasks[:2]] == ["dvs128-gesture/tcja/0", "dvs128-gesture/none/0"]
    assert len(tasks) == 12
    with pytest.raises(ValueError, match="--only dvs is none of sim-gestures, n-mnist, n-mnist-folds, dvs128-gesture"):
        queue(3, ("dvs",))
    write_dvs128(tmp_path / "root", "class,startTime_usec,endTime_usec\n1,0,100000\n11,150000,250000\n")
    for name in LARGE_SETS:
        config = settings(Task(name, "none", 1), str(tmp_path / "root"))
        paper = PRESETS[f"tcja-{name.removesuffix('-gesture')}"]
        assert (config.model.layers, config.train.epochs) == (paper.model.layers, paper.train.epochs)
        assert (config.model.attention, config.train.seed) == ("none", 1)
    found = run("dvs128-gesture/none/0", tmp_path / "run", True, data_root=str(tmp_path / "root"), is_quick=True)
    assert found["recordings"] == [2, 2]
    assert found["parameters"] == 1_832_576 - 2 * (128 * 128 * 4 + 20 * 20 * 4)


def test_runs_differ_in_attention_and_seed_alone(tmp_path: Path) -> None:
    made = [settings(Task("n-mnist", attention, 2), str(tmp_path)) for attention in ATTENTIONS]
    assert [config.model.attention for config in made] == list(ATTENTIONS)
    assert len({config.train for config in made}) == len({config.data for config in made}) == 1
    assert made[0].train.seed == 2
    assert settings(Task("n-mnist-folds", "tcja", 2), str(tmp_path)).train.seed == 0


def test_folds_test_every_recording_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_n_mnist(tmp_path, train=40, test=10)
    tested = []
    for fold in range(5):
        task = Task("n-mnist-folds", "tcja", fold)
        train_set, test_set = parts(task, settings(task, str(tmp_path)))
        learned = {frames.numpy().tobytes() for frames in train_set.frames()}
        held_out = {frames.numpy().tobytes() for frames in test_set.frames()}
        assert not learned & held_out
        tested.append(test_set.frames())
    assert len({frames.numpy().tobytes() for frames in torch.cat(tested)}) == 40  # ten digits are in both splits


def test_the_table_has_mean_and_deviation() -> None:
    common = {"parameters": 1234, "microjoule": 2.0, "microjoule_folded": 1.0}
    results = {
        "sim-gestures/none/0": {"accuracy": 0.90, **common},
        "sim-gestures/tcja/0": {"accuracy": 0.98, **common},
        "sim-gestures/tcja/1": {"accuracy": 0.96, **common},
    }
    rows = list(table(results))[2:]
    assert rows[0] == "| sim-gestures | tcja | 2 | 97.00 ± 1.41 % | 1,234 | 2.00 | 1.00 |"
    assert rows[1] == "| sim-gestures | none | 1 | 90.00 % | 1,234 | 2.00 | 1.00 |"
