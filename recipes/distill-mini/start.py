"""Everything that the rows start from: a small student, and who hears what with which transcript.

    python start.py --teacher ../../runs/ark-teacher/average --cut ../../checkpoints/ark-mini \
        --train TRAIN.jsonl... --dev DEV.jsonl... --out ../../runs/distill-mini

The student is cut out of a checkpoint, the teacher's own unless another is named: some of its
layers, and of their feed-forward neurons those with the largest weights. It has to learn again, but
need not begin with nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

COPIED = ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json",
          "generation_config.json")  # fmt: skip
ENCODER, DECODER = "audio_encoder.whisper.layers.", "model.layers."
POSITIONS = "audio_encoder.whisper.embed_positions.weight"  # unused by rotary models
FFN = {  # matrices into the neurons, those out of them
    ENCODER: (("fc1.weight", "fc1.bias"), ("fc2.weight",)),
    DECODER: (("mlp.gate_proj.weight", "mlp.up_proj.weight"), ("mlp.down_proj.weight",)),
}


def cut_student(source: Path, out: Path, args: argparse.Namespace) -> int:
    """Write the student's folder; return its parameters."""
    whole = load_file(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    weights = {n: w for n, w in whole.items() if not n.startswith((ENCODER, DECODER))}
    weights[POSITIONS] = weights[POSITIONS][:1]
    for prefix, kept in ((ENCODER, args.encoder_layers), (DECODER, args.decoder_layers)):
        for new, old in enumerate(kept):
            layer = {n.removeprefix(f"{prefix}{old}."): w for n, w in whole.items()
                     if n.startswith(f"{prefix}{old}.")}  # fmt: skip
            narrow(layer, *FFN[prefix], args.neurons)
            weights |= {f"{prefix}{new}.{n}": w for n, w in layer.items()}
    first = f"{DECODER}0.mlp.gate_proj.weight"
    config |= {"num_hidden_layers": len(args.decoder_layers),
               "intermediate_size": len(weights[first])}  # fmt: skip
    config["whisper_config"] |= {
        "encoder_layers": len(args.encoder_layers), "max_source_positions": 1,
        "encoder_ffn_dim": len(weights[f"{ENCODER}0.fc1.weight"]),
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: weight.contiguous() for name, weight in weights.items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return count(weights)


def narrow(
    layer: dict[str, torch.Tensor], into: tuple[str, ...], out: tuple[str, ...], share: float
) -> None:
    """Keep the neurons of a feed-forward block that have the largest weights."""
    size = sum(layer[n].float().reshape(len(layer[n]), -1).norm(dim=1) for n in into)
    size = size * sum(layer[n].float().norm(dim=0) for n in out)
    kept = size.topk(round(len(size) * share)).indices.sort().values
    layer |= {n: layer[n][kept] for n in into} | {n: layer[n][:, kept] for n in out}


def count(weights: dict[str, torch.Tensor]) -> int:
    """Parameters, a tied head counted once."""
    return sum(w.numel() for name, w in weights.items() if name != "lm_head.weight")


def rows_of(manifest: Path) -> list[dict[str, object]]:
    """Rows of a manifest, their audio as absolute paths."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines() if line.strip()]
    return [row | {"audio": str((manifest.parent / row["audio"]).resolve())} for row in rows]


def write(path: Path, rows: list[dict[str, object]]) -> float:
    """Write a manifest; return its hours."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return sum(float(row["duration"]) for row in rows) / 3600


def main() -> None:
    """Write student, teacher and manifests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--cut", type=Path, help="out of which checkpoint; default: the teacher")
    parser.add_argument("--train", type=Path, nargs="+", required=True)
    parser.add_argument("--dev", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labelled-hours", type=float, default=10.0)
    parser.add_argument("--unlabelled-hours", type=float, default=4.0)
    parser.add_argument("--max-seconds", type=float, default=12.0)
    parser.add_argument("--encoder-layers", type=int, nargs="+", default=[0, 3, 5, 7])
    parser.add_argument("--decoder-layers", type=int, nargs="+", default=[2])
    parser.add_argument("--neurons", type=float, default=0.25, help="share that is kept")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(args.teacher, args.out / "teacher", dirs_exist_ok=True)
    source = args.cut or args.teacher
    student = cut_student(source, args.out / "start", args)
    for name, whole in {"cut out of": source, "its teacher": args.teacher}.items():
        size = count(load_file(whole / "model.safetensors"))
        print(f"student {student / 1e6:.2f} M, {name} {size / 1e6:.2f} M ({student / size:.0%})")

    rows = [row for manifest in args.train for row in rows_of(manifest)]
    rows = [row for row in rows if float(row["duration"]) <= args.max_seconds]
    random.Random(args.seed).shuffle(rows)
    for name, hours in (("labelled", args.labelled_hours), ("unlabelled", args.unlabelled_hours)):
        chosen: list[dict[str, object]] = []
        left = hours * 3600
        while rows and left > 0:
            chosen.append(rows.pop())
            left -= float(chosen[-1]["duration"])
        print(f"{name}: {len(chosen)} clips, {write(args.out / f'{name}.jsonl', chosen):.2f} h")
    write(args.out / "dev.jsonl", [row for manifest in args.dev for row in rows_of(manifest)])


if __name__ == "__main__":
    main()
