"""Models on the Hugging Face hub, against a small one on the loopback that speaks its endpoints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData, constants

import spikevae
from spikevae.cli import main
from spikevae.files import hash_file
from spikevae.hub.card_metadata import card_metadata
from spikevae.hub.checkpoints import LARGEST_CONFIG, load_generator, model_folder, save_release
from spikevae.hub.pushed import without_places
from spikevae.hub.remote import push
from tests.hub_server import READER, WRITER, Hub, serving

# What the hub's library says to itself as it uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub and an empty cache, both only for this test, and a token that may write."""
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        yield hub


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_what_is_pushed_is_loaded_and_draws_the_same(hub: Hub, tiny_release: Path, tmp_path: Path) -> None:
    address = push(tiny_release, "somebody/tiny")
    assert address.startswith(f"{hub.address}/somebody/tiny/commit/")
    model = spikevae.load("hf:somebody/tiny")
    assert torch.equal(model.sample(2, seed=3), spikevae.load(tiny_release).sample(2, seed=3))


def test_nothing_but_the_model_leaves_the_machine(hub: Hub, tiny_release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name, data in files_of(tiny_release).items():
        (folder / name).write_bytes(data)
    for name in ("state.pt", "run.json", "secret.txt"):
        (folder / name).write_text("mine")
    (folder / "scores.json").write_text(json.dumps({"weights_hash": "0" * 64}))  # of earlier weights
    model = {"config.json", "model.safetensors", "README.md"}
    push(folder, "somebody/run")
    assert set(hub.repositories["somebody/run"]["main"]) == model
    (folder / "scores.json").write_text(json.dumps({"weights_hash": hash_file(folder / "model.safetensors")}))
    push(folder, "somebody/measured")
    assert set(hub.repositories["somebody/measured"]["main"]) == {*model, "scores.json"}


@pytest.mark.parametrize("name", ["pictures", "größe", "my pictures", "a\udcffb"])
def test_where_ones_own_pictures_lie_is_not_pushed(hub: Hub, tiny_release: Path, tmp_path: Path, name: str) -> None:
    place = f"folder:/home/somebody/{name}"
    model = spikevae.load(tiny_release)
    card = card_metadata(place, model.config) + f"# A VAE of {place}, also events:/home/me/b\n"
    save_release(model, tmp_path, dataset=place, card=card)
    given = shlex.quote(place + "/")  # another spelling
    scores = {
        "weights_hash": hash_file(tmp_path / "model.safetensors"),
        "model": "/home/me/runs/mine",
        "data": place + "/",
        "command": f"spikevae evaluate /home/me/runs/mine --data {given} --data-root /home/me/data",
        "scores": [
            {"reference": f"{place}/ test", "command": f"spikevae evaluate mnist --images=/home/me/{name}"},
            {
                "reference": f"/home/me/real {name}",
                "command": shlex.join(["spikevae", "evaluate", "mnist", "--reference", f"/home/me/real {name}"]),
                "note": "none for it: /home/me/nets/config.json is missing; see https://example.org/home/me",
            },
            {
                "reference": f"folder:/home/me/my set/{name} test",
                "command": shlex.join(["spikevae", "evaluate", "mnist", "--data", f"folder:/home/me/my set/{name}"]),
            },
        ],
    }
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    push(tmp_path, "somebody/mine")
    sent = hub.repositories["somebody/mine"]["main"]
    assert not [file for file, content in sent.items() if b"/home" in content.replace(b"org/home", b"")]
    assert b"my set" not in sent["scores.json"]
    known = json.loads(sent["scores.json"])
    assert json.loads(sent["config.json"])["dataset"] == known["data"] == f"folder:{name}"
    assert (known["model"], known["weights_hash"]) == ("mine", scores["weights_hash"])
    assert shlex.split(known["command"]) == [
        "spikevae", "evaluate", "mine", "--data", f"folder:{name}", "--data-root", "data"
    ]  # fmt: skip
    assert [score["reference"] for score in known["scores"]] == [
        f"folder:{name} test", f"real {name}", f"folder:{name} test"
    ]  # fmt: skip
    assert known["scores"][1]["note"] == "none for it: config.json is missing; see https://example.org/home/me"
    assert "\n# A VAE of folder:" in sent["README.md"].decode()
    spikevae.load("hf:somebody/mine")


@pytest.mark.parametrize(
    ("words", "note", "sent"),
    [
        (["--data-root", "/"], "see https://example.org/a, km/h", "see https://example.org/a, km/h"),
        (["--json", "./"], "1./2 of ./x and and/or", "1./2 of ./x and and/or"),
        (["--reference=/me/my set/real"], "/me/my set/real test", "real test"),
        (["--reference", "sets/a"], "sets/a and sets/ab, assets/a", "a and sets/ab, assets/a"),
        ([], "in ../me/secret/x, ~/me/y, file:///home/me/z", "in x, y, z"),
    ],
)
def test_texts_about_scores_lose_places_and_nothing_else(
    words: list[str], note: str, sent: str, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"command": shlex.join(["spikevae", *words]), "note": note}))
    found = without_places(scores, "mnist")
    assert isinstance(found, bytes)
    assert json.loads(found)["note"] == sent


def test_a_command_keeps_the_option_whose_value_is_a_place(tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"command": "spikevae evaluate mnist --images=/home/me/drawn --count=5"}))
    found = without_places(scores, "mnist")
    assert isinstance(found, bytes)
    assert json.loads(found)["command"] == "spikevae evaluate mnist --images=drawn --count=5"


def test_a_model_in_a_folder_that_is_called_as_a_bundled_one_is_pushed_itself(
    hub: Hub, tiny_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = spikevae.load(tiny_release)
    save_release(model, tmp_path / "mnist", dataset="faces", card=card_metadata("faces", model.config))
    monkeypatch.chdir(tmp_path)
    push("./mnist", "somebody/mine")
    assert hub.repositories["somebody/mine"]["main"] == files_of(tmp_path / "mnist")
    (tmp_path / "mnist" / "README.md").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"README.md is no UTF-8 text"):
        push("./mnist", "somebody/other")
    assert "somebody/other" not in hub.repositories


def test_a_push_says_which_of_two_models_of_a_name_it_takes(
    hub: Hub, tiny_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_release(spikevae.load(tiny_release), tmp_path / "mnist", dataset="faces", card="")
    monkeypatch.chdir(tmp_path)
    push("mnist", "somebody/digits")
    assert "mnist" in caplog.text
    assert hub.repositories["somebody/digits"]["main"] != files_of(tmp_path / "mnist")


def test_a_damaged_folder_is_not_pushed(hub: Hub, tiny_release: Path, tmp_path: Path) -> None:
    for name, data in files_of(tiny_release).items():
        (tmp_path / name).write_bytes(data[:-5] if name == "model.safetensors" else data)
    with pytest.raises(ValueError, match="damaged"):
        push(tmp_path, "somebody/damaged")
    assert hub.asked == []


def test_a_model_is_fetched_once_and_then_found_without_a_network(
    hub: Hub, tiny_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("somebody/tiny", files_of(tiny_release) | {"pytorch_model.bin": b"pickle"})
    first = model_folder("hf:somebody/tiny")
    assert {path.name for path in first.iterdir()} == {"config.json", "model.safetensors"}
    hub.asked.clear()
    assert model_folder("hf:somebody/tiny") == first
    assert not [line for line in hub.asked if line.startswith("GET")]
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    assert model_folder("hf:somebody/tiny") == first
    with pytest.raises(FileNotFoundError, match=r"hf:somebody/other is not in the cache .* cannot be reached"):
        model_folder("hf:somebody/other")


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, tiny_release: Path) -> None:
    old = hub.put("somebody/tiny", files_of(tiny_release))
    hub.put("somebody/tiny", {"config.json": b"{}"})
    hub.put("somebody/tiny", files_of(tiny_release), revision="v1")
    for name, revision in (("hf:somebody/tiny", old), ("hf:somebody/tiny", "v1"), (f"hf:somebody/tiny@{old}", None)):
        assert spikevae.load(name, revision=revision).config == spikevae.load(tiny_release).config
    with pytest.raises(ValueError, match="not a model's config"):
        spikevae.load("hf:somebody/tiny")
    with pytest.raises(FileNotFoundError, match="hf:somebody/tiny has no revision v2"):
        spikevae.load("hf:somebody/tiny", revision="v2")
    with pytest.raises(ValueError, match="only a model of the hub has one"):
        spikevae.load(tiny_release, revision="v1")


def test_a_newer_commit_is_fetched(hub: Hub, tiny_release: Path) -> None:
    hub.put("somebody/tiny", files_of(tiny_release))
    before = model_folder("hf:somebody/tiny")
    commit = hub.put("somebody/tiny", {"README.md": b"---\n{}\n---\nnew"})
    after = model_folder("hf:somebody/tiny")
    assert (before.name == commit, after.name == commit) == (False, True)
    assert spikevae.load(after).config == spikevae.load(before).config


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pytorch_model.bin": b"pickle"}, "holds no model of spikevae: config.json or model.safetensors is missing"),
        ({"config.json": b'{"architectures": ["BertModel"]}'}, "is not a model's config"),
        ({"config.json": b"\x80\x04pickle"}, "is not a JSON file"),
        ({"config.json": b" " * (LARGEST_CONFIG + 1)}, r"config.json takes 1,048,577 bytes; .* at most 1,048,576"),
    ],
)
def test_foreign_files_are_refused_before_weights_are_fetched(hub: Hub, files: dict[str, bytes], message: str) -> None:
    hub.put("somebody/foreign", files | {"model.safetensors": b"\x10\0\0\0\0\0\0\0{}"})
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        spikevae.load("hf:somebody/foreign")
    assert "\n" not in str(caught.value)
    assert not [line for line in hub.asked if "safetensors" in line]


def test_weights_of_the_hub_are_read_as_strictly_as_others(hub: Hub, tiny_release: Path) -> None:
    hub.put("somebody/bad", files_of(tiny_release) | {"model.safetensors": b"\x02\0\0\0\0\0\0\0{}"})
    with pytest.raises(ValueError, match=r"the weight .* is missing"):
        spikevae.load("hf:somebody/bad")


@pytest.mark.parametrize("name", ["hf:", "hf:tiny", "hf:a/b/c", "hf:../b", "hf:a/b c", "hf:a/..", "hf:a/b--c"])
def test_a_name_that_is_none_asks_nobody(hub: Hub, name: str) -> None:
    with pytest.raises(ValueError, match=r"^hf:.*(give USER/NAME|repo)"):
        model_folder(name)
    assert hub.asked == []


def test_missing_and_gated_repositories_are_one_line_each(hub: Hub, tiny_release: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^hf:somebody/gone: there is no such repository, or it is private"):
        load_generator("hf:somebody/gone")
    hub.gated.add("somebody/gated")
    with pytest.raises(FileNotFoundError, match=r"consent first: open http://[\d.:]+/somebody/gated$"):
        load_generator("hf:somebody/gated")


def test_a_repository_that_is_there_is_not_taken_for_a_private_one(hub: Hub, tiny_release: Path) -> None:
    push(tiny_release, "somebody/tiny", private=True)
    assert hub.private == {"somebody/tiny"}
    hub.put("somebody/open", {})
    with pytest.raises(OSError, match="it is there already, and only a new one is made private; leave --private out"):
        push(tiny_release, "somebody/open", private=True)
    assert hub.repositories["somebody/open"]["main"] == {}


def test_an_upload_that_breaks_off_is_one_line(hub: Hub, tiny_release: Path) -> None:
    hub.is_full = True
    with pytest.raises(OSError, match=r"^somebody/tiny: .* 507 Insufficient Storage") as caught:
        push(tiny_release, "somebody/tiny")
    assert "\n" not in str(caught.value)


def test_a_server_that_is_no_hub_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    template = hub.address + "/anything/{repo_id}/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(OSError, match=r"answers 404 Not Found; is HF_ENDPOINT right\?"):
        model_folder("hf:somebody/tiny")


@pytest.mark.parametrize(
    ("token", "message"),
    [(READER, "answers 403 Forbidden; your token may not write there"), ("hf_wrong", "log in with `hf auth login`")],
)
def test_a_push_without_permission_says_what_to_do(
    hub: Hub, tiny_release: Path, monkeypatch: pytest.MonkeyPatch, token: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(OSError, match=message) as caught:
        push(tiny_release, "somebody/tiny")
    assert "\n" not in str(caught.value)
    assert hub.repositories == {}


def test_the_command_line_pushes_samples_and_works_without_a_network(
    hub: Hub, tiny_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["push", str(tiny_release), "somebody/tiny"])
    assert "spikevae sample hf:somebody/tiny" in capsys.readouterr().out
    online, offline = tmp_path / "online.npz", tmp_path / "offline.npz"
    main(["sample", "hf:somebody/tiny", "--count", "2", "--out", str(online)])
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    main(["sample", "hf:somebody/tiny", "--count", "2", "--out", str(offline)])
    assert online.read_bytes() == offline.read_bytes()
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit, match="1"):
        main(["classify", "hf:somebody/gone", "shoe.png"])
    message = capsys.readouterr().err
    assert message.startswith("spikevae: hf:somebody/gone is not in the cache")
    assert message.count("\n") == 1


@pytest.mark.parametrize("name", spikevae.released_models())
def test_the_card_of_a_bundled_model_is_one_that_the_hub_takes(hub: Hub, name: str) -> None:
    """Its metadata are what the code writes from config and scores, and the hub's library reads the same from them."""
    folder = model_folder(name)
    text = (folder / "README.md").read_text(encoding="utf-8")
    record = json.loads((folder / "scores.json").read_text()) if (folder / "scores.json").is_file() else {"scores": []}
    card = ModelCard(text)
    assert isinstance(card.data, ModelCardData)
    assert card.data.license == ("other" if name == "faces" else "mit")
    measured = {score["metric"]: score["value"] for score in record["scores"] if score["value"] is not None}
    shown = {result.metric_type: result.metric_value for result in card.data.eval_results or ()}
    assert shown == pytest.approx(measured, rel=1e-3)
    push(name, f"somebody/{name}")
    assert hub.repositories[f"somebody/{name}"]["main"]["README.md"] == text.encode()
