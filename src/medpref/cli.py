"""The command line. Only typer is imported here; each command loads what it needs, so that ``--help`` is instant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from medpref.errors import MedprefError
from medpref.plan_command import plan

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Align medical vision-language models with preference optimization.",
)
DEMO_SOURCE = "phantom:studies=300,validation=0,test=120,studies_per_patient=1"
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value, for example train.learning_rate=1e-6")]
Policy = Annotated[str, typer.Option(help="tiny:llava-mistral, hf:ID, or a checkpoint's folder")]
Source = Annotated[str, typer.Option(help="phantom, pack:DIR, jsonl:FILE, or KIND:key=value,...")]
Plugin = Annotated[list[Path] | None, typer.Option(help="a Python file that registers components")]
Folder = Annotated[Path, typer.Argument(help="a run folder")]
Judge = Annotated[
    list[str] | None, typer.Option(help="rules, local:MODEL, openai:URL#MODEL or replay:FILE; again for a panel")
]
Mine = Annotated[bool, typer.Option("--service-is-mine", help="the judge's service may read credentialed data")]
Prompts = Annotated[Path | None, typer.Option(help="a folder of your own prompts for the judge")]
ChatCache = Annotated[Path | None, typer.Option(help="where answers are kept; .chat beside the run, in a grid's OUT")]


@app.command()
def run(
    recipes: Annotated[
        list[str] | None, typer.Argument(help="shipped names or YAML files; none = mmedpo fire_mpo")
    ] = None,
    source: Source = DEMO_SOURCE,
    policy: Policy = "tiny:llava-mistral",
    out: Annotated[Path, typer.Option(help="the run folder; the same command resumes it")] = Path("runs/demo"),
    seed: int = 0,
    set_: Set = None,
    control: Annotated[bool, typer.Option(help="train the matched SFT control too")] = True,
    strict: Annotated[bool, typer.Option(help="warnings are errors")] = False,
    until: Annotated[str, typer.Option(help="examples, sft, curate, train, evaluate or report")] = "report",
    plugin: Plugin = None,
    judge: Judge = None,
    service_is_mine: Mine = False,
    prompts: Prompts = None,
    chat_cache: ChatCache = None,
) -> None:
    """All stages: data, SFT, pairs, alignment, evaluation, report. Finished ones are skipped."""
    from medpref.run import DEFAULT_RECIPES, STEPS, RunConfig

    _load(plugin)
    if until not in STEPS:
        raise typer.BadParameter(f"{until!r} is not one of {', '.join(STEPS)}")
    config = RunConfig(
        recipes=tuple(recipes or DEFAULT_RECIPES),
        source=source,
        policy=policy,
        seed=seed,
        overrides=tuple(set_ or ()),
        control=control,
        strict=strict,
        judge=tuple(judge or ()),
        service_is_mine=service_is_mine,
        prompts=str(prompts.resolve()) if prompts else "",
        chat_cache=str(chat_cache.resolve()) if chat_cache else "",
    )
    _carry_out(config, out, until)


def _carry_out(config: object, out: Path, until: str) -> None:
    from medpref.run import carry_out
    from medpref.table import print_table

    carry_out(config, out, until=until, say=lambda line: typer.echo(line, err=True))  # type: ignore[arg-type]
    if until == "report":
        print_table(out)
        typer.echo(f"Report: {out / 'report' / 'index.html'}")


def _one(folder: Path, until: str) -> None:
    from medpref import store
    from medpref.run import RunConfig

    held = store.read_json(store.require(folder, "run.json"))
    held.pop("medpref", None)
    _carry_out(RunConfig.model_validate(held), folder, until)


@app.command()
def curate(folder: Folder) -> None:
    """Of a run folder: everything up to its preference pairs."""
    _one(folder, "curate")


@app.command()
def train(folder: Folder) -> None:
    """Of a run folder: everything up to its trained models."""
    _one(folder, "train")


@app.command()
def evaluate(folder: Folder) -> None:
    """Of a run folder: everything up to its estimates."""
    _one(folder, "evaluate")


@app.command()
def report(folder: Folder) -> None:
    """Of a run folder: the report (and whatever is missing before it). Of a folder of runs: their index."""
    if (folder / "run.json").exists() or not list(folder.glob("**/summary.json")):
        return _one(folder, "report")
    from medpref.report.index import write_index

    counts = write_index(folder, folder)
    typer.echo(f"Index of {counts['runs']} runs: {folder / 'index.html'}")


@app.command()
def recipes() -> None:
    """The shipped recipes, a line each."""
    from medpref.recipe import load_recipe, shipped

    for name in shipped():
        recipe = load_recipe(name)
        typer.echo(f"{name:<18} {recipe.paper:<18} {recipe.summary}")


@app.command()
def show(name: str, policy: Annotated[str, typer.Option()] = "", set_: Set = None) -> None:
    """A recipe with every field resolved, as YAML."""
    import yaml

    from medpref.recipe import load_recipe

    recipe = load_recipe(name, overrides=set_ or (), policy=policy)
    typer.echo(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip())


app.command()(plan)


@app.command()
def schema() -> None:
    """The JSON Schema of recipes and their components, for editors."""
    import json

    from medpref.recipe import Recipe
    from medpref.registry import REGISTRIES

    parts = {registry.noun: registry.json_schema() for registry in REGISTRIES}
    typer.echo(json.dumps({**Recipe.model_json_schema(), "components": parts}, indent=2))


@app.command()
def doctor() -> None:
    """What is installed, what each extra would add, device, memory, and whether the tiny path works."""
    from medpref.doctor import examine

    lines, healthy = examine()
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if healthy else 1)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="examples or pairs as JSON lines, a folder, or a recipe")],
) -> None:
    """Find every fault of a file in one pass; each names its row and key and what to do."""
    from medpref.sources.problem import counts
    from medpref.sources.validate import validate as find

    problems = find(file)
    for problem in problems:
        typer.echo(str(problem))
    listed = ", ".join(f"{name} {number}" for name, number in counts(problems).items())
    typer.echo(f"{file}: {len(problems)} problem{'s' * (len(problems) != 1)}{': ' * bool(problems)}{listed}")
    raise typer.Exit(2 if problems else 0)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="FORMAT:PATH; trl, llamafactory, swift, mmedpo, rrpo, rows or pairs")],
    target: Annotated[str, typer.Argument(help="FORMAT:FOLDER; also trl_dataset")],
    images: Annotated[Path | None, typer.Option(help="the folder that image names are relative to")] = None,
    lossy: Annotated[bool, typer.Option(help="leave out what the target cannot say")] = False,
) -> None:
    """Preference pairs from one format to another; the new folder is written whole or not at all."""
    from medpref.interop.convert import convert as carry_over

    done = carry_over(source, target, images=images, lossy=lossy)
    reasons = ", ".join(sorted({one.reason for one in done.dropped}))
    typer.echo(f"{target}: {done.written} pairs" + f"; {len(done.dropped)} dropped: {reasons}" * bool(done.dropped))


@app.command()
def pairs(folder: Folder) -> None:
    """Look before you train: a page of a run folder's pairs."""
    from medpref.imaging.decode import read_image
    from medpref.report.page import write_report

    out = folder / "look"
    out.mkdir(exist_ok=True)
    write_report(folder, out, open_image=read_image)
    typer.echo(f"Pairs: {out / 'index.html'}")


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and _")],
    out: Annotated[Path, typer.Option(help="the folder to write into")] = Path("."),
) -> None:
    """Write a runnable method of your own: a term, a recipe, and the test of its contract."""
    from medpref.scaffold import new_method as write

    for path in write(name, out):
        typer.echo(path)
    typer.echo(f"Next: medpref check {out / name}.py")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="a plugin file; recipes beside it are checked too")]) -> None:
    """Run the contract suites on every component that a plugin file registers."""
    from medpref.testing.plugin import check_plugin

    try:
        done = check_plugin(file)
    except AssertionError as broken:
        typer.echo(f"broken: {broken}", err=True)
        raise typer.Exit(1) from None
    for one in done:
        typer.echo(f"ok  {one.noun} {one.name} ({one.forms} form{'s' * (one.forms != 1)})")


@app.command()
def bench(
    grid: Annotated[str, typer.Argument(help="a shipped grid or a YAML file: methods x policies x sources x seeds")],
    out: Annotated[Path | None, typer.Option(help="runs/GRID by default; the same command resumes it")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="instead of the grid's policies")] = None,
    source: Annotated[list[str] | None, typer.Option(help="instead of the grid's sources")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="instead of the grid's seeds")] = None,
    method: Annotated[list[str] | None, typer.Option(help="only these methods of the grid")] = None,
    set_: Set = None,
    markdown: Annotated[Path | None, typer.Option(help="also write the Markdown page here")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check every cell, run nothing")] = False,
    plugin: Plugin = None,
    judge: Judge = None,
    service_is_mine: Mine = False,
    prompts: Prompts = None,
    chat_cache: ChatCache = None,
) -> None:
    """A grid of runs, and its leaderboard: intervals over seeds and patients, matched controls, ties shown as ties."""
    from medpref.bench.command import Narrowed, bench_command

    _load(plugin)
    wanted = Narrowed(
        grid=grid,
        policies=tuple(policy or ()),
        sources=tuple(source or ()),
        seeds=tuple(seed or ()),
        methods=tuple(method or ()),
        overrides=tuple(set_ or ()),
        judge=tuple(judge or ()),
        service_is_mine=service_is_mine,
        prompts=str(prompts or ""),
        chat_cache=str(chat_cache or ""),
    )
    raise typer.Exit(bench_command(wanted, out, markdown=markdown, dry_run=dry_run, say=typer.echo))


def _load(files: list[Path] | None) -> None:
    from medpref.plugin import load_plugin

    for file in files or ():
        load_plugin(file)


def main() -> None:
    """The entry point: a MedprefError is one line on standard error and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        app()
    except MedprefError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(130)
