"""Benchmarks: one comparison per file. Each checks that both sides compute the same before it times them."""
