"""Transport: a mosquitto broker and a typed bus on it."""
