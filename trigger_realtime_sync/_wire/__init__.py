"""Pure: what to ask next, and what an answer means. No socket, thread or clock."""
