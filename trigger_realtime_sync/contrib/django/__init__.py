"""Django: a client for the process, signals, and runs for browsers.

    INSTALLED_APPS = [..., "trigger_realtime_sync.contrib.django"]
    TRIGGER_REALTIME = {"ACCESS_TOKEN": env("TRIGGER_SECRET_KEY")}

- `trigger_realtime_sync.contrib.django.client.get_client()`: the client. Database connections are
  closed around its callbacks as they are around requests.
- `….signals`: `run_updated`, `run_completed`, `part_received`; `….watching` sends them.
- `….views.events_view(…)`: a view that shows a run to browsers; `….urls` has two of them.
- `manage.py watch_run RUN_ID`.

Settings, all optional, in the dictionary `TRIGGER_REALTIME`: the options of `RealtimeClient` in
capitals (`ACCESS_TOKEN`, `BASE_URL`, `THROTTLE_IN_MS`, `PREVIEW_BRANCH`, `RETRY`, `TIMEOUTS`,
`MAX_CACHED`, `HEADERS`, `PROXIES`, `VERIFY`), `KEEP_ALIVE` (seconds between comments to a browser),
and `PERMISSION` (who may see runs: a callable or its dotted path, see `….views`).
"""
