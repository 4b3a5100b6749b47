"""The URLs of pages, events, and login."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

urlpatterns = [
    path("", views.runs, name="runs"),
    path("jobs", views.start_job, name="start-job"),
    path("questions", views.ask, name="ask"),
    path("answers/<str:run_id>", views.answer, name="answer"),
    path("events/runs", views.runs_events, name="runs-events"),
    path("events/answers/<str:run_id>", views.answer_events, name="answer-events"),
    path("login", LoginView.as_view(template_name="dashboard/login.html"), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
]
