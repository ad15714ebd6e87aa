"""Draw the figures and badges of docs/images as SVG: `python docs/figures.py`."""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
INK, LINE, SPIKES, REAL, PAPER = "#1f2933", "#52606d", "#d9480f", "#1864ab", "#ffffff"
STYLE = (
    "text{font:14px sans-serif;fill:" + INK + ";text-anchor:middle}.small{font-size:12px;fill:" + LINE + "}"
    ".left{text-anchor:start}"
)


def text(x: float, y: float, words: str, style: str = "") -> str:
    """Words, centred unless the style says "left"."""
    return f'<text x="{x}" y="{y}" class="{style}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, *lines: str, colour: str = LINE) -> str:
    """A rounded box with lines of words: the first one large, the others small."""
    top = y + height / 2 - 8.5 * (len(lines) - 1) + 5
    words = [text(x + width / 2, top + 17 * k, line, "small" if k else "") for k, line in enumerate(lines)]
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{PAPER}" stroke="{colour}"/>'
    return frame + "".join(words)


def arrow(*points: tuple[float, float], colour: str = LINE) -> str:
    """A line through points, with a head at its end."""
    path = " ".join(f"{x},{y}" for x, y in points)
    head = "spikes" if colour == SPIKES else "real" if colour == REAL else "line"
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" marker-end="url(#{head})"/>'


def svg(width: int, height: int, title: str, *parts: str) -> str:
    """A page with these parts on a white ground."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for name, colour in (("line", LINE), ("spikes", SPIKES), ("real", REAL))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(title)}</title><style>{STYLE}</style><defs>{heads}</defs>\n"
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def network() -> str:
    """The whole model, and what one of its stages is."""
    return svg(
        820,
        360,
        "The network: encoder, latent spikes, decoder, classifier; and one stage",
        box(10, 40, 90, 64, "image", "28x28"),
        arrow((100, 72), (136, 72), colour=REAL),
        text(118, 62, "x T", "small"),
        box(140, 40, 130, 64, "encoder", "3 stages, to 7x7"),
        arrow((270, 72), (316, 72), colour=REAL),
        box(320, 40, 170, 64, "latent spikes", "4 x 12 x 7 x 7, each 0 or 1", colour=SPIKES),
        arrow((490, 72), (536, 72), colour=SPIKES),
        box(540, 40, 130, 64, "decoder", "3 stages, to 28x28"),
        arrow((670, 72), (706, 72), colour=REAL),
        box(710, 40, 100, 64, "image", "sum over T"),
        arrow((205, 104), (205, 136), colour=REAL),
        box(140, 140, 130, 48, "classifier", "1 more stage, linear"),
        box(320, 140, 170, 48, "density of potentials", "for new images"),
        arrow((405, 140), (405, 108)),
        text(20, 232, "One stage", "left"),
        box(20, 256, 130, 64, "convolution", "current of each step"),
        arrow((150, 288), (186, 288), colour=REAL),
        box(190, 256, 120, 64, "batch norm"),
        arrow((310, 288), (346, 288), colour=REAL),
        box(350, 256, 190, 64, "neurons", "add, leak, fire above 1", colour=SPIKES),
        arrow((540, 288), (586, 288), colour=SPIKES),
        box(590, 256, 140, 64, "TCJA", "gates the channels"),
        arrow((730, 288), (766, 288), colour=REAL),
        text(790, 293, "next", "small"),
        text(20, 348, "orange: spikes, 0 or 1", "small left"),
        text(200, 348, "blue: real numbers (gated spikes count as such)", "small left"),
    )


def tcja() -> str:
    """Temporal-channel joint attention."""
    return svg(
        820,
        270,
        "TCJA: a gate for each time step and channel",
        box(10, 96, 120, 64, "spikes", "T x C x H x W", colour=SPIKES),
        arrow((130, 128), (176, 128), colour=SPIKES),
        box(180, 96, 140, 64, "mean over H, W", "table Z: C x T"),
        arrow((320, 112), (350, 112), (350, 62), (376, 62), colour=REAL),
        arrow((320, 144), (350, 144), (350, 194), (376, 194), colour=REAL),
        box(380, 30, 160, 64, "TLA", "convolution along T"),
        box(380, 162, 160, 64, "CLA", "convolution along C"),
        arrow((540, 62), (590, 62), (590, 108), colour=REAL),
        arrow((540, 194), (590, 194), (590, 148), colour=REAL),
        box(550, 110, 80, 36, "product"),
        arrow((630, 128), (656, 128), colour=REAL),
        box(660, 96, 150, 64, "sigmoid", "gate: C x T, 0 to 1"),
        arrow((70, 160), (70, 250), (735, 250), (735, 200), colour=SPIKES),
        arrow((735, 160), (735, 176), colour=REAL),
        text(735, 194, "×"),
        arrow((742, 190), (806, 190), colour=REAL),
        text(400, 244, "the spikes pass on, each multiplied by its gate", "small"),
    )


def badge(label: str, value: str) -> str:
    """A line of two words for the head of README."""
    left, right = 10 + 7 * len(label), 10 + 7 * len(value)
    style = "text{font:11px sans-serif;fill:" + PAPER + ";text-anchor:middle}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">'
        f"<title>{escape(label)}: {escape(value)}</title><style>{style}</style>"
        f'<rect width="{left + right}" height="20" rx="3" fill="{REAL}"/>'
        f'<rect width="{left}" height="20" rx="3" fill="{INK}"/>'
        f"{text(left / 2, 14, label)}{text(left + right / 2, 14, value)}</svg>\n"
    )


if __name__ == "__main__":
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].replace(">=", "") + " or newer"
    (IMAGES / "badge-licence.svg").write_text(badge("licence", project["license"]), encoding="utf-8")
    (IMAGES / "badge-python.svg").write_text(badge("Python", python), encoding="utf-8")
    (IMAGES / "network.svg").write_text(network(), encoding="utf-8")
    (IMAGES / "tcja.svg").write_text(tcja(), encoding="utf-8")
