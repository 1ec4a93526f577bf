"""The reader of `Settings`, from one TOML file or from the environment alone; no other module reads either."""

import logging
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, inspect

from gateway.mistakes import BLIND_PROVIDER, mistakes
from gateway.settings import (
    DEFAULT_KEY_NAME,
    AgentType,
    Key,
    Letta,
    Provider,
    Secret,
    Server,
    Settings,
    UserSource,
)

logger = logging.getLogger(__name__)
ENVIRONMENT = "the environment"
MODEL_VARIABLE = "GATEWAY_MODEL"
VARIABLE = re.compile(r"\$\{(\w+)\}")
# The fields whose mistakes are told without the value: keys, and tables that may hold one.
MAY_HOLD_A_KEY = re.compile(
    r"(?:letta|tasks|provider|keys(?:\[\d+\])?)(?:\.key|\.api_key|\.jwt_secret|\.sha256(?:\[\d+\](?:\.hash)?)?)?"
    r"|server\.id_secret(?:\[\d+\])?"
)
# The agent type of a gateway for which none is configured.
ONLY_TYPE = {"id": "letta", "name": "Letta"}
DESCRIPTION = "An agent of your own that remembers you"


class SettingsError(Exception):
    """A mistake in the configuration: its text names file, field, value and what was expected."""

    def __init__(self, source: str, field: str, problem: str) -> None:
        super().__init__(f"{source}: {field}: {problem}" if field else f"{source}: {problem}")


class Overrides(Struct, frozen=True, kw_only=True):
    """The options of the command line; each that is not None replaces the setting of its name."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    chat_page: bool | None = None
    state: str | None = None
    model: str | None = None
    """The handle of the model of every agent type that names none, before GATEWAY_MODEL."""


NO_OVERRIDES = Overrides()
_OVERRIDDEN = (
    *(("server", "host"), ("server", "port"), ("server", "workers"), ("server", "chat_page")),
    ("letta", "state"),
)


def load(path: Path | None, environ: Mapping[str, str], overrides: Overrides = NO_OVERRIDES) -> Settings:
    """Settings from the file, or from the environment where no file is named. Raises SettingsError."""
    source = str(path) if path else ENVIRONMENT
    raw = _expand(_read(path) if path else _from_environment(environ), environ, source)
    _unfold_hashes(raw)
    _unfold_secrets(raw)
    _rename(raw, source)
    raw.setdefault("agent_types", [{**ONLY_TYPE, "description": DESCRIPTION}])
    for table, field in _OVERRIDDEN:
        value, fields = getattr(overrides, field), raw.setdefault(table, {})
        if value is not None and isinstance(fields, dict):
            fields[field] = value
    settings = _with_provider(_with_model(_convert(raw, source), environ, overrides), environ)
    settings = _with_system_files(settings, path.parent if path else Path(), source)
    for field, problem in (*mistakes(settings), *_missing_extras(settings)):
        raise SettingsError(source, field, problem)
    return settings


def _missing_extras(settings: Settings) -> Iterator[tuple[str, str]]:
    """The fields that ask for what is not installed."""
    if settings.traces.endpoint and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        yield "traces.endpoint", "expected the extra `otel` to be installed: pip install letta-gateway[otel]"
    if settings.shared.url and not _is_installed("redis"):
        yield "shared.url", "expected the extra `redis` to be installed: pip install letta-gateway[redis]"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it is a part of is not there
        return False


def files_of(path: Path) -> list[Path]:
    """The files of a configuration: its own, and those that it names; its own alone if it cannot be read."""
    try:
        types = _read(path).get("agent_types")
    except SettingsError:
        return [path]
    named = [each.get("system_file") for each in types if isinstance(each, dict)] if isinstance(types, list) else []
    return [path, *(path.parent / name for name in named if isinstance(name, str))]


def load_demo(environ: Mapping[str, str], overrides: Overrides, key: Secret) -> Settings:
    """Settings of a gateway to try out: an embedded Letta, one agent type, one key for people and frontends alike.

    Raises SettingsError for a mistake in the environment.
    """
    demo = Key(
        name="demo",
        key=key,
        scope=DEFAULT_KEY_NAME,
        user_from=(UserSource("header:X-OpenWebUI-User-Id"), UserSource("body:user")),
        default_user="me",
        tool_activity="rich",
    )
    settings = Settings(
        server=Server(port=overrides.port or 0, chat_page=True),
        letta=Letta(upstream="embedded", state=overrides.state),
        agent_types=(AgentType(id=ONLY_TYPE["id"], name=ONLY_TYPE["name"], description=DESCRIPTION),),
        keys=(demo,),
    )
    return _with_provider(_with_model(settings, environ, overrides), environ)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(str(path), "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), "", f"not a TOML file: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The raw settings of the simple case: one agent type `letta`, and one key if GATEWAY_API_KEY is set."""
    letta = {"base_url": environ.get("LETTA_BASE_URL"), "api_key": environ.get("LETTA_API_KEY")}
    key = {
        "name": DEFAULT_KEY_NAME,
        "key": environ.get("GATEWAY_API_KEY"),
        "user_from": ["body:user"],
        "default_user": "me",
    }
    return {
        "letta": {name: value for name, value in letta.items() if value},
        "agent_types": [ONLY_TYPE],
        "keys": [key] if key["key"] else [],
    }


def _expand(value: Any, environ: Mapping[str, str], source: str, field: str = "") -> Any:
    """`value` with every `${NAME}` taken from the environment. Raises SettingsError for one that is not set there."""
    if isinstance(value, dict):
        dot = f"{field}." if field else ""
        return {k: _expand(v, environ, source, dot + k) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, environ, source, f"{field}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, date):
        return _moment(value)
    if not isinstance(value, str) or source == ENVIRONMENT:
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise SettingsError(source, field, f"`{match[0]}` expected {match[1]} in the environment: not set")
        return environ[match[1]]

    return VARIABLE.sub(variable, value)


def _moment(value: date) -> datetime:
    """A day's beginning, or a time; in UTC where the file names no zone."""
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unfold_hashes(raw: dict[str, Any]) -> None:
    """Write the short form of a key's digests, `sha256 = ["9f86…"]` or `sha256 = "9f86…"`, as the long one."""
    keys = raw.get("keys")
    for key in keys if isinstance(keys, list) else ():
        if isinstance(key, dict) and (hashes := key.get("sha256")) is not None:
            each = hashes if isinstance(hashes, list) else [hashes]
            key["sha256"] = [{"hash": one.lower()} if isinstance(one, str) else one for one in each]


def _unfold_secrets(raw: dict[str, Any]) -> None:
    """Write one secret of ids, `id_secret = "…"`, as a list of one."""
    server = raw.get("server")
    if isinstance(server, dict) and isinstance(server.get("id_secret"), str):
        server["id_secret"] = [server["id_secret"]]


# The tables with fields that had another name in earlier versions: the table, the name then, the name now.
RENAMED = (("server", "shutdown_seconds", "drain_seconds"),)


def _rename(raw: dict[str, Any], source: str) -> None:
    """Read a field by the name that it had in an earlier version. Raises SettingsError if it has both."""
    for table, before, now in RENAMED:
        fields = raw.get(table)
        if not isinstance(fields, dict) or before not in fields:
            continue
        if now in fields:
            raise SettingsError(
                source, f"{table}.{before}", f"expected nothing: it is called `{now}` now, which is set"
            )
        logger.warning("%s: %s.%s is called `%s` now: please rename it", source, table, before, now)
        fields[now] = fields.pop(before)


def _convert(raw: dict[str, Any], source: str) -> Settings:
    try:
        return msgspec.convert(raw, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.strip("`.")
        raise SettingsError(source, field, _explain(problem, field, raw)) from None


def _decode(kind: type, value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    if kind is Secret:
        if not value:
            raise ValueError("Expected a value, got an empty one")
        return Secret(value)
    return UserSource(value)


def _explain(problem: str, field: str, raw: dict[str, Any]) -> str:
    """The words for a mistake at `field`: what was found there and what was expected; secrets are not repeated."""
    unknown = re.search(r"unknown field `(.+?)`", problem)
    known = list(_names(_type_at(field)))
    if unknown:
        close = get_close_matches(unknown[1], known, 1)
        hint = f"did you mean `{close[0]}`?" if close else f"expected one of {', '.join(known)}"
        return f"unknown field `{unknown[1]}`: {hint}"
    if known and problem.startswith("Invalid enum value"):
        problem = f"Expected one of {', '.join(known)}"
    if "missing required field" in problem or MAY_HOLD_A_KEY.fullmatch(field):
        return problem
    return f"`{_value_at(field, raw)}`: {problem}"


def _tokens(field: str) -> list[str | int]:
    return [int(t) if t.isdigit() else t for t in re.findall(r"[\w-]+", field)]


def _value_at(field: str, raw: Any) -> Any:
    for token in _tokens(field):
        raw = raw[token]
    return raw


def _type_at(field: str) -> inspect.Type:
    """The declared type of `field`, with `| None` taken off."""
    found: inspect.Type = inspect.type_info(Settings)
    for token in _tokens(field):
        if isinstance(found, inspect.StructType):
            found = next(f.type for f in found.fields if f.name == token)
        else:
            assert isinstance(found, inspect.VarTupleType)
            found = found.item_type
        if isinstance(found, inspect.UnionType):
            found = found.types[0]
    return found


def _names(kind: inspect.Type) -> Iterator[str]:
    """The field names of a table, or the words a field may hold."""
    if isinstance(kind, inspect.StructType):
        yield from (field.name for field in kind.fields)
    elif isinstance(kind, inspect.LiteralType):
        yield from (str(value) for value in kind.values)


def _with_model(settings: Settings, environ: Mapping[str, str], overrides: Overrides) -> Settings:
    """Settings whose agent types that name neither model nor agent have the command line's model, or GATEWAY_MODEL."""
    model = overrides.model or environ.get(MODEL_VARIABLE)
    if not model:
        return settings
    types = [
        each if each.agent or each.model else msgspec.structs.replace(each, model=model)
        for each in settings.agent_types
    ]
    return msgspec.structs.replace(settings, agent_types=tuple(types))


# A variable that names a provider of models, the provider, and the variable for its key; the first row that is set
# counts.
PROVIDERS: tuple[tuple[str, str, str | None], ...] = (
    ("OPENAI_BASE_URL", "openai-compatible", "OPENAI_API_KEY"),
    ("OPENAI_API_KEY", "openai", "OPENAI_API_KEY"),
    ("ANTHROPIC_API_KEY", "anthropic", "ANTHROPIC_API_KEY"),
    ("OPENROUTER_API_KEY", "openrouter", "OPENROUTER_API_KEY"),
    ("OLLAMA_BASE_URL", "ollama", None),
)
# It says if the models of BLIND_PROVIDER see pictures.
VISION_VARIABLE = "GATEWAY_VISION"


def _with_provider(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Settings with the provider that the environment names, if Letta is embedded and they have none themselves.

    Raises SettingsError for an address or a GATEWAY_VISION that cannot be read.
    """
    named = next((row for row in PROVIDERS if environ.get(row[0])), None)
    if settings.letta.kind != "embedded" or settings.provider or named is None:
        return settings
    variable, id, key = named
    raw: dict[str, Any] = {"id": id, "base_url": environ[variable] if variable.endswith("_URL") else None}
    raw["api_key"] = environ.get(key) or None if key else None
    raw["vision"] = _vision(environ) if id == BLIND_PROVIDER else None
    try:
        provider = msgspec.convert(raw, Provider, dec_hook=_decode)
    except msgspec.ValidationError:
        raise SettingsError(ENVIRONMENT, variable, "expected an address such as `http://127.0.0.1:11434/v1`") from None
    return msgspec.structs.replace(settings, provider=provider)


def _vision(environ: Mapping[str, str]) -> bool | None:
    if not (said := environ.get(VISION_VARIABLE)):
        return None
    try:
        return msgspec.convert(said, bool, strict=False)
    except msgspec.ValidationError:
        raise SettingsError(ENVIRONMENT, VISION_VARIABLE, f"`{said}`: expected `true` or `false`") from None


def _with_system_files(settings: Settings, folder: Path, source: str) -> Settings:
    """Settings in which every `system_file` has become the `system` that it holds. Raises SettingsError."""

    def read(index: int, agent_type: AgentType) -> AgentType:
        if agent_type.system_file is None:
            return agent_type
        field = f"agent_types[{index}].system_file"
        if agent_type.agent is not None:
            raise SettingsError(source, field, "expected nothing: `agent` names an agent that has its own")
        if agent_type.system is not None:
            raise SettingsError(source, field, "expected either `system` or `system_file`, got both")
        try:
            system = (folder / agent_type.system_file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            problem = f"`{agent_type.system_file}`: expected a readable text file: {error}"
            raise SettingsError(source, field, problem) from error
        return msgspec.structs.replace(agent_type, system=system, system_file=None)

    types = tuple(read(i, agent_type) for i, agent_type in enumerate(settings.agent_types))
    return msgspec.structs.replace(settings, agent_types=types)
