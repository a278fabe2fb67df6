"""The parts of `compare_preprocessing.py`: pictures, the ways from a picture's file to a network's pixels, and the tables."""
