"""Calibration: the pictures that show how large a network's values get, and the file that keeps what they showed."""
