"""Types of options of services; all are bounded, so that no clock, thread pool or database overflows."""

from typing import Annotated

from pydantic import Field

DAY = 86400  # seconds

Seconds = Annotated[float, Field(gt=0, le=365 * DAY, allow_inf_nan=False)]  # until something expires
Timeout = Annotated[float, Field(gt=0, le=DAY, allow_inf_nan=False)]  # seconds
Retries = Annotated[int, Field(ge=0, le=100)]
Concurrency = Annotated[int, Field(ge=1, le=1024)]  # requests in flight
Dollars = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
