"""Pure: what to request next, and what an answer means. No socket, thread or clock."""
