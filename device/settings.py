"""What a clinic decides about a camera: where estimates go and who may look; a TOML file, read once at the
start."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import ErrorDetails

from opticaldr.errors import Refusal

Port = Annotated[int, Field(ge=1, le=65535)]


def _beside_the_settings(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", "")) / path


File = Annotated[Path, AfterValidator(_beside_the_settings)]
"""A relative path counts from the folder of the settings file."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Subject(_Part):
    """Who sits before the camera, by a pseudonym that only the clinic can resolve.

    Attributes:
        system: URI of the clinic's list of pseudonyms.
        value: the pseudonym.
    """

    system: Annotated[
        str,
        Field(
            pattern=r"^\w[\w+.-]*:\S+$", description="a URI, for example https://clinic.example/pseudonyms"
        ),
    ]
    value: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^\S+$", description="a pseudonym without spaces")
    ]


class Fhir(_Part):
    """A FHIR R4 or R4B server.

    Attributes:
        url: its base URL; https unless it is on this machine.
        subject: who is measured.
        token_file: holds a bearer token.
        ca_file: whom to trust for https; by default whom this machine trusts.
    """

    url: str
    subject: Subject
    token_file: File | None = None
    ca_file: File | None = None

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        try:
            place = urlsplit(self.url)
            host, _ = place.hostname, place.port
        except ValueError as fault:
            raise ValueError(f"url: {fault}") from None
        if (
            place.scheme not in ("http", "https")
            or not host
            or place.username
            or place.query
            or place.fragment
        ):
            raise ValueError("url must look like https://fhir.example.org/r4, without user or query")
        if place.scheme == "http" and not is_loopback(host):
            raise ValueError("url must be https, because the server is not on this machine")
        return self


class Mqtt(_Part):
    """An MQTT 5 broker.

    Attributes:
        host, port: where it listens.
        topic: estimates go to ``<topic>/estimate``, events to ``<topic>/event``; ``<topic>/status`` holds
            ``online`` or ``offline``.
        tls: may be off only for a broker on this machine.
        ca_file: whom to trust; by default whom this machine trusts.
        certificate_file, key_file: show the broker who we are.
        username, password_file: say so.
    """

    host: Annotated[str, Field(min_length=1)]
    port: Port = 8883
    topic: Annotated[
        str,
        Field(
            pattern=r"^[^#+/$\s\x00][^#+\s\x00]{0,199}$",
            description="a topic without spaces, # and +, for example clinic/room-3",
        ),
    ] = "opticaldr"
    tls: bool = True
    ca_file: File | None = None
    certificate_file: File | None = None
    key_file: File | None = None
    username: str | None = None
    password_file: File | None = None

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        if not self.tls and not is_loopback(self.host):
            raise ValueError("tls may be off only for a broker on this machine")
        return self


class Page(_Part):
    """The local page.

    Attributes:
        host, port: where it listens; beyond this machine only with TLS and a password.
        consent: the shutter stays closed until somebody opens it on the page.
        certificate_file, key_file: for TLS.
        password_file: made by ``opticaldr password``; asks everybody to log in.
        names: other host names under which browsers may ask for it.
    """

    host: str = "127.0.0.1"
    port: Port = 8765
    consent: bool = True
    certificate_file: File | None = None
    key_file: File | None = None
    password_file: File | None = None
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        if (self.certificate_file is None) is not (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        if not is_loopback(self.host) and not (self.certificate_file and self.password_file):
            raise ValueError(
                f"beyond this machine ({self.host}) it needs certificate_file, key_file and password_file"
            )
        return self


class Settings(_Part):
    """The whole file; each part may be absent."""

    fhir: Fhir | None = None
    mqtt: Mqtt | None = None
    page: Page | None = None


def read_settings(path: Path) -> Settings:
    """Read a settings file; `Refusal` names the first setting that is wrong."""
    try:
        contents = tomllib.loads(path.read_text(encoding="utf-8"))
        return Settings.model_validate(contents, context={"folder": str(path.parent)})
    except OSError as fault:
        raise Refusal(
            f"{path} cannot be read ({fault.strerror})", "let this user read it, or name another"
        ) from None
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Refusal(f"{path}: {place}: {_in_words(first)}", "docs/deploy.md lists all settings") from None
    except ValueError as fault:
        raise Refusal(f"{path} is not TOML ({fault})", "mend it") from None


def _in_words(fault: ErrorDetails) -> str:
    """What is wrong with a setting, for people who write settings."""
    part, name = _part_of(fault["loc"]), str(fault["loc"][-1])
    match fault["type"]:
        case "extra_forbidden":
            return f"there is no such setting here, only {', '.join(part.model_fields)}"
        case "missing":
            return "is missing"
        case "value_error":
            return str(fault["ctx"]["error"])
        case "string_pattern_mismatch":
            return f"must be {part.model_fields[name].description}"
        case _:
            return fault["msg"][:1].lower() + fault["msg"][1:]


def _part_of(place: tuple[int | str, ...]) -> type[_Part]:
    """The part of the file that holds the setting at ``place``."""
    part: type[_Part] = Settings
    for name in place[:-1]:
        kind = part.model_fields[str(name)].annotation
        part = next(
            (one for one in (*get_args(kind), kind) if isinstance(one, type) and issubclass(one, _Part)), part
        )
    return part


def read_secret(path: Path) -> str:
    """The first line of a file that only its owner may read.

    Raises:
        Refusal: it is absent, empty, or others may read it.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise Refusal(
            f"{path} cannot be read ({getattr(fault, 'strerror', 'not text')})", "name another file"
        ) from None
    if mode & 0o077:
        raise Refusal(f"others may read {path}", f"run chmod 600 {path}")
    if not text:
        raise Refusal(f"{path} is empty", "write the secret into it")
    return text.splitlines()[0]


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine is meant."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
