"""What a process is told: a frozen model that answers mistakes with a sentence."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from opticaldr.errors import Refusal


class Settings(BaseModel):
    """Settings of the process ``name``; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    title: ClassVar[str]

    @classmethod
    def told(cls, settings: Mapping[str, Any]) -> Self:
        """The settings, checked; `Refusal` names a field that is unknown or out of range."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the settings"
            if first["type"] == "extra_forbidden":
                raise Refusal(
                    f"{cls.name} has no setting {where}", f"settings are: {', '.join(cls.model_fields)}"
                ) from None
            raise Refusal(
                f"{cls.name}: {where}: {first['msg']} (given: {first['input']!r})",
                f"opticaldr fabricate --process {cls.name} --explain says what it takes",
            ) from None
