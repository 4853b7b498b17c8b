"""The web pages."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import os

from django.db import transaction
from django.http import HttpRequest, JsonResponse

from sidecar.client import options, prepare, submit

from .jobs import database, send_out
from .models import Order


class Declined(Exception):
    """The bank does not want to."""


def place(request: HttpRequest) -> JsonResponse:
    """Place an order; the job that sends it out belongs to the same transaction."""
    answer: dict[str, object] = {}
    try:
        with transaction.atomic():
            order = Order.objects.create(title="Middlemarch")
            prepared = options(timeout=60).prepare(send_out, order.pk)
            order.job = prepared.id
            order.save()
            answer = {"order": order.pk, "job": prepared.id}
            if "carelessly" in request.GET:
                prepared.send()
            else:
                transaction.on_commit(prepared.send)
            if request.GET.get("card") == "declined":
                raise Declined
    except Declined:
        return JsonResponse(answer, status=402)
    return JsonResponse(answer)


def meet(request: HttpRequest) -> JsonResponse:
    """Hand a job off while the other worker does the same."""
    from bookshop import preloaded

    preloaded.MEETING.wait(timeout=20)
    answer = {"worker": os.getpid(), "job": submit(database).id, "first": preloaded.FIRST}
    return JsonResponse({**answer, "next": [prepare(database).id for _ in range(16)]})
