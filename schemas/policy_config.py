"""The sections `exclude` and `corrections` of the configuration: what people decide of single recordings, voices and segments."""

from typing import Annotated

from pydantic import Field, StringConstraints

from voxbeam.schemas.section import Section

Name = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]


class ExcludeConfig(Section):
    """What releases leave out on purpose, each with the reason. The units keep it: what is taken out of here comes back."""

    recordings: dict[Name, Words] = Field({}, description="identifier → reason; nothing of it is processed either")
    speakers: dict[Name, Words] = Field({}, description="speaker, as in the samples table → reason")
    identities: dict[Name, Words] = Field({}, description="identity of the latest release → reason; its voices go into `voices`")
    voices: dict[Name, Words] = Field({}, description="voice, as in the voices table → reason")
    segments: dict[Name, Words] = Field({}, description="key of a segment → reason")


class CorrectionsConfig(Section):
    """What listeners say of single segments. A corrected text has no measures of the recognizer, and its rules do not apply."""

    texts: dict[Name, Words] = Field({}, description="key of a segment → what is said in it; its phones are made at packing")
    rejected: dict[Name, Words] = Field({}, description="key of a segment that is wrong → reason, e.g. two voices")
