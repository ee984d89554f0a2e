from django.db import models
from django.utils import timezone


class Project(models.Model):
    name = models.CharField(max_length=80)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return self.name


class Task(models.Model):
    project = models.ForeignKey(Project, models.CASCADE, related_name="tasks")
    title = models.CharField(max_length=120)
    due = models.DateField(null=True, blank=True)
    done_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        indexes = [models.Index("due", name="task_due")]

    def __str__(self):
        return self.title

    @property
    def overdue(self):
        return self.done_at is None and self.due is not None and self.due < timezone.localdate()


class Digest(models.Model):
    """What the worker last counted, by project; there is one row."""

    counted_at = models.DateTimeField()
    open_tasks = models.PositiveIntegerField()
    open_by_project = models.JSONField(default=dict)


class FirstLogin(models.Model):
    """A link that lets one person in, once. The token itself is nowhere but in the link."""

    digest = models.CharField(max_length=64, primary_key=True)
    until = models.DateTimeField()
