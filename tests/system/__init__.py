"""Tests against a real daemon: real sockets, real children, real signals."""
