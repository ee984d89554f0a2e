"""Two questions that are asked from outside.

`/livez`: is the process alive? It touches nothing, so a database that is away restarts no one.
`/healthz`: can it serve this tenant? It asks the database, and takes only the tenant's own hosts.
"""

from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpResponse


def plain(text, status=200):
    return HttpResponse(
        f"{text}\n", status=status, content_type="text/plain", headers={"Cache-Control": "no-store"}
    )


def ready(request):
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    except (DatabaseError, InterfaceError):
        return plain("no database", status=503)
    return plain("ok")


def answer_livez(get_response):
    """Middleware that answers before anything else is looked at, the Host header too."""

    def middleware(request):
        if request.path == "/livez":
            return plain("ok")
        return get_response(request)

    return middleware
