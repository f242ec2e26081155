"""Runs commands of Microsoft's command line against the emulator and holds what they print against what is expected.

Started, in the virtual environment that holds azure-cli, with one JSON value on standard input: under "ready" the emulator's ready line, under
"commands" the arguments of each command and, by JSON pointer, the values that it is to print.
Prints one line of JSON a command, as judge.py does. Exit code 0 when all went well.
"""

import json
import sys
import tempfile
from pathlib import Path

from judge import Az, sign_in


def main():
    task = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        az = Az(task["ready"], Path(folder))
        sign_in(az, task["ready"])
        for command in task["commands"]:
            az(*command["arguments"], check=lambda printed: fits(printed, command.get("expect", {})))
        az("logout")
    sys.exit(1 if az.failed else 0)


def fits(printed, expected):
    """Fails with the place where something else was printed."""
    for pointer, wanted in expected.items():
        found = printed
        for part in pointer.split("/")[1:]:
            found = found[int(part)] if isinstance(found, list) else found.get(part)
        if found != wanted:
            raise AssertionError(f"{pointer}: {json.dumps(found)} in place of {json.dumps(wanted)}")
    return True


main()
