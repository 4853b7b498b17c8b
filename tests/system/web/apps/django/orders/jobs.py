"""What is done behind the web page, with the ORM."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import os
import sys
import time

from django.db import connection

from .models import Order

IMPORTED = os.getpid()


def where(begun: float = 0.0) -> dict[str, float]:
    """Tell in which process this module was imported, in which it is used, and how long that took to begin."""
    took = time.monotonic() - begun
    return {"imported": IMPORTED, "own": os.getpid(), "parent": os.getppid(), "took": took}


def nothing() -> None:
    """Do nothing."""


def count() -> int:
    """Ask the database one thing."""
    return int(Order.objects.filter(is_sent=False).count())


def add(title: str) -> int:
    """Write one row."""
    return int(Order.objects.create(title=title).pk)


def send_out(key: int) -> dict[str, str]:
    """Mark an order as sent and tell which job its row names."""
    order = Order.objects.get(pk=key)
    order.is_sent = True
    order.save()
    return {"job": order.job, "prefix": sys.prefix, "settings": os.environ["DJANGO_SETTINGS_MODULE"]}


def database() -> str:
    """Use the database and tell which it is."""
    Order.objects.count()
    return str(connection.vendor)
