"""What is done behind the web page, with the ORM."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import os
import sys

from django.db import connection

from .models import Order


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
