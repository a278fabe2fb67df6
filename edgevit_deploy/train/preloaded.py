"""Imports what the processes that augment pictures need, for the server that they are forked from."""

from contextlib import suppress

from edgevit_deploy.errors import MissingError
from edgevit_deploy.train.timm_parts import timm_part

with suppress(MissingError, ImportError):
    timm_part("data")
