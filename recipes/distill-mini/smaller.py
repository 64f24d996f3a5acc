"""Make a smaller student out of a checkpoint: the same model with some of its layers left out.

python smaller.py CHECKPOINT OUT --encoder-layers 3 --decoder-layers 1

Layers are taken at even distances, the first and the last among them. What is left has still seen
speech, so a student needs minutes of training to be worth comparing, where one that starts from
nothing needs days.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

PLACES = {
    "encoder": re.compile(r"(audio_encoder\.whisper\.layers\.)(\d+)(\..*)"),
    "decoder": re.compile(r"(model\.layers\.)(\d+)(\..*)"),
}
COPIED = ("generation_config.json", "preprocessor_config.json", "tokenizer.json",
          "tokenizer_config.json")  # fmt: skip


def kept_layers(count: int, wanted: int) -> list[int]:
    """So many of the layers 0 to count - 1, at even distances; the last one if it is only one."""
    if not 1 <= wanted <= count:
        raise SystemExit(f"there are {count} layers; 1 to {count} of them can stay, not {wanted}")
    if wanted == 1:
        return [count - 1]
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]


def main() -> None:
    """Write the smaller checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder-layers", type=int, required=True)
    parser.add_argument("--decoder-layers", type=int, required=True)
    args = parser.parse_args()
    config = json.loads((args.checkpoint / "config.json").read_text(encoding="utf-8"))
    stay = {
        "encoder": kept_layers(config["whisper_config"]["encoder_layers"], args.encoder_layers),
        "decoder": kept_layers(config["num_hidden_layers"], args.decoder_layers),
    }
    tensors = {}
    for name, tensor in load_file(args.checkpoint / "model.safetensors").items():
        if (new := renamed(name, stay)) is not None:
            tensors[new] = tensor
    config["whisper_config"]["encoder_layers"] = args.encoder_layers
    config["num_hidden_layers"] = args.decoder_layers
    args.out.mkdir(parents=True)
    for name in COPIED:
        if (args.checkpoint / name).is_file():
            shutil.copyfile(args.checkpoint / name, args.out / name)
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, args.out / "model.safetensors", metadata={"format": "pt"})
    count = sum(tensor.numel() for tensor in tensors.values())
    print(f"{args.out}: encoder layers {stay['encoder']}, decoder layers {stay['decoder']}, "
          f"{count:,} parameters")  # fmt: skip


def renamed(name: str, stay: dict[str, list[int]]) -> str | None:
    """A tensor's name in the smaller model; ``None`` if its layer is left out."""
    for part, place in PLACES.items():
        if found := place.fullmatch(name):
            before, layer, after = found.groups()
            if int(layer) not in stay[part]:
                return None
            return f"{before}{stay[part].index(int(layer))}{after}"
    return name


if __name__ == "__main__":
    main()
