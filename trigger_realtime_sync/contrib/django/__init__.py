"""Django: a client for the process, signals, and runs for browsers.

    INSTALLED_APPS = [..., "trigger_realtime_sync.contrib.django"]
    TRIGGER_REALTIME = {"ACCESS_TOKEN": env("TRIGGER_SECRET_KEY")}

- `trigger_realtime_sync.contrib.django.client.get_client()`: the client. Stale database connections
  are closed around its callbacks, as they are around requests.
- `….signals`: `run_updated`, `run_completed`, `part_received`, sent by `….watching`.
- `….triggering.trigger_on_commit(…)`: triggers once the transaction is committed.
- `….views.events_view(…)`: a view that shows a run to browsers; `….urls` has two of them.
- `….views.token_view(…)`, and `{% load trigger_realtime %}`: for pages that follow a run by
  themselves, with the official React hooks say.
- `manage.py watch_run RUN_ID`.

Settings, all optional, in the dictionary `TRIGGER_REALTIME`: the options of `RealtimeClient` in
capitals (`ACCESS_TOKEN`, `BASE_URL`, `PREVIEW_BRANCH`…; those left out come from the environment,
as `RealtimeClient` says), `KEEP_ALIVE` (seconds of silence after which a browser is sent a
comment), `MAX_AGE` (seconds after which it is asked again whether it may, 3600; None for never),
`MAX_RELAYS` (open in one process, 1000) and `MAX_RELAYS_PER_USER` (20; None for no bound),
`BROWSER_URL` (of the API, as browsers reach it, if that is not `BASE_URL`), `PERMISSION` (a
callable that decides who may see runs, or its dotted path, see `….views`), and `RELAY_OWNER` (a
callable that says whose a request is, or its dotted path; by default the user's `pk`, else the
address).

At a log-out the user's relays of this process end, so that the browsers are asked again.
"""
