"""`evaluation.json`: a finished evaluation inside of a bundle, and read back with distrust."""

EVALUATION_NAME = "evaluation.json"
