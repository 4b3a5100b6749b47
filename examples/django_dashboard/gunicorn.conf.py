"""gunicorn for this dashboard: `gunicorn --chdir examples/django_dashboard dashboard.wsgi`."""

from trigger_realtime_sync.contrib.sse import end_relays, end_relays_on_sigterm

worker_class = "gthread"
# One for each tab that looks at a run, and some for everything else.
threads = 100
keepalive = 0
graceful_timeout = 5


def post_worker_init(worker):  # a deploy, a reload
    end_relays_on_sigterm()


def worker_int(worker):  # Ctrl-C, SIGQUIT
    end_relays()


def post_request(worker, request, environ, response):  # the last of max_requests
    if not worker.alive:
        end_relays()


def worker_exit(server, worker):  # whatever else: a thread that is left keeps the process
    end_relays()
