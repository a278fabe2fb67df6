"""What training programs save, with everything around the weights that they put there, and what is said of each file."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tests.helpers.checkpoints import ASSUMED, Define, Malice, assumed_at, seeded_state

State = dict[str, Tensor]
EXECUTED = "read without executing: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A program, and the notes about its file apart from the list of what was not executed."""

    content: Callable[[State, Path, Define], object]
    notes: tuple[str, ...] = (ASSUMED,)
    foreign: tuple[str, ...] = (Malice.name,)


def other_state() -> State:
    """Weights that must not be taken."""
    return seeded_state(seed=1)


def instead(taken: str, other: str, file: str = "weights.pth") -> str:
    code = f"from edgevit_deploy.model.weights import extract_weights as f; f({file!r}, {other!r}, 'other.pth')"
    quoted = code.replace("'", "'\"'\"'")
    return f"`{taken}` taken; for `{other}` instead: python -c '{quoted}'"


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def optimizer(trap: Path) -> dict[str, object]:
    """As AdamW's state_dict, with the canary in it."""
    moments = {"step": torch.tensor(7.0), "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}
    return {"state": {0: moments, 1: dict(moments)}, "param_groups": [{"lr": 1e-3, "params": [0, 1], "hook": Malice(trap)}]}


def published(state: State, trap: Path, define: Define) -> object:
    """saic-fi/edgevit src/main.py, which is DeiT's: utils.save_on_master."""
    return {
        "model": state,
        "optimizer": optimizer(trap),
        "lr_scheduler": {"base_values": [1e-3], "metric": None},
        "epoch": 299,
        "model_ema": other_state(),
        "scaler": {"scale": 65536.0, "_growth_tracker": 3},
        "args": argparse.Namespace(model="edgevit_xxs", input_size=256, data_path=Path("/data"), trap=Malice(trap)),
    }


def timm(state: State, trap: Path, define: Define) -> object:
    """timm/utils/checkpoint_saver.py, CheckpointSaver._save."""
    return {
        "epoch": 10,
        "arch": "edgevit_xxs",
        "state_dict": other_state(),
        "optimizer": optimizer(trap),
        "version": 2,
        "args": argparse.Namespace(input_size=None, img_size=224, trap=Malice(trap)),
        "amp_scaler": {"scale": 1.0},
        "state_dict_ema": state,
        "metric": 71.2,
    }


def lightning(state: State, trap: Path, define: Define) -> object:
    """lightning/pytorch/trainer/connectors/checkpoint_connector.py, dump_checkpoint; the loss has weights of its own."""
    return {
        "epoch": 9,
        "global_step": 900,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(10), "metric.total": torch.tensor(3)},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 10}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.7), "kth_best_model_path": ""}},
        "optimizer_states": [optimizer(trap)],
        "lr_schedulers": [],
        "hyper_parameters": define("their_code.AttributeDict", dict)(lr=1e-3, trap=Malice(trap)),
    }


def deepspeed(state: State, trap: Path, define: Define) -> object:
    """deepspeed/runtime/engine.py, _save_checkpoint: mp_rank_00_model_states.pt."""
    scaler = define("deepspeed_fp16.LossScaler", object)()
    scaler.trap = Malice(trap)
    return {
        "module": state,
        "buffer_names": [key for key in state if "running" in key],
        "optimizer": scaler,
        "param_shapes": [OrderedDict((key, tensor.shape) for key, tensor in state.items())],
        "frozen_param_shapes": None,
        "sparse_tensor_module_names": {"a", "b"},
        "global_steps": 4,
        "ds_config": {"train_batch_size": 8, "zero_optimization": {"stage": 2}},
        "ds_version": "0.15.4",
    }


def tutorial(state: State, trap: Path, define: Define) -> object:
    """docs.pytorch.org, Saving and loading a general checkpoint."""
    return {"epoch": 5, "model_state_dict": state, "optimizer_state_dict": optimizer(trap), "loss": torch.tensor(0.4)}


TRAINERS = {
    "published": Trainer(
        content=published,
        notes=(
            instead("model", "model_ema"),
            "image size 256x256 taken from `args.input_size`",
            assumed_at(256),
        ),
        foreign=("argparse.Namespace", Malice.name, "pathlib.PosixPath"),
    ),
    "timm": Trainer(
        content=timm,
        notes=(
            "averaged (EMA) weights taken, from `state_dict_ema`",
            instead("state_dict_ema", "state_dict"),
            "image size 224x224 taken from `args.img_size`",
            assumed_at(224),
        ),
        foreign=("argparse.Namespace", Malice.name),
    ),
    "Lightning": Trainer(
        content=lightning,
        notes=("prefix `model.` removed", "2 tensors beside the network ignored: criterion.weight, metric.total", ASSUMED),
        foreign=(Malice.name, "their_code.AttributeDict"),
    ),
    "DeepSpeed": Trainer(
        content=deepspeed,
        notes=("weights found under `module`", ASSUMED),
        foreign=("deepspeed_fp16.LossScaler", Malice.name),
    ),
    "PyTorch's tutorial": Trainer(content=tutorial, notes=("weights found under `model_state_dict`", ASSUMED)),
}
