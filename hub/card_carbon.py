"""How much carbon a training run cost, as a product of stated factors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WATTS_PER_CORE = 10.0  # a server core at work with its share of memory; ours, rough
WATTS_PER_ACCELERATOR = 400.0  # an accelerator of a data centre at work; ours, rough
GRAMS_PER_KWH = 475.0  # world average of electricity (International Energy Agency, 2019)


@dataclass(frozen=True, slots=True)
class Carbon:
    """A run's energy and what the grid emits for it.

    Attributes:
        seconds: Of the training loop.
        watts: Of the machine.
        grams_per_kwh: Of CO2-equivalent that the grid emits.
        watts_from: How the power was arrived at.
    """

    seconds: float
    watts: float
    grams_per_kwh: float
    watts_from: str

    @property
    def grams(self) -> float:
        """Grams of CO2-equivalent."""
        return self.seconds / 3600 * self.watts / 1000 * self.grams_per_kwh

    def sentence(self) -> str:
        """The estimate with its arithmetic."""
        return (
            f"About {self.grams:,.1f} g of CO2-equivalent: {self.seconds / 3600:.2f} h of the training loop x "
            f"{self.watts:.0f} W ({self.watts_from}) x {self.grams_per_kwh:.0f} g/kWh. An estimate from stated "
            "factors, not a measurement; caches, evaluation, earlier runs and pretraining are not in it."
        )


def loop_seconds(folder: Path, settings: Mapping[str, Any], num_steps: int) -> float | None:
    """Seconds of the training loop, from the rows that were trained on and the rate in the last line of log.jsonl."""
    try:
        lines = (folder / "log.jsonl").read_text(encoding="utf-8").strip().splitlines()
        rate = float(json.loads(lines[-1])["samples_per_second"])
        rows = num_steps * settings["batch_size"] * settings.get("gradient_accumulation_steps", 1)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return rows / rate if rate > 0 else None


def estimate_carbon(
    folder: Path,
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    watts: float | None = None,
    grams_per_kwh: float = GRAMS_PER_KWH,
) -> Carbon | None:
    """The estimate of the run that left `record` and `settings` in a folder; None where it left no times.

    Args:
        folder: Model folder with log.jsonl.
        record: Content of run.json.
        settings: Content of run.yaml.
        watts: Power of the machine; None takes factors per core and accelerator.
        grams_per_kwh: Of CO2-equivalent that the grid emits.
    """
    seconds = loop_seconds(folder, settings, record.get("num_steps", 0))
    if not seconds:
        return None
    if watts is not None:
        return Carbon(seconds, watts, grams_per_kwh, "as stated")
    machine = record.get("hardware", {})
    accelerators, cores = len(machine.get("accelerators") or []), machine.get("num_cores") or 1
    parts = [f"{cores} cores x {WATTS_PER_CORE:.0f} W"]
    if accelerators:
        parts.append(f"{accelerators} accelerators x {WATTS_PER_ACCELERATOR:.0f} W")
    power = cores * WATTS_PER_CORE + accelerators * WATTS_PER_ACCELERATOR
    return Carbon(seconds, power, grams_per_kwh, " + ".join(parts) + ", rough factors")
