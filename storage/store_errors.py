"""What storage clients raise, as errors of voxbeam."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError

from voxbeam.schemas.errors import ObjectForbiddenError, StorageError

_BAD_CREDENTIALS = re.compile(
    "ExpiredToken|InvalidAccessKeyId|SignatureDoesNotMatch|RequestTimeTooSkewed|InvalidToken|TokenRefreshRequired|AccountProblem"
    "|AuthenticationFailed|InvalidSecurity|NotSignedUp"
)
"""codes of a refusal that concerns every object"""
_FORBIDDEN = "status code: 403 "
"""in the text of a listing that is refused, which has no class of its own"""


def summarize_error(error: BaseException) -> str:
    """The first line of an error's text: storage clients append pages of debugging output."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:400]


@contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """Turns what obstore raises into StorageError, except FileNotFoundError."""
    try:
        yield
    except BaseError as error:
        refused = isinstance(error, PermissionDeniedError) or _FORBIDDEN in str(error)
        if refused and not _BAD_CREDENTIALS.search(str(error)):
            raise ObjectForbiddenError(
                f"{uri} may not be used: {summarize_error(error)}", remedy="give these credentials access to it"
            ) from error
        raise StorageError(
            f"cannot use {uri}: {summarize_error(error)}", remedy="check the address, the credentials and the endpoint"
        ) from error
