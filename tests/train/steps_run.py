"""One rank of a training without Ray: ``rank workers port model checkpoints spec steps``.

Prints the losses of its steps; takes a checkpoint at the end and goes on from the last.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from astrosage.runs.storage import Storage
from astrosage.spec.train import CheckpointSpec, TrainSpec
from astrosage.train import deepspeed_config, engine, model
from astrosage.train.batches import flatten
from astrosage.train.checkpoint import Checkpoints, Group

ROWS, LENGTH = 4, 64


def main() -> None:
    rank, workers, port = (int(x) for x in sys.argv[1:4])
    source, folder, options, last = sys.argv[4:8]
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(workers), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo")
    spec = TrainSpec.model_validate({"objective": "cpt", "data": "x", **json.loads(options)})
    micro = ROWS // workers
    config = deepspeed_config.build(spec, workers, micro, 1)
    engine.prepare()
    loaded = model.load(
        Path(source),
        bf16=spec.precision == "bf16",
        activation_checkpointing=spec.activation_checkpointing,
        sharding=config if spec.zero.stage == 3 else None,
        lora=spec.lora,
    )
    trained = engine.initialize(loaded, spec, config)
    group = Group(rank, workers, engine.agree_any, engine.from_first)
    store = Checkpoints(Storage(folder), CheckpointSpec(), group)
    found = store.restore(trained, loaded.model)
    rng = np.random.default_rng(0)
    data = rng.integers(3, 500, size=(64, ROWS, LENGTH)).astype(np.int32)
    mask = np.ones((micro, LENGTH), dtype=np.uint8)
    mask[:, 0] = 0
    losses, norms = [], []
    for step in range(found["step"] if found else 0, int(last)):
        mine = data[step][rank * micro : (rank + 1) * micro]
        engine.set_learning_rate(trained, spec.learning_rate)
        loss = trained(flatten(mine, np.ones_like(mine), mask))
        trained.backward(loss * (workers / (ROWS * (LENGTH - 1))))
        norms.append(engine.step(trained, last=True))
        losses.append(engine.all_sum(float(loss.detach()))[0] / (ROWS * (LENGTH - 1)))
    store.save(trained, loaded.model, {"step": int(last)})
    store.wait()
    torch.distributed.barrier()
    if rank == 0:
        print(json.dumps({"losses": losses, "norms": norms}))


if __name__ == "__main__":
    main()
