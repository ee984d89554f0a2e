"""One page, and the three plain forms on it. Each form leads back to the page."""

from django.conf import settings
from django.db import connection
from django.db.models import F, Prefetch
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import first_login as first_logins
from .branding import palette
from .forms import ProjectForm, TaskForm
from .models import Digest, Project, Task

PALETTE = palette(settings.BRANDING_PRIMARY_COLOR)


@require_safe
def index(request):
    return page(request)


@require_POST
def add_project(request):
    form = ProjectForm(request.POST)
    if not form.is_valid():
        return page(request, project_form=form, status=422)
    return back_to(form.save())


@require_POST
def add_task(request, project_id):
    project = get_object_or_404(Project, id=project_id)
    form = TaskForm(request.POST, instance=Task(project=project), auto_id=f"task-{project.id}-%s")
    if not form.is_valid():
        return page(request, task_forms={project.id: form}, status=422)
    form.save()
    return back_to(project)


@require_POST
def tick(request, task_id):
    """Ticks a task off, or opens it again."""
    task = get_object_or_404(Task, id=task_id)
    task.done_at = None if task.done_at else timezone.now()
    task.save(update_fields=["done_at"])
    return back_to(task.project)


@never_cache
@require_http_methods(["GET", "POST"])
def first_login(request, token):
    """A press of a button uses the link, not that it is opened: mail programs open links, too."""
    if request.method == "POST" and first_logins.use(token):
        response = redirect("index")
        response.set_signed_cookie(
            "member", "first", max_age=30 * 24 * 3600, httponly=True, samesite="Lax", secure=request.is_secure()
        )
        return response
    works = request.method == "GET" and first_logins.is_expected(token)
    context = {"settings": settings, "palette": PALETTE, "works": works}
    return render(request, "board/first_login.html", context, status=200 if works else 410)


def back_to(project):
    return redirect(f"{reverse('index')}#project-{project.id}")


def page(request, project_form=None, task_forms=None, status=200):
    # What is open comes first, what is due soonest first of all.
    tasks = Task.objects.order_by(
        F("done_at").asc(nulls_first=True), F("due").asc(nulls_last=True), "id"
    )
    projects = list(Project.objects.order_by("id").prefetch_related(Prefetch("tasks", tasks)))
    for project in projects:
        blank = TaskForm(auto_id=f"task-{project.id}-%s")
        project.form = (task_forms or {}).get(project.id, blank)
        project.done = sum(task.done_at is not None for task in project.tasks.all())
    context = {
        "settings": settings,
        "palette": PALETTE,
        "projects": projects,
        "project_form": project_form or ProjectForm(auto_id="project-%s"),
        "digest": Digest.objects.first(),
        "is_member": request.get_signed_cookie("member", None) is not None,
        "database": where_the_data_is(),
    }
    return render(request, "board/index.html", context, status=status)


def where_the_data_is():
    """What Postgres itself says of this connection: proof of whose data it can see."""
    with connection.cursor() as cursor:
        cursor.execute("select session_user, current_user, current_schema(), current_database()")
        return dict(zip(("login", "role", "schema", "name"), cursor.fetchone(), strict=True))
