"""Lay the table of faults out: a row for each kind, a column for each framework."""

FRAMEWORKS = ("sklearn", "pytorch", "tensorflow", "jax")


def lay_table_out(reports):
    """Return the lines of what the tests have recorded as their faults, none where none did."""
    found = {}
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == "fault":
                kind, framework, text = value
                found.setdefault(kind, {})[framework] = text
    rows = [("fault", *FRAMEWORKS)]
    rows += [(kind, *(row.get(name, "–") for name in FRAMEWORKS)) for kind, row in found.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    )
    return [line.rstrip() for line in lines] if found else []
