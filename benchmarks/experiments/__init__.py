"""Bounded experiments: the gain from parts that the library does not have."""
