"""One library a file; each has `program(case, data) -> Program`."""
