"""`haechi check CITY_DIR`: every mistake with file, line and what to do."""

import argparse

from haechi.app.parts import around
from haechi.services.cities.city import check as check_city


def check(arguments: argparse.Namespace) -> int:
    """Prints the mistakes; 1 when there are any."""
    problems = check_city(arguments.city, around())
    for one in problems:
        print(f"{one.file}:{one.line}: {one.what}\n    {one.mend}")
    print(f"{len(problems)} mistakes" if problems else f"{arguments.city}: no mistakes")
    return 1 if problems else 0
