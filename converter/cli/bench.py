"""`tf2torch bench`: measure how fast converted weights run on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tfckpt.cli.render import say, to_json
from tfckpt.errors import MissingDependencyError

from ..errors import ConversionError
from ..libraries.models import find_library_model
from ..model.published import PUBLISHED
from .comparison import add_comparison_options, compare
from .options import add_device_option, add_key_option, parse_count

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..model import EfficientNet
    from .timing import Timing

HELP = """\
Time the forward pass of converted weights on this machine, and show the published figures next to it.

  tf2torch bench s.safetensors                          one image at a time
  tf2torch bench s.safetensors --fuse-bn --channels-last --batch 8
  tf2torch bench s.safetensors --against timm           and timm's model of the same name, in turn
  tf2torch bench s.safetensors s.onnx s8.onnx --data val.npz --report s.html     accuracy, size and memory too

Inputs are random; the time does not depend on their values. Warm-up passes are not counted.
Multiply-adds are those of the convolutions and dense layers, for one image.
"""
DTYPES = ("float32", "float16", "bfloat16")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "bench",
        help="measure latency, images per second, memory and multiply-adds",
        description=HELP,
    )
    parser.add_argument(
        "outputs",
        metavar="OUT",
        nargs="+",
        help="converted weights; several, programs too, are compared with the first",
    )
    add_key_option(parser)
    parser.add_argument(
        "--size", metavar="PIXELS", type=parse_count, help="input size (default: the network's evaluation size)"
    )
    parser.add_argument("--batch", metavar="N", type=parse_count, default=1, help="images per batch (default: 1)")
    parser.add_argument(
        "--runs", metavar="N", type=parse_count, default=20, help="number of timed passes (default: 20)"
    )
    add_device_option(parser)
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="dtype of weights and inputs (default: float32)"
    )
    parser.add_argument(
        "--threads", metavar="N", type=parse_count, help="number of CPU threads (default: torch's choice)"
    )
    parser.add_argument("--compile", action="store_true", help="compile the network with torch.compile")
    parser.add_argument("--channels-last", action="store_true", help="store weights and images in NHWC order")
    parser.add_argument("--fuse-bn", action="store_true", help="fold batch norms into the convolutions")
    parser.add_argument(
        "--against", choices=("timm",), help="also time this library's model of the same name, in eager mode"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_comparison_options(parser.add_argument_group("comparing several outputs, each in a process of its own"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Time one network and print the figures, or compare several outputs."""
    if len(options.outputs) > 1:
        return compare(options)
    if options.data is not None or options.report is not None:
        raise ConversionError("--data and --report belong to a comparison of several outputs")
    from ..loading import load_model

    model = load_model(
        options.outputs[0], key=options.key, talk=say
    )  # comes first because it explains how to install torch
    import torch

    from ..verification.devices import check_device
    from .timing import count_multiply_adds, get_peak_memory, time_models

    config = model.config
    size: int | None = options.size or config.eval_size
    if size is None:
        raise ConversionError("the network has no evaluation size; give one with --size")
    check_device(options.device)
    device = torch.device(options.device)
    dtype: torch.dtype = getattr(torch, options.dtype)
    timm_model = None if options.against is None else _create_timm_model(config.name)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    images = torch.randn(options.batch, config.in_channels, size, size).to(device, dtype)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    prepared: nn.Module = _fold_norms(model) if options.fuse_bn and not config.folded_bn else model
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    prepared = prepared.to(device, dtype).to(memory_format=layout)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=layout)
    operations = count_multiply_adds(prepared, images)
    models: list[Any] = [torch.compile(prepared) if options.compile else prepared]
    if timm_model is not None:
        models.append(timm_model.eval().to(device, dtype))
    timings = time_models(models, images, runs=options.runs)
    figures = {
        "network": config.name,
        "input": [options.batch, config.in_channels, size, size],
        "device": options.device,
        "dtype": options.dtype,
        "threads": torch.get_num_threads(),
        "compile": options.compile,
        "channels_last": options.channels_last,
        "fuse_bn": options.fuse_bn,
        "torch": torch.__version__,
        **_to_figures(timings[0]),
        "peak_memory_bytes": get_peak_memory(device),
        "parameters": parameters,
        "multiply_adds": operations,
    }
    if config.name in PUBLISHED:
        published = PUBLISHED[config.name]
        figures["published"] = {
            "parameters": round(published.parameters * 1e6),
            "multiply_adds": round(published.multiply_adds * 1e9),
            "size": config.eval_size,
        }
    if timm_model is not None:
        figures["timm"] = _to_figures(timings[1])
        figures["ratio_to_timm"] = timings[0].median / timings[1].median
    print(to_json(figures) if options.json else _format(figures))
    return 0


def _fold_norms(model: EfficientNet) -> EfficientNet:
    """Return the network without batch norms, as `tf2torch convert --fuse-bn` writes it."""
    import torch

    from ..formats.changes import fold_batch_norms
    from ..formats.output import materialize

    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    tensors, config, _ = fold_batch_norms(arrays, model.config)
    folded = type(model)(config)
    folded.load_state_dict({name: torch.from_numpy(materialize(tensor)) for name, tensor in tensors.items()})
    return folded.eval()


def _to_figures(timing: Timing) -> dict[str, float]:
    return {
        "median_ms": timing.median * 1000,
        "p90_ms": timing.p90 * 1000,
        "images_per_second": timing.images_per_second,
    }


def _format(figures: dict[str, Any]) -> str:
    """Format the figures for people, one per line."""
    options = [name.replace("_", "-") for name in ("fuse_bn", "channels_last", "compile") if figures[name]]
    where = f"{figures['device']}, {figures['dtype']}, {figures['threads']} threads, torch {figures['torch']}"
    published = figures.get("published")
    lines = [
        f"network        {figures['network'] or 'not a published one'}{''.join(f', {name}' for name in options)}",
        f"input          {' × '.join(map(str, figures['input']))} on {where}",
        f"latency        median {figures['median_ms']:.1f} ms, p90 {figures['p90_ms']:.1f} ms",
        f"throughput     {figures['images_per_second']:.1f} images/s",
    ]
    if figures["peak_memory_bytes"] is not None:
        lines.append(f"peak memory    {figures['peak_memory_bytes'] / 1e6:,.0f} MB")
    parameters = f"parameters     {figures['parameters']:,}"
    operations = f"multiply-adds  {figures['multiply_adds'] / 1e9:.3g} billion per image"
    if published is not None:
        parameters += f" (published {published['parameters'] / 1e6:g} million, with 1000 classes)"
        operations += f" (published {published['multiply_adds'] / 1e9:g} billion at {published['size']} pixels)"
    lines += [parameters, operations]
    if "timm" in figures:
        lines.append(
            f"timm           median {figures['timm']['median_ms']:.1f} ms, p90 {figures['timm']['p90_ms']:.1f} ms; "
            f"this network takes {figures['ratio_to_timm']:.2f} of its time"
        )
    return "\n".join(lines)


def _create_timm_model(name: str) -> nn.Module:
    """Return timm's network of the same name, with random weights."""
    timm_name = find_library_model("timm", name)
    if timm_name is None:
        raise ConversionError("timm has no model of this network, which is not a published one")
    try:
        import timm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingDependencyError("timm", extra="bench", purpose="a comparison with timm") from None
    except RuntimeError as error:  # torchvision was built for a different torch
        raise ConversionError(f"timm cannot be imported: {error}") from error
    say(f"timm {timm.__version__}, {timm_name}, random weights")
    model: nn.Module = timm.create_model(timm_name)
    return model
