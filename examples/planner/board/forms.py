from django import forms
from django.utils.translation import gettext_lazy as _

from .models import Project, Task


class ProjectForm(forms.ModelForm):
    class Meta:
        model = Project
        fields = ["name"]
        labels = {"name": _("New project")}


class TaskForm(forms.ModelForm):
    class Meta:
        model = Task
        fields = ["title", "due"]
        labels = {"title": _("New task"), "due": _("Due")}
        widgets = {"due": forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})}
