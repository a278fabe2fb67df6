"""The reference evaluation of a MIL program: its operators, its layers and the program around them."""
