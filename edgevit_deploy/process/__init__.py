"""Processes: signals, memory, and the children in which native code runs on files from anywhere."""
