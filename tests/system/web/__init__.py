"""Real web stacks: each server as a process of its own, asked over HTTP, hands jobs off to a real daemon.

`apps` holds what a user would have written; a test copies one of them into a folder of its own. Jobs must find it
with no configuration on our side: nothing here tells the daemon about interpreter, path, folder or settings.
"""
