from django.urls import path

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("projects", views.add_project, name="add_project"),
    path("projects/<int:project_id>/tasks", views.add_task, name="add_task"),
    path("first-login/<str:token>", views.first_login, name="first_login"),
    path("tasks/<int:task_id>/tick", views.tick, name="tick"),
]
