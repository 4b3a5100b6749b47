"""What the tests share: scripted servers, recorders of callbacks, and waiting."""
