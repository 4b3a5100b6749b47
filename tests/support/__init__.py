"""What the tests of the client share: a scripted server, recorders of callbacks, and waiting."""
