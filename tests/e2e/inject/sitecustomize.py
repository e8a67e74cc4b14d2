"""Faults inside training workers, for tests: this folder is put on their PYTHONPATH.

``ASTROSAGE_TEST_FAULT`` is JSON: ``{"what": kill | stop | nan, "where": forward | backward |
checkpoint, "position": global batch or step, "rank": r, "once": file}``. With ``once`` it happens
once, however often the worker is restarted.
"""

import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys

_TARGET = "astrosage.train.loop"


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != _TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            run(module)
            _change(module, json.loads(os.environ["ASTROSAGE_TEST_FAULT"]))

        spec.loader.exec_module = exec_module
        return spec


def _change(loop, fault):  # type: ignore[no-untyped-def]
    def strike():  # type: ignore[no-untyped-def]
        if fault.get("once"):
            try:
                os.close(os.open(fault["once"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGSTOP if fault["what"] == "stop" else signal.SIGKILL)

    def due(trainer):  # type: ignore[no-untyped-def]
        here = getattr(trainer, "_test_position", -1)
        return here == fault["position"] and trainer.rank == fault["rank"]

    load, step = loop.Trainer._load, loop.Trainer._step

    def load_and_hook(trainer, source):  # type: ignore[no-untyped-def]
        load(trainer, source)
        layer = trainer.model.model.layers[1]

        def forward(module, inputs, output):  # type: ignore[no-untyped-def]
            if not due(trainer) or fault["where"] != "forward" or not module.training:
                return None
            if fault["what"] == "nan":
                return output * float("nan")
            strike()
            return None

        def backward(module, *_):  # type: ignore[no-untyped-def]
            if due(trainer) and fault["where"] == "backward":
                strike()

        layer.register_forward_hook(forward)
        layer.mlp.register_full_backward_hook(backward)

    def step_and_note(trainer, batch):  # type: ignore[no-untyped-def]
        trainer._test_position = batch.position
        return step(trainer, batch)

    loop.Trainer._load, loop.Trainer._step = load_and_hook, step_and_note
    if fault["where"] != "checkpoint":
        return
    write, save, now = loop.checkpoint._write_all, loop.Trainer._checkpoint, {"due": False}

    def save_and_note(trainer):  # type: ignore[no-untyped-def]
        now["due"] = trainer.rank == fault["rank"] and trainer.state.step == fault["position"]
        save(trainer)

    def write_half(opened, data):  # type: ignore[no-untyped-def]
        if now["due"]:
            opened.write(data[: len(data) // 2])
            strike()
        write(opened, data)

    loop.Trainer._checkpoint, loop.checkpoint._write_all = save_and_note, write_half


if "ASTROSAGE_TEST_FAULT" in os.environ:
    sys.meta_path.insert(0, _Finder())
