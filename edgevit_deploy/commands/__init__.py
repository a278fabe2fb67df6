"""The sub-commands of the command line, one to a module; each returns its exit code."""
