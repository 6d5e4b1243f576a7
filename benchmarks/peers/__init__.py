"""One library per file; each has `program(case, data) -> Program`."""
