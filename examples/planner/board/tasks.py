"""What the worker does. Beat asks for it every ten seconds (CELERY_BEAT_SCHEDULE)."""

from celery import shared_task
from celery.signals import worker_ready
from django.db.models import Count, Q
from django.utils import timezone

from .models import Digest, Project


@shared_task(name="board.count")
def count():
    """Counts what is open in each project and keeps it for the page to show."""
    open_tasks = Count("tasks", filter=Q(tasks__done_at=None))
    by_project = dict(Project.objects.annotate(open=open_tasks).values_list("id", "open"))
    total = sum(by_project.values())
    Digest.objects.update_or_create(
        id=1,
        defaults={
            "counted_at": timezone.now(),
            "open_tasks": total,
            "open_by_project": by_project,
        },
    )
    return total


@worker_ready.connect
def count_at_once(**kwargs):
    """A fresh worker doesn't wait for beat's next turn."""
    count.delay()
