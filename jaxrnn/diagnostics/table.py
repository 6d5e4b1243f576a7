"""Tables of text."""


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """The lines of a table: columns as wide as their entries, and a rule below the first row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]
