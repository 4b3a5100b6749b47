"""`manage.py demo`: set up a database, a user and a stand-in for Trigger.dev, and run the site."""

import os

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand

from trigger_realtime_sync.contrib.django.watching import watch_run
from trigger_realtime_sync.testing import RealtimeServer

from ... import views
from ...models import Job
from ...tasks import Tasks


class Command(BaseCommand):
    help = "Run the dashboard against a server in this process."
    # `runserver` makes them, after the token of the demonstration has been set.
    requires_system_checks = ()

    def add_arguments(self, parser):
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument(
            "--api", help="the base URL of an API, instead of a server in this process"
        )

    def handle(self, *arguments, port, api, **options):
        call_command("migrate", verbosity=0)
        user = User.objects.filter(username="demo").first()
        user = user or User.objects.create_user("demo", password="demo")
        if api:
            os.environ["TRIGGER_API_URL"] = api
            self._serve(port)
            return
        with RealtimeServer() as server:
            os.environ["TRIGGER_API_URL"] = server.url
            os.environ["TRIGGER_SECRET_KEY"] = "tr_demo"
            Job.objects.all().delete()
            views.tasks = Tasks(server)
            for _ in range(6):
                job = Job.objects.create(
                    owner=user, run_id=views.tasks.start_job(views.tag_of(user))
                )
                watch_run(job.run_id)
            self._serve(port)

    def _serve(self, port):
        call_command("runserver", f"127.0.0.1:{port}", use_reloader=False)
