"""What layers and calls cost: counts of operations, and energy by the field's convention."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

MAC_PICOJOULE = 4.6
MULTIPLY_PICOJOULE = 3.7
AC_PICOJOULE = 0.9
SHIFT_PICOJOULE = 0.1  # k added to an exponent, as a 32-bit integer addition


@dataclass(frozen=True)
class Folded:
    """Operations with gates folded."""

    accumulates: float = 0.0
    multiplies: float = 0.0
    multiply_accumulates: float = 0.0
    shifts: float = 0.0
    """Multiplications by a gate that is a power of two."""
    order: str = ""
    """Of layers that could be computed in two orders, the cheaper one."""

    def __add__(self, other: Folded) -> Folded:
        return Folded(
            self.accumulates + other.accumulates,
            self.multiplies + other.multiplies,
            self.multiply_accumulates + other.multiply_accumulates,
            self.shifts + other.shifts,
            other.order or self.order,
        )

    def with_shifts(self) -> Folded:
        """The same where gates are powers of two: a product with a gate is a shift, then perhaps an accumulate."""
        sums = self.multiply_accumulates
        return Folded(self.accumulates + sums, 0.0, 0.0, self.multiplies + sums, self.order)

    @property
    def picojoule(self) -> float:
        """Energy."""
        return (
            MAC_PICOJOULE * self.multiply_accumulates
            + MULTIPLY_PICOJOULE * self.multiplies
            + AC_PICOJOULE * self.accumulates
            + SHIFT_PICOJOULE * self.shifts
        )


@dataclass
class LayerCost:
    """Operations of one layer, for one image."""

    name: str
    accumulates: float = 0.0
    multiply_accumulates: float = 0.0
    dense: float = 0.0
    """Multiply-accumulates of the same layer in an ordinary network, run once; 0 where such a one has no such layer."""
    folded: Folded = Folded()

    @property
    def picojoule(self) -> float:
        """Energy of the spiking layer, every use of a gated spike a multiply-accumulate."""
        return MAC_PICOJOULE * self.multiply_accumulates + AC_PICOJOULE * self.accumulates

    def add(self, accumulates: float, multiply_accumulates: float, folded: Folded) -> None:
        """Add the operations of one run."""
        self.accumulates += accumulates
        self.multiply_accumulates += multiply_accumulates
        self.folded += folded

    def to_dict(self) -> dict[str, Any]:
        """One level of numbers, ready for JSON."""
        plain = asdict(self)
        folded = plain.pop("folded")
        return plain | {f"folded_{name}": value for name, value in folded.items()}


@dataclass
class Cost:
    """Operations and spikes of one call, for one image."""

    layers: dict[str, LayerCost] = field(default_factory=dict)
    firing_rates: dict[str, list[float]] = field(default_factory=dict)
    """By spiking layer: share of its neurons that fire at each time step."""

    @property
    def accumulates(self) -> float:
        """AC in all layers."""
        return sum(layer.accumulates for layer in self.layers.values())

    @property
    def multiply_accumulates(self) -> float:
        """MAC in all layers."""
        return sum(layer.multiply_accumulates for layer in self.layers.values())

    @property
    def microjoule(self) -> float:
        """Energy of all layers, every use of a gated spike a multiply-accumulate."""
        return sum(layer.picojoule for layer in self.layers.values()) / 1e6

    @property
    def microjoule_folded(self) -> float:
        """Energy of all layers with gates folded."""
        return sum(layer.folded.picojoule for layer in self.layers.values()) / 1e6

    @property
    def ann_microjoule(self) -> float:
        """Energy of the same layers as an ordinary network: each run once, every connection a MAC."""
        return MAC_PICOJOULE * sum(layer.dense for layer in self.layers.values()) / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Totals and layers, ready for JSON."""
        layers = self.layers.values()
        folded = [layer.folded for layer in layers]
        return {
            "accumulates": self.accumulates,
            "multiply_accumulates": self.multiply_accumulates,
            "microjoule": self.microjoule,
            "folded_accumulates": sum(part.accumulates for part in folded),
            "folded_multiplies": sum(part.multiplies for part in folded),
            "folded_multiply_accumulates": sum(part.multiply_accumulates for part in folded),
            "folded_shifts": sum(part.shifts for part in folded),
            "microjoule_folded": self.microjoule_folded,
            "ann_multiply_accumulates": sum(layer.dense for layer in layers),
            "ann_microjoule": self.ann_microjoule,
            "layers": [layer.to_dict() for layer in layers],
        }
