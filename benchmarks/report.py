"""docs/performance.md from the measured figures: ``python -m benchmarks.report [RESULTS.json ...]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from tyro.conf import Positional

from benchmarks.gpu_page import gpu_chapter
from benchmarks.measure import ROOT, Row
from benchmarks.scale import celeba_cost, celeba_on_gpus, evaluating, gpu_rate, reading_data
from benchmarks.show import markdown, show, show_bytes, show_seconds, three_digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = ROOT / "docs" / "performance.md"
PICTURE_NAME = "growth"  # in docs/images
_GPU = Path(__file__).parent / "gpu.json"
_TRIED = Path(__file__).parent / "tried.md"

_INTRODUCTION = """\
# Performance

Made from `benchmarks/results*.json` by `python -m benchmarks.report`; do not edit it by hand. `make bench` measures
everything anew.
"""

_METHOD = """\
## How it is measured

- **Ratios within one run.** The sides of a comparison take turns in one process, every other round in reverse order, so
  that a drift of the machine meets both alike. After a warm-up, the median of the rounds' ratios counts. A call that
  takes less than 0.2 s is repeated until it does.
- **The plain reference** (`benchmarks/reference.py`) is the network of the `paper` preset, written from the equations
  in the layout of FSVAE's published code: [N, C, H, W, T], 3-D convolutions of depth 1, a Python loop over time with
  autograd, the image convolved T times, and both latent networks run every prefix again (without gradient). With our
  weights and the same random numbers it gives our images; a test holds it to that. It computes in float32, as the
  published code does. For comparison, that code itself, T = 16, batch 64, two CPU cores: 5.3 images/s in training and
  40 in sampling.
- **Ours** computes as it does in use: a training step in bfloat16 where the hardware multiplies faster in it,
  everything else in float32. Where bfloat16 is faster, a second line gives the step with both
  sides in float32; without that line both sides computed in float32. A step is forward, loss,
  backward, gradient clipping and AdamW, of the phase in which the whole network learns.
- **Settings of the process** (freed memory is kept, idle threads sleep early; `spikevae/runtime.py`) are applied to
  both sides alike, also in the processes that measure memory. What they give is a row of its own.
- **Peak memory**: a process of its own warms up with a batch of 2, builds the network, notes its largest resident size
  (`VmHWM`, reset just before; `ru_maxrss` where there is no `/proc`), takes two steps, and notes it again; the
  difference counts. It holds activations, gradients and the optimizer's state, but neither the libraries nor the
  weights. On a GPU the largest allocated size takes the place of the resident one.
- **Memory bandwidth**: the bytes of the layer's input are copied twice (one reading and one writing each way, as
  forward and backward must at the least).
- **Growth with T**: a straight line is fitted through the four medians, and the largest relative distance from it
  counts.
- **Firing**: in float32 on the CPU the time of ours depends on how many neurons fire. Where no trained model is named
  ours has fresh weights and the running statistics of its own activity: in sampling 12 to 14 % of the inputs of a layer
  of the `paper` preset fire then, 9 to 16 % after it has been trained.
- **The ReLU network** is the same network with ReLU for every neuron, on T x N images, and with torch's convolutions,
  as ordinary networks have. (Ours would be a little faster for it too: half of what comes out of ReLU is zero.)
"""


@dataclass(frozen=True)
class Results:
    """What one run measured."""

    machine: dict[str, Any]
    versions: dict[str, str]
    runs: int
    skipped: dict[str, str]
    rows: list[Row]

    @property
    def device(self) -> str:
        """cpu, cuda ..."""
        return str(self.machine["device"])

    def of(self, case: str) -> list[Row]:
        """The rows that a case measured."""
        return [row for row in self.rows if row.case == case]


def read_results(path: Path) -> Results:
    """The figures in a JSON file that ``python -m benchmarks`` wrote.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; measure it with `python -m benchmarks`")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Results(**values | {"rows": [Row(**row) for row in values["rows"]]})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not what `python -m benchmarks` writes: {error}") from None


# ---------------------------------------------------------------- tables


def text_table(rows: Sequence[Row]) -> str:
    """The figures with their bars, for a terminal."""
    cells = [[row.what, row.against, show(row.figure, row.unit), _goals(row), row.outcome] for row in rows]
    return _aligned([["what", "against", "measured", "bar (stretch)", ""], *cells])


def _goals(row: Row) -> str:
    if row.bar is None:
        return ""
    words = "at most" if row.is_lower_better else "at least"
    stretch = "" if row.stretch is None else f" ({show(row.stretch, row.unit)})"
    return f"{words} {show(row.bar, row.unit)}{stretch}"


def _sides(row: Row) -> str:
    """Both sides of a ratio, as they were measured."""
    details = row.details
    if "seconds" in details:
        shown = {name: show_seconds(value) for name, value in details["seconds"].items()}
    elif "bytes" in details:
        shown = {name: show_bytes(value) for name, value in details["bytes"].items()}
    elif "by_time_steps" in details:
        unit = show_seconds if details["unit"] == "seconds" else show_bytes
        shown = {f"T {name}": unit(value) for name, value in details["by_time_steps"].items()}
    else:
        return ""
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


# ---------------------------------------------------------------- the page


def page(results: Sequence[Results], gpu: Mapping[str, Any] | None = None) -> str:
    """The whole page in Markdown, a chapter for each machine; ``gpu``: what gpu.sh left."""
    chapters = [_chapter(result) for result in results] + ([] if gpu is None else [gpu_chapter(gpu)])
    machine = "On two CPU cores (AVX-512 with bfloat16 unless a row says otherwise), torch 2.14.1."
    tried = f"## What was tried\n\n{machine}\n\n"
    return "\n".join([_INTRODUCTION, *chapters, _METHOD, tried + _TRIED.read_text(encoding="utf-8")])


def _chapter(results: Results) -> str:
    machine, versions = results.machine, results.versions
    name = machine.get("accelerator", machine["processor"])
    facts = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, {machine['system']}; "
        + ", ".join(f"{library} {version}" for library, version in versions.items())
        + f". Medians of {results.runs} rounds; load of the machine at the start {machine['load_at_start']:.2f}."
    )
    with_bars = [row for row in results.rows if row.bar is not None]
    others = [row for row in results.rows if row.bar is None and row.case not in ("throughput", "roofline")]
    parts = [
        f"## On {'the CPU' if results.device == 'cpu' else name}\n\n{facts}\n",
        markdown(
            ("what", "against", "measured", "bar (stretch)", "outcome"),
            ([row.what, row.against or "–", show(row.figure, row.unit), _goals(row), row.outcome] for row in with_bars),
        ),
        "The figures behind the ratios, medians:\n",
        markdown(
            ("what", "medians"),
            ([row.what, _sides(row)] for row in results.rows if _sides(row) and row.case != "settings"),
        ),
    ]
    if others:
        parts += [
            "Beside the bars:\n",
            markdown(
                ("what", "against", "measured"), ([row.what, row.against, show(row.figure, row.unit)] for row in others)
            ),
        ]
    if results.of("growth"):
        parts.append(f"![Time and memory as T grows](images/{picture_name(results)})\n")
    parts += _throughput(results.of("throughput"), next(iter(results.of("loading")), None), results.device == "cpu")
    parts += _roofline(results.of("roofline"))
    parts += [f"Left out: {case}, because {reason}.\n" for case, reason in results.skipped.items()]
    return "\n".join(parts)


def _throughput(rows: Sequence[Row], decoding: Row | None, is_cpu: bool) -> list[str]:
    if not rows:
        return []
    rate = rows[0].details["matrix_rate"]
    parts = [
        f"Absolute figures. A product of two large matrices reaches {three_digits(rate / 1e9)} GFLOP/s here, in the "
        "arithmetic of training; the share of it that a whole step or batch reaches stands beside its operations "
        "(sampling computes in float32). Those are of the network with every input multiplied; in float32 on the CPU "
        "ours passes over what does not fire.\n",
        markdown(
            (
                "what",
                "images/s",
                "neurons that fire",
                "operations an image",
                "share of the matrix rate",
                "where the time goes",
            ),
            (
                [
                    row.what,
                    three_digits(row.figure),
                    f"{row.details['firing_rate']:.0%}",
                    f"{row.details['operations_per_image'] / 1e9:.2f} GFLOP",
                    f"{row.details['share_of_matrix_rate']:.1%}",
                    ", ".join(f"`{name}` {share:.0%}" for name, share in row.details["top_five"].items()),
                ]
                for row in rows
            ),
        ),
    ]
    by_subject = {row.details["subject"]: row for row in rows if row.details["preset"] == "pictures"}
    if training := by_subject.get("training"):
        parts.append(celeba_cost(training))
        if is_cpu:
            parts.append(celeba_on_gpus(training))
            if decoding is not None:
                parts.append(reading_data(gpu_rate(training), decoding.figure))
    if is_cpu and (sampling := by_subject.get("sampling")):
        parts.append(evaluating(sampling))
    return parts


def _roofline(rows: Sequence[Row]) -> list[str]:
    """A table for each network and call, the layers in which most time is above the least one first."""
    if not rows:
        return []
    rates = rows[0].details
    tables = [
        "### Layer by layer\n",
        "Each layer ran alone, on what it gets in the network. Its roof is the longer of two times. One is that of its "
        f"operations at the rate of a large matrix product ({three_digits(rates['matrix_rate'] / 1e9)} GFLOP/s in the "
        "arithmetic of training). The other is that of reading and writing its tensors once at the rate of copying "
        f"({three_digits(rates['copy_rate'] / 1e9)} GB/s). Layers that pass over silent inputs can be faster. The five "
        "with the most time above their roofs come first, then the others together. What is left of the whole call is "
        "losses, optimizer and random numbers.\n",
    ]
    for row in rows:
        whole = row.details["whole_seconds"]
        ordered = sorted(row.details["parts"], key=lambda line: line["roof_seconds"] - line["seconds"])
        lines = [[line["part"], *_times(line, whole), line["roof"]] for line in ordered[:5]]
        if rest := ordered[5:]:
            together = {key: sum(line[key] for line in rest) for key in ("seconds", "roof_seconds")}
            lines.append([f"the other {len(rest)}", *_times(together, whole), ""])
        tables += [
            f"{row.details['subject'].capitalize()}, `{row.details['preset']}` preset, batch {row.details['batch']}, "
            f"{show_seconds(whole)}:\n",
            markdown(("layer", "time", "share of the call", "least time", "share of its roof", "roof"), lines),
        ]
    return tables


def _times(line: Mapping[str, float], whole: float) -> list[str]:
    seconds, least = line["seconds"], line["roof_seconds"]
    return [show_seconds(seconds), f"{seconds / whole:.0%}", show_seconds(least), f"{least / seconds:.0%}"]


def picture_name(results: Results) -> str:
    """File name of a machine's plot."""
    return f"{PICTURE_NAME}.png" if results.device == "cpu" else f"{PICTURE_NAME}-{results.device}.png"


def growth_figure(rows: Sequence[Row]) -> Figure:
    """Time and memory over T, each beside its straight line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels: Mapping[str, Any] = dict(zip(("seconds", "bytes"), figure.subplots(1, 2), strict=True))
    scales = {"seconds": (1.0, "seconds a batch"), "bytes": (1e-6, "peak memory (MB)")}
    for row in rows:
        unit = row.details["unit"]
        factor, label = scales[unit]
        steps = [int(t) for t in row.details["by_time_steps"]]
        values = [value * factor for value in row.details["by_time_steps"].values()]
        line = [(row.details["intercept"] + row.details["slope"] * t) * factor for t in steps]
        (dots,) = panels[unit].plot(steps, values, "o", label=row.details["subject"].partition(" of ")[2])
        panels[unit].plot(steps, line, "-", color=dots.get_color(), linewidth=1)
        panels[unit].set(xlabel="T, time steps", ylabel=label, xticks=steps, xlim=(0, None), ylim=(0, None))
    for axes in panels.values():
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def write_page(paths: Sequence[Path], target: Path = PAGE) -> None:
    """Write the page, and its plots into ``images`` beside it.

    Raises:
        FileNotFoundError: if there are no figures.
        ValueError: if a file holds something else.
    """
    if not paths:
        raise FileNotFoundError("there are no results yet; measure them with `python -m benchmarks`")
    from spikevae.plots import to_png

    results = [read_results(path) for path in paths]
    gpu = json.loads(_GPU.read_text(encoding="utf-8")) if _GPU.is_file() else None
    text = page(results, gpu)
    (target.parent / "images").mkdir(parents=True, exist_ok=True)
    for result in results:
        if result.of("growth"):
            picture = target.parent / "images" / picture_name(result)
            picture.write_bytes(to_png(growth_figure(result.of("growth"))))
    target.write_text(text, encoding="utf-8")


def main(results: Positional[tuple[Path, ...]] = (), /) -> None:
    """Write docs/performance.md.

    Args:
        results: What was measured; otherwise all results in the folder of the benchmarks.
    """
    try:
        write_page(list(results) or sorted(Path(__file__).parent.glob("results*.json")))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.report")
