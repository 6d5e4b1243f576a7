"""Recurrent cells, one family a file."""
