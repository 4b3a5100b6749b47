"""Order, throttle, coalescing, and the threads that callbacks run on. Knows nothing of runs."""
