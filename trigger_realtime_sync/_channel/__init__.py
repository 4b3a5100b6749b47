"""One running target: its feeds, its latest state, and the receivers it notifies."""
