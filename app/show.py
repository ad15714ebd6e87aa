"""What the page's outputs are given: files of what was computed, and lines about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

from jaxtyping import Float
from torch import Tensor

from spikevae.data.events.recording import Recording
from spikevae.data.events.writers import save_recordings

from . import panels, pictures
from .actions import Reconstruction, Samples
from .favourites import Favourite
from .files import Files
from .film import Film
from .player import Side, moving_picture, player_value
from .walks import Walk
from .watch import Observation

_SIDE = 280  # screen pixels of a single picture, or a little fewer
_FOREIGN = (
    "This picture is unlike those that the model was trained on: at least 97 of 100 new pictures of its data set are "
    "nearer to them. Do not rely on its answer."
)


class Show:
    """Turns results into what Gradio's outputs take.

    Args:
        files: where their pictures are written.
    """

    def __init__(self, files: Files) -> None:
        self.files = files

    def samples(self, found: Samples, settings: dict[str, Any]) -> tuple[list[str], str, str, str]:
        """Pictures, one PNG with all of them, a ZIP archive, and a line with a link to exactly these."""
        return (
            [self.picture(image) for image in found.images],
            self.files.store(pictures.grid_png(found.images), "pictures.png"),
            self.files.store(pictures.archive(found.images, settings), "pictures.zip"),
            pictures.facts_line(_timing(found), "?" + urlencode(settings)),
        )

    def side(self, found: Samples) -> tuple[list[str], str]:
        """Pictures and a line, for one side of a comparison."""
        return [self.picture(image) for image in found.images], pictures.facts_line(_timing(found))

    def reconstruction(self, found: Reconstruction) -> tuple[Any, ...]:
        """The picture as the model sees it, its reconstruction, the classes' probabilities, and a line."""
        words = f"Mean squared error {found.error:.4f} (pixels from -1 to 1), in {1000 * found.seconds:.0f} ms."
        if found.probabilities is None:
            words += " This model was trained without labels, so it cannot name what it sees."
        seen, again = self.picture(found.seen), self.picture(found.image)
        return seen, again, found.probabilities, pictures.facts_line(words, warning=_FOREIGN * found.is_foreign)

    def walk(self, found: Walk) -> tuple[str, list[str], str]:
        """An animation, its frames, and a line."""
        words = f"{found.flips} of {found.latents:,} latent spikes differ between the ends; each flips once on the way."
        return (
            self.files.store(pictures.animation(found.images), "walk.gif"),
            [self.picture(image) for image in found.images],
            pictures.facts_line(words),
        )

    def film(self, found: Film) -> tuple[str, str]:
        """An animation, and a line."""
        count = found.total
        shifts = f", {count.shifts:,.0f} shifts" if count.shifts else ""
        words = (
            f"In the end: {count.additions:,.0f} additions, {count.multiplications:,.0f} multiplications{shifts}; each "
            f"gate was folded into its kernel first. An ordinary network of the same layers: {count.ordinary:,.0f} "
            "multiplications with addition. An addition takes about a fifth of their energy."
        )
        return self.files.store(found.content, "spikes.webp"), pictures.facts_line(words)

    def favourites(self, found: Sequence[Favourite]) -> tuple[list[tuple[str, str]], str | None]:
        """Pictures with what makes them again, and a ZIP archive of both (None if there are none)."""
        shown, settings = [], []
        for wish in found:
            said = wish._asdict()
            image = said.pop("image")
            shown.append((self.picture(image), f"{wish.model}, seed {wish.seed}, number {wish.number + 1}"))
            again = {"model": wish.model, "count": wish.number + 1, "seed": wish.seed}
            link = "?" + urlencode(again | {"label": wish.label, "temperature": wish.temperature})
            settings.append(said | {"link": link})
        if not found:
            return [], None
        content = pictures.archive([wish.image for wish in found], {"pictures": settings})
        return shown, self.files.store(content, "favourites.zip")

    def observation(self, found: Observation) -> tuple[list[Any], str]:
        """The picture as it forms, and panels of HTML."""
        frames = [(self.picture(image), f"t = {t + 1}") for t, image in enumerate(found.forming)]
        parts = (panels.spikes_panel, panels.gates_panel, panels.rates_panel, panels.energy_panel)
        return frames, "".join(panel(found) for panel in parts)

    def recordings(
        self, made: Recording, sides: Sequence[Side], names: Sequence[str]
    ) -> tuple[str, str, str | None, str]:
        """What the player plays, the new recording as .npz and (where it fits the format) .bin, and a GIF of all."""
        try:
            raw = self.recording(made, "recording.bin")
        except ValueError:  # too large a sensor, or too long
            raw = None
        moving = self.files.store(moving_picture(sides), "recordings.gif")
        return player_value(sides, names), self.recording(made, "recording.npz"), raw, moving

    def recording(self, recording: Recording, name: str) -> str:
        """A file with a recording, as the command line writes it, in the format that its name asks for.

        Raises:
            ValueError: if the format cannot hold it.
        """
        with TemporaryDirectory(dir=self.files.folder) as folder:
            path = Path(folder, name)
            save_recordings([recording], path)
            return self.files.store(path.read_bytes(), name)

    def picture(self, image: Float[Tensor, "C H W"]) -> str:
        """A file with a picture, enlarged without smoothing so that it can be looked at wherever it is saved."""
        return self.files.store(pictures.png(image, max(1, _SIDE // image.shape[-1])), "picture.png")


def _timing(found: Samples) -> str:
    number = len(found.images)
    each = 1000 * found.seconds / number
    return f"{number} pictures in {found.seconds:.2f} s, {each:.0f} ms each." if number > 1 else f"{each:.0f} ms."
