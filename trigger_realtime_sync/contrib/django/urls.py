"""`path("realtime/", include("trigger_realtime_sync.contrib.django.urls"))`.

With the default permission, every logged-in user may see every run whose id they know.
"""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "trigger_realtime"

urlpatterns = [
    path("runs/<str:run_id>/events", views.run_events, name="run"),
    path("runs/<str:run_id>/streams/<path:key>/events", views.stream_events, name="stream"),
]
