"""What people fill in in Prefect's forms: Prefect refuses a value of the wrong form at once."""

from typing import Annotated

from pydantic import Field

# A registered model of MLflow and a file name at once.
ModelLine = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Reason = Annotated[str, Field(min_length=5, max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
VersionNumber = Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]
Age = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(s|m|h|d)$")]
Rows = Annotated[int, Field(ge=1)]
Processes = Annotated[int, Field(ge=1, le=64)]
# Of flows/tracing/marks.py and flows/erasing/state.py: no id, name or pseudonym has these forms.
Mark = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Request = Annotated[str, Field(pattern=r"^f-[0-9a-f]{20}$")]
