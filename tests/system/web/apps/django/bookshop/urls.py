"""Where the views are."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

from django.urls import path
from orders import views

urlpatterns = [path("place", views.place), path("meet", views.meet)]
