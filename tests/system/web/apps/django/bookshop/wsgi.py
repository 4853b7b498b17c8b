"""What gunicorn loads: before it forks its workers, because of --preload."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")

application = get_wsgi_application()

import bookshop.preloaded  # noqa: E402, F401  (uses models, so Django has to be ready)
