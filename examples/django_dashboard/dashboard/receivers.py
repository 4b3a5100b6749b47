"""What happens in the database when something happens to a run."""

from django.dispatch import receiver

from trigger_realtime_sync.contrib.django.signals import run_completed

from .models import Job


@receiver(run_completed)
def keep_result(sender, run, **more):
    """Keeps how a run ended. It may be told twice: the second time changes nothing."""
    Job.objects.filter(run_id=run.id).update(status=run.status.value, finished_at=run.finished_at)
