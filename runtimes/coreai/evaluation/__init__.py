"""The reference evaluation of a Core AI program: its operators, what its composites are declared to be, and the program."""
