"""A dashboard with Django: each user's own runs, live, and an answer that is streamed.

    pip install 'trigger-realtime-sync[django]'
    python examples/django_dashboard/manage.py demo

Then open http://127.0.0.1:8000 and log in as demo, with the password demo.
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    execute_from_command_line(sys.argv)
