"""What comes from outside on its way in, and its text on the way out."""
