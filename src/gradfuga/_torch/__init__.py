"""Behind the torch wall: the tape, the parameters, the cadence, the recorder, the launch."""
