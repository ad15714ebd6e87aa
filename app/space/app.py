"""The page as a Hugging Face Space: unpack the wheel beside this file, and serve it where the Space expects it.

Variables of the Space: SPIKEVAE_MODELS, names of models with spaces between them (`mnist hf:somebody/my-pictures`);
without it all that are bundled.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from pathlib import Path


def main() -> None:
    """Become `spikevae demo`, outside this folder: its app.py would hide the package of that name."""
    place = tempfile.mkdtemp(prefix="spikevae-")
    for wheel in Path(__file__).resolve().parent.glob("spikevae-*.whl"):  # without one: what is installed
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
    os.chdir(place)
    models = os.environ.get("SPIKEVAE_MODELS", "").split()
    port = os.environ.get("GRADIO_SERVER_PORT", "7860")
    sys.stdout.flush()
    command = [sys.executable, "-m", "spikevae.cli", "demo", *models, "--host", "0.0.0.0", "--port", port]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
