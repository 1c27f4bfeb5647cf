"""Text that fits a terminal and does it no harm, whatever stands in the data."""

from collections.abc import Collection, Sequence

from pipeline.screen import printable

NARROW = 10  # characters that a column of text keeps


def aligned(lines: Sequence[Sequence[str]], left: Collection[int] = (0,), width: int | None = None) -> list[str]:
    """Return lines of cells in columns, made printable; those in `left` are text and are cut to fit into `width`."""
    cells = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    gaps = 2 * (len(widths) - 1)
    while width is not None and sum(widths) + gaps > width and max(widths[i] for i in left) > NARROW:
        widths[max(left, key=lambda i: widths[i])] -= 1
    return [
        "  ".join(
            shortened(cell, width).ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def stacked(lines: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return ruled tables of text and figures, one below the other where not all columns fit into `width`."""
    widths = [max(len(printable(cell)) for cell in column) for column in zip(*lines, strict=True)]
    tables, used = [[0]], width
    for column, needed in enumerate(widths[1:], 1):
        used += 2 + needed
        if used > width:
            tables.append([0])
            used = min(widths[0], NARROW) + 2 + needed
        tables[-1].append(column)
    found = [ruled(aligned([[line[i] for i in table] for line in lines], width=width)) for table in tables[1:]]
    return [line for table in found for line in ("", *table)][1:]


def ruled(lines: Sequence[str]) -> list[str]:
    """Return lines with a rule below the first, the headings."""
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def shortened(text: str, width: int) -> str:
    """Return text of at most `width` characters (3 or more), with dots for its middle: both ends of a uri say most."""
    if len(text) <= width:
        return text
    end = (width - 3 + 1) // 2
    return f"{text[: width - 3 - end]}...{text[len(text) - end :]}"
