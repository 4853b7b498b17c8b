"""Speed, measured: `make bench` prints a table, `make bench JSON=file` writes it too.

Absolute figures on a shared machine mean little; each row has a peer or a limit beside it that is measured in the same
run, and the ratio to it. Nothing here is a test, and no test has a time limit because of it.
"""
