"""The deploy graph: the published network rewritten exactly, one rewrite a file, in the form that a target runs best."""
