"""A bundle on disk: its manifest, its folder and its README."""
