"""Commands about models and how they are used."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from mlx_rev import run_folder
from mlx_rev.config import Dtype, SampleConfig, validate
from mlx_rev.errors import ConfigError, RevError, nearest
from mlx_rev.estimate import parameters
from mlx_rev.formats import registry
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_models, open_model
from mlx_rev.generate.teller import load
from mlx_rev.repl.command import FORCE, Command, Given, Option, path_of
from mlx_rev.repl.names import Named, short_name
from mlx_rev.repl.replies import Converted, Lists, Reply, Says
from mlx_rev.text.order import ORDER_NAMES
from mlx_rev.train.runlog import read_metrics

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session

MODEL_OPTIONS = (Option("--reversal", "ORDER", ORDER_NAMES), Option("--tokenizer", "FILE"))


_RECIPES = Path(__file__).parents[1] / "configs"
"""Of the built-in models."""


def loaded(given: Given) -> Named:
    """The model that a command names."""
    source, options = given.argument, given.options
    if source.startswith("~"):
        source = str(path_of(source))
    order, typed = options.get("--reversal"), options.get("--tokenizer")
    tokenizer = path_of(typed) if typed else None
    teller = load(source, tokenizer=tokenizer, reversal=order)
    return Named(teller, source, order or "", str(tokenizer or ""))


def _model(session: "Session", given: Given) -> Iterator[Reply]:
    before = session.teller.settings
    session.named = loaded(given)
    session.offer(())
    own = session.teller.settings
    # What was changed stays so; the seed is not the model's business.
    kept = {
        name: value
        for name, value in vars(session.settings).items()
        if name == "seed" or value != getattr(before, name)
    }
    session.settings = replace(own, **kept)
    yield Says(session.greeting())


def _export(session: "Session", given: Given) -> Iterator[Reply]:
    target, options = path_of(given.argument), given.options
    codec = session.teller.codec
    order = None if codec.is_opposite else codec.order  # a half is exported with the other one
    model = open_model(session.source, tokenizer=codec.tokenizer, order=order)
    to = options.get("--to")
    dtype = Dtype(options["--dtype"]) if "--dtype" in options else None
    registry.check_options(to, [option.removeprefix("--") for option in options])
    done = convert(model, target, to, dtype, force=FORCE.name in options, progress=session.progress)
    yield Converted(done)


def _info(session: "Session", given: Given) -> Iterator[Reply]:
    config, codec = session.teller.model.config, session.teller.codec
    grows = "leftwards from an ending" if codec.order.grows_leftwards else "from an opening"
    if session.teller.opposite is not None:
        grows += "; with /begin, from both sides"
    name = short_name(session.source)
    rows = [
        ("model", name),
        *([] if name == session.source else [("from", session.source)]),
        ("stories grow", grows),
        ("reversal", codec.order.name),
        ("parameters", f"{parameters(config):,}"),
        (
            "shape",
            f"layers {config.n_layers}, width {config.dim}, heads {config.n_heads} "
            f"({config.n_kv_heads} for keys and values), feed-forward {config.hidden_dim}",
        ),
        ("vocabulary", f"{config.vocab_size:,} pieces"),
        ("context", f"{config.context} tokens"),
        *_recorded(session.source),
    ]
    yield Lists(tuple(rows), "/help figures says what the figures mean.")


def _recorded(source: str) -> list[tuple[str, str]]:
    """What a model's folder knows of its training."""
    folder = Path(source)
    folder = folder if folder.exists() else built_in_models().get(source, folder)
    place = run_folder.of_model(folder)
    try:
        entries = read_metrics(place / run_folder.METRICS)
    except RevError:
        return []
    if not entries:
        return []
    steps = max(int(entry["step"]) for entry in entries)
    found = [("trained for", f"{steps:,} steps")]
    measured = [entry["bits_per_byte"] for entry in entries if entry["kind"] == "eval"]
    if measured:
        found.append(("bits per byte", f"{min(measured):.4f} on held-out stories, at best"))
    recipes = place / run_folder.CONFIG, _RECIPES / f"{place.name}.toml"
    found += [("recipe", str(recipe)) for recipe in recipes if recipe.is_file()][:1]
    return found


def _settings(session: "Session", given: Given) -> Iterator[Reply]:
    values = vars(session.settings)
    width = max(map(len, values))
    yield Says("\n".join(f"{name:<{width}}  {value}" for name, value in values.items()))


def _set(session: "Session", given: Given) -> Iterator[Reply]:
    name, value = [*given.rest.split(maxsplit=1), ""][:2]
    kinds = get_type_hints(SampleConfig)
    if name not in kinds:
        raise ConfigError(
            f"/set {name}: {nearest(name, kinds, 'no such setting; /settings lists them')}"
        )
    try:
        settings = replace(session.settings, **{name: kinds[name](value)})
    except ValueError as error:
        kind = "a whole number" if kinds[name] is int else "a number"
        raise ConfigError(f"/set {name}: expected {kind}, found {value!r}") from error
    validate(settings)
    session.settings = settings
    yield Says(f"{name} is {getattr(settings, name)}")


MODEL = Command(
    name="model",
    argument="MODEL",
    summary="talk to another model",
    explanation="MODEL is a training run, a checkpoint, a model folder, a .bin or .gguf file, "
    "hf:owner/repo[/file] or a built-in model's name. --reversal (word2, word, token or none) and "
    "--tokenizer say what its file does not. Settings that you have not changed become the model's "
    "own.",
    example="/model runs/mine",
    takes_path=True,
    options=MODEL_OPTIONS,
    run=_model,
)
EXPORT = Command(
    name="export",
    argument="TARGET",
    summary="convert this model: .bin, .gguf, a folder, a run",
    explanation="Writes the model in another format, which TARGET's name implies or --to names. "
    "An existing target is replaced only with --force.",
    example="/export story.gguf --dtype q8",
    aliases=("/convert",),
    takes_path=True,
    options=(
        Option("--to", "FORMAT", registry.names()),
        Option("--dtype", "DTYPE", tuple(Dtype)),
        FORCE,
    ),
    run=_export,
)
INFO = Command(
    name="info",
    summary="the model's shape, size, training and bits per byte",
    explanation="Says what is known of the model: its shape, its size, the order in which it reads "
    "and, if its folder has them, how long it was trained, how well it predicts stories, and its "
    "recipe.",
    example="/info",
    run=_info,
)
SETTINGS = Command(
    name="settings",
    summary="how the next token is chosen",
    explanation="Lists the settings with their values; /set changes one.",
    example="/settings",
    run=_settings,
)
SET = Command(
    name="set",
    argument="NAME VALUE",
    summary="change a setting",
    explanation="Changes how the next token is chosen, from the next story on. The settings are "
    + ", ".join(field.name for field in fields(SampleConfig))
    + ". A lower temperature makes for likelier words, a higher one for more unusual ones; the "
    "same seed tells the same story again.",
    example="/set temperature 0.6",
    run=_set,
)
