"""The settings of a small Django project; nothing in them is about sidecar."""

from __future__ import annotations

from pathlib import Path

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["orders"]
ROOT_URLCONF = "bookshop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).parent.parent / "bookshop.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}
