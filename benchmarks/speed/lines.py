"""The rows of `genkit bench attention` as lines of text."""

from typing import Any

COLUMNS = f"{'':34}{'density':>8}{'ms':>10}  {'quartiles':19}{'planner ms':>11}{'TFLOP/s':>9}{'MiB':>8}  faster than"


def line_of(row: dict[str, Any]) -> str:
    """Return one row as text; a baseline that could not run gives the reason."""
    name = f"{row['side']:34}"
    if row["unavailable"]:
        return f"{name}{'-':>8}  {row['unavailable']}"
    quartiles = f"{row['low_ms']:.2f} .. {row['high_ms']:.2f}"
    memory = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.0f}"
    times = f"{row['density']:8.3f}{row['ms']:10.2f}  {quartiles:19}{_planner(row):>11}"
    return f"{name}{times}{row['tflops']:9.3g}{memory:>8}  {_ratios(row)}"


def _planner(row: dict[str, Any]) -> str:
    if row["kind"] != "planner":
        return ""
    return "in kernel" if row["planner_inside"] else f"{row['planner_ms']:.2f}"


def _ratios(row: dict[str, Any]) -> str:
    """Return the ratio to every baseline, and a plain statement if the fastest of them wins."""
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
    if row["kind"] == "baseline" or not row["ratios"]:
        return ratios
    fastest = min(row["ratios"], key=lambda name: row["ratios"][name])
    return f"{ratios}; dense is faster here ({fastest})" if row["ratios"][fastest] < 1 else ratios
