"""The project's own record of its runs."""

from django.conf import settings
from django.db import models


class Job(models.Model):
    """A run and the user who triggered it, the only one who may see it."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    run_id = models.CharField(max_length=100, unique=True)
    status = models.CharField(max_length=30, default="QUEUED")
    finished_at = models.DateTimeField(null=True)
