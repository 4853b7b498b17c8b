"""The tests mirror sidecar/; system/ holds those with a real daemon and real children."""
