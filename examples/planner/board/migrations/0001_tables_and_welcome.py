"""The tables, and a first project so that a new tenant's page isn't bare."""

from datetime import timedelta

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.utils import timezone, translation
from django.utils.translation import gettext as _

ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def welcome(apps, schema_editor):
    Project, Task = apps.get_model("board", "Project"), apps.get_model("board", "Task")
    now, today = timezone.now(), timezone.localdate()
    # `migrate` itself speaks English; the tenant may not.
    with translation.override(settings.LANGUAGE_CODE):
        name = _("Welcome, %(tenant)s") % {"tenant": settings.TENANT_DISPLAY_NAME}
        project = Project.objects.create(name=name[:80])
        next_week = today + timedelta(days=7)
        Task.objects.create(project=project, title=_("Open your planner"), done_at=now)
        Task.objects.create(project=project, title=_("Tick this task off"), due=today)
        Task.objects.create(project=project, title=_("Add your first project"), due=next_week)


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Digest",
            fields=[
                ("id", ID),
                ("counted_at", models.DateTimeField()),
                ("open_tasks", models.PositiveIntegerField()),
                ("open_by_project", models.JSONField(default=dict)),
            ],
        ),
        migrations.CreateModel(
            name="FirstLogin",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("until", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Project",
            fields=[
                ("id", ID),
                ("name", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("id", ID),
                ("title", models.CharField(max_length=120)),
                ("due", models.DateField(blank=True, null=True)),
                ("done_at", models.DateTimeField(editable=False, null=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tasks",
                        to="board.project",
                    ),
                ),
            ],
        ),
        migrations.RunPython(welcome, migrations.RunPython.noop),
    ]
