"""Where watts come from: one file per kind of sensor, and the model for devices that have none."""
