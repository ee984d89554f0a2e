from django.urls import include, path

from . import health

urlpatterns = [
    path("healthz", health.ready),
    path("", include("board.urls")),
]
