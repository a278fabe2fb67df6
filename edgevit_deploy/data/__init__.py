"""Pictures: from a file to a network input."""
