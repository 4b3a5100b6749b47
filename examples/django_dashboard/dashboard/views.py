"""Two pages, and the events that feed them."""

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from trigger_realtime_sync.contrib.django.client import get_client
from trigger_realtime_sync.contrib.django.views import events_view, logged_in
from trigger_realtime_sync.contrib.django.watching import watch_run
from trigger_realtime_sync.contrib.sse import shared

from .models import Job

# Starts jobs and answers questions: your own code, which triggers tasks. Set by `demo`.
tasks = None


def tag_of(user):
    """Return the tag of all runs of a user."""
    return f"user_{user.pk}"


def owns_run(request, run_id):
    """Return True if the user triggered the run, and so may see it."""
    return logged_in(request) and Job.objects.filter(owner=request.user.pk, run_id=run_id).exists()


@login_required
def runs(request):
    """Show the page that lists the runs."""
    kept = Job.objects.filter(owner=request.user, finished_at__isnull=False).count()
    context = {"kept": kept, "can_start": tasks is not None}
    return render(request, "dashboard/runs.html", context)


@login_required
@require_POST
def start_job(request):
    """Trigger a task: the button."""
    if tasks is None:
        return HttpResponse("This server starts no tasks.", status=501)
    _keep(request, tasks.start_job(tag_of(request.user)))
    return HttpResponse(status=204)


@login_required
def ask(request):
    """Show the page with the question; after it was asked, redirect to the answer."""
    question = request.POST.get("question", "").strip()
    if not question or tasks is None:
        return render(request, "dashboard/answer.html")
    run_id = tasks.ask(question)
    _keep(request, run_id)
    request.session[run_id] = question
    return redirect("answer", run_id)


@login_required
def answer(request, run_id):
    """Show the page with an answer that is still being written."""
    get_object_or_404(Job, owner=request.user, run_id=run_id)
    question = request.session.get(run_id, "What is a job queue?")
    return render(request, "dashboard/answer.html", {"run_id": run_id, "question": question})


def _keep(request, run_id):
    Job.objects.create(owner=request.user, run_id=run_id)
    # Sends the signals when the run changes.
    watch_run(run_id, skip_columns=("payload", "output"))


def _runs_source(request):
    return shared(
        get_client().subscribe_to_runs_with_tag,
        tag_of(request.user),
        created_at="1h",
        skip_columns=("payload", "output"),
        throttle_in_ms=100,
    )


def _answer_source(request, run_id):
    return shared(
        get_client().subscribe_to_run_with_streams,
        run_id,
        skip_columns=("payload",),
        throttle_in_ms=50,
    )


runs_events = events_view(_runs_source)
answer_events = events_view(_answer_source, permission=owns_run)
