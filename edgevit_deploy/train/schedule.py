"""The learning rate of each update: timm's cosine after a warm-up, and a second one where the image size grows."""

from typing import Any

import torch

from edgevit_deploy.train.order import Order
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.timm_parts import timm_part

RESTART_WARMUP = 0.05
"""Share of the updates at the final size in which the second cosine warms up."""


class Schedule:
    """Sets the learning rate of every group.

    A network that is used to pictures of another size has much to learn again. At the end of one cosine over both sizes its
    learning rate would be too small for that: 84.2 % on Fashion-MNIST, where it had 88.6 % at the small size
    (docs/measurements/training.md).

    Args:
        optimizer: of the network.
        recipe: with the rates.
        order: says how many updates there are, and how many of them at the small size.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: Recipe, order: Order) -> None:
        self._turn = order.small_updates
        warmup = round(recipe.warmup_epochs * order.updates_per_epoch)
        last = order.updates - self._turn
        self._small = self._cosine(optimizer, recipe, self._turn, warmup) if self._turn else None
        if self._small:
            warmup = round(RESTART_WARMUP * last)
            for group in optimizer.param_groups:
                group["initial_lr"] = recipe.scaled(recipe.restart_learning_rate)  # where timm begins from
        self._final = self._cosine(optimizer, recipe, last, warmup)

    def step_update(self, update: int) -> None:
        """Set the rates for the update of that number, from 0."""
        if self._small and update < self._turn:
            self._small.step_update(update)
        else:
            self._final.step_update(update - self._turn)

    @staticmethod
    def _cosine(optimizer: torch.optim.Optimizer, recipe: Recipe, updates: int, warmup: int) -> Any:
        return timm_part("scheduler").CosineLRScheduler(
            optimizer,
            t_initial=max(2, updates),  # of one update timm warns that a cosine of it is none
            lr_min=recipe.min_learning_rate,
            warmup_t=min(updates, warmup),
            warmup_lr_init=recipe.warmup_learning_rate,
            t_in_epochs=False,
        )
