"""What the shop keeps."""

# mypy: disable-error-code="import-untyped", allow-subclassing-any

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """One order, and the job that sends it out."""

    title = models.CharField(max_length=100)
    job = models.CharField(max_length=36)
    is_sent = models.BooleanField(default=False)
