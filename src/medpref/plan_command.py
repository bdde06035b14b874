"""``medpref plan``: the command's options; what it loads, it loads when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plan(
    recipe: Annotated[str, typer.Argument(help="a shipped name or a YAML file")],
    policy: Annotated[str, typer.Option(help="tiny:NAME, hf:ID or a folder; its weights are not read")] = (
        "tiny:llava-mistral"
    ),
    trace: Annotated[
        str, typer.Option(help="lengths: vqa, slake, vqa_rad, iu_xray or mimic_cxr, and key=value,...")
    ] = "vqa",
    pairs: Annotated[Path | None, typer.Option(help="real pairs instead: RUN/pairs/NAME")] = None,
    memory: Annotated[str, typer.Option(help="of the device, such as 24GiB; else what is free here")] = "",
    tflops: Annotated[float | None, typer.Option(help="of a large matrix product; else measured here")] = None,
    dtype: Annotated[str, typer.Option(help="of the policy's weights")] = "float32",
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, for example train.batch=4")] = None,
) -> None:
    """Tokens, work, seconds and memory of a training step, before anything is launched; exit code 1: does not fit."""
    from medpref.plan_lines import plan as look

    lines, fits = look(
        recipe, policy, trace=trace, pairs=pairs, memory=memory, tflops=tflops, dtype=dtype, overrides=set_ or ()
    )
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if fits else 1)
