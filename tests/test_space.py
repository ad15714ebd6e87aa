"""The folder app/space as Hugging Face runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SPACE = ROOT / "app" / "space"


def versions(text: str) -> dict[str, str]:
    """Pinned versions by package."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def asking(address: str, host: str) -> urllib.request.Request:
    return urllib.request.Request(address, headers={"Host": host})


def test_it_requires_what_the_page_needs_at_the_versions_of_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = project["dependencies"] + project["optional-dependencies"]["app"]
    wanted = {re.split(r"[^\w.-]", name)[0].lower() for name in names}
    locked = versions((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    required = versions((SPACE / "requirements.txt").read_text(encoding="utf-8"))
    assert required == {name: locked[name] for name in wanted}, "run `make lock`"


def test_its_front_matter_says_what_to_run() -> None:
    values = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    required = versions((SPACE / "requirements.txt").read_text(encoding="utf-8"))
    assert values["sdk"] == "gradio"
    assert values["sdk_version"] == required["gradio"]
    assert (SPACE / values["app_file"]).is_file()
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {values["colorFrom"], values["colorTo"]} <= colours
    assert len(values["short_description"]) <= 60


def test_it_starts_from_its_wheel_and_answers_by_its_name_alone(
    tiny_release: Path, tmp_path: Path, unused_port: int
) -> None:
    for file in SPACE.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with zipfile.ZipFile(tmp_path / "spikevae-0.0.0-py3-none-any.whl", "w") as wheel:  # a wheel is an archive of these
        for folder in ("spikevae", "app"):
            for path in sorted((ROOT / folder).rglob("*")):
                if path.is_file() and "released" not in path.parts and "__pycache__" not in path.parts:
                    wheel.write(path, path.relative_to(ROOT))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "SPACE_ID": "somebody/spikes",
        "SPACE_HOST": "somebody-spikes.hf.space",
        "GRADIO_SERVER_PORT": str(unused_port),
        "SPIKEVAE_MODELS": str(tiny_release),
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "app.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as space:
        try:
            assert space.stdout is not None
            assert "the demo is on" in space.stdout.readline()
            loaded = Path(f"/proc/{space.pid}/cwd")
            assert not loaded.exists() or (loaded / "spikevae" / "cli.py").is_file()
            address = f"http://127.0.0.1:{unused_port}/"
            with urllib.request.urlopen(asking(address, "somebody-spikes.hf.space"), timeout=60) as answer:
                assert "tiny" in answer.read().decode()
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(asking(address, "evil.example.org"), timeout=60)
        finally:
            space.send_signal(signal.SIGTERM)
            space.wait(timeout=30)
