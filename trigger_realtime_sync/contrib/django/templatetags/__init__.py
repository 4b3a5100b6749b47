"""`{% load trigger_realtime %}`."""
