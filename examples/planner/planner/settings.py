"""Everything that differs between tenants is read from the environment; nothing else is."""

import os
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured


def needed(name):
    try:
        return os.environ[name]
    except KeyError:
        raise ImproperlyConfigured(f"set {name} in the environment") from None


def comma_separated(name):
    return [part for part in os.environ.get(name, "").split(",") if part]


BASE_DIR = Path(__file__).resolve().parent.parent

# Who this instance is for.
TENANT_NAME = os.environ.get("TENANT_NAME", "planner")
TENANT_DISPLAY_NAME = os.environ.get("TENANT_DISPLAY_NAME", "Planner")
TENANT_PLAN = os.environ.get("TENANT_PLAN", "")
TENANT_URL = os.environ.get("TENANT_URL", "")
BRANDING_PRIMARY_COLOR = os.environ.get("BRANDING_PRIMARY_COLOR", "")
BRANDING_LOGO_URL = os.environ.get("BRANDING_LOGO_URL", "")
# The image knows best what it is; while versions change, TENANT_VERSION may be ahead of it.
VERSION = os.environ.get("PLANNER_VERSION") or os.environ.get("TENANT_VERSION", "development")

# Where it answers.
SECRET_KEY = needed("SECRET_KEY")
SECRET_KEY_FALLBACKS = comma_separated("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = comma_separated("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = comma_separated("CSRF_TRUSTED_ORIGINS")
CSRF_COOKIE_SECURE = TENANT_URL.startswith("https://")
CSRF_COOKIE_HTTPONLY = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ROOT_URLCONF = "planner.urls"
WSGI_APPLICATION = "planner.wsgi.application"

# Where its data is. The schema is the role's affair (search_path), not the URL's.
DATABASES = {
    "default": dj_database_url.parse(
        needed("DATABASE_URL"), conn_max_age=60, conn_health_checks=True
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Its language and clock.
LANGUAGE_CODE = os.environ.get("LANGUAGE_CODE", "en")
LANGUAGES = [("de", "Deutsch"), ("en", "English"), ("fr", "Français")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = os.environ.get("TIME_ZONE", "UTC")
USE_TZ = True

INSTALLED_APPS = ["django.contrib.humanize", "board"]
MIDDLEWARE = [
    "planner.health.answer_livez",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {
    # A count that is ten seconds late is of no use: it expires, so none pile up without a worker.
    "count open tasks": {"task": "board.count", "schedule": 10, "options": {"expires": 10}},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
