"""Experiments: one question per file, each one command."""
