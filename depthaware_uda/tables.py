"""Tables of numbers as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["percent_table"]


def percent_table(
    rows: Sequence[str], columns: Mapping[str, Mapping[str, float]], *, signed: frozenset[str] = frozenset()
) -> list[str]:
    """Lines of a table of fractions in percent, one decimal; a dash where a column has no number.

    Args:
        rows: Names of the rows, in order.
        columns: Numbers by row name, by heading; NaN counts as missing.
        signed: Headings of columns whose numbers get a sign.
    """
    first = max(map(len, rows), default=0)
    widths = {heading: max(len(heading), 5) for heading in columns}
    lines = ["  ".join([" " * first, *(f"{heading:>{width}}" for heading, width in widths.items())])]
    for row in rows:
        cells = [
            f"{_percent(values.get(row), signed=heading in signed):>{widths[heading]}}"
            for heading, values in columns.items()
        ]
        lines.append("  ".join([f"{row:<{first}}", *cells]))
    return lines


def _percent(value: float | None, *, signed: bool) -> str:
    if value is None or value != value:
        return "-"
    return f"{100 * value:{'+' if signed else ''}.1f}"
