"""Receivers of signals: they record in the database what happens to runs."""

from django.dispatch import receiver

from trigger_realtime_sync.contrib.django.signals import run_completed

from .models import Job


@receiver(run_completed)
def keep_result(sender, run, **more):
    """Record how a run ended. A restart may send the signal again, which changes nothing."""
    Job.objects.filter(run_id=run.id).update(status=run.status.value, finished_at=run.finished_at)
