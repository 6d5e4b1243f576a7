"""Experiments: one question a file, each one command."""
