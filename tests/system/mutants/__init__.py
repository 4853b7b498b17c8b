"""Daemons and zygotes with one thing broken or bent, to be named to a keeper (tests/mutant.py)."""
