"""Makes of an exported release what the training scripts had kept, so that export.py, or more training, can go on where the work folder is gone:
python restore.py FOLDER, or ARCHIVE of it

Every number is rounded as it was exported. A release has no heads of CTC and no state of an optimizer.
"""
import sys
import tarfile
import tempfile
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import load_file

import onnx_files
import sizes
import training
from export import SHARPER
from speaker import SpeakerEncoder
from speech_tokenizer import SpeechTokenizer


def initializers(path):
    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(path).graph.initializer}


def from_onnx(path, write, module):
    """The module with the file's weights. Which of them goes by which name is found by writing a file that holds the numbers of the parameters."""
    state = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
    numbered = {name: torch.full_like(value, number) for number, (name, value) in enumerate(state.items())}
    module.load_state_dict(numbered, strict=False)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        write(file.name, module)
        number_of = {name: int(value.flatten()[0]) for name, value in initializers(file.name).items()}
    names = list(state)
    found = {names[number_of[name]]: value.T if name.startswith("onnx::MatMul") else value for name, value in initializers(path).items()}
    missing = set(state) - set(found)
    assert not missing, f"{path} has no {sorted(missing)}"
    module.load_state_dict(found, strict=False)
    return module.state_dict()


def keep(name, state, prefix=""):
    training.save(dict(model={prefix + k: v.float() if v.is_floating_point() else v for k, v in state.items()}, step=0, seconds=0.0), f"{name}.pt")


def restore(folder):
    model = load_file(folder / "model-00001-of-00001.safetensors")
    model["model.norm.weight"] = model["model.norm.weight"] / SHARPER
    for name in ("language_model", "refined"):
        keep(name, model, "model.")
    speech = folder / "token2wav"
    keep("flow", torch.load(speech / "flow.pt", weights_only=True))
    keep("vocoder", torch.load(speech / "hift.pt", weights_only=True))
    keep("speech_tokenizer", from_onnx(speech / "speech_tokenizer_v2_25hz.onnx", onnx_files.write_speech_tokenizer,
                                       SpeechTokenizer(**sizes.SPEECH_TOKENIZER)), "tokenizer.")
    keep("speaker", from_onnx(speech / "campplus.onnx", onnx_files.write_speaker, SpeakerEncoder(**sizes.SPEAKER)), "encoder.")


def main(path):
    if path.is_dir():
        return restore(path)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as tar:
        tar.extractall(folder, filter="data")
        restore(Path(folder) / "nano")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
