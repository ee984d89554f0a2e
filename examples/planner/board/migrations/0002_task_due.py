"""Overdue tasks are looked for by their date. Came with 2026.11.2."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("board", "0001_tables_and_welcome")]

    operations = [
        migrations.AddIndex("task", models.Index("due", name="task_due")),
    ]
