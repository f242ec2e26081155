"""Calls the emulator with Microsoft's SDKs for Python and says what came of each call.

Started with the emulator's ready line on standard input. Prints one line of JSON a call: {"operation", "error"?}.
Exit code 0 when all went well.
"""

import importlib
import json
import sys
import traceback

from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential

AREAS = ["devtestlabs", "resources", "compute", "network_and_storage"]


class Judge:
    """What every area uses: the clients' arguments, and the report of each call."""

    def __init__(self, ready):
        self.ready = ready
        self.subscription = ready["subscriptions"][0]["subscriptionId"]
        self.lab = ready["subscriptions"][0]["labs"][0]
        self.failed = 0

    def credential(self):
        """Signs in as any application does."""
        return ClientSecretCredential(
            self.ready["tenantId"],
            self.ready["clientId"],
            self.ready["clientSecret"],
            authority=self.ready["authority"],
            disable_instance_discovery=True,
        )

    def client(self, kind, **more):
        """A management client of this class. It polls often: simulated time is short."""
        address = self.ready["resourceManager"]
        return kind(
            self.credential(),
            self.subscription,
            base_url=address,
            credential_scopes=[address + ".default"],
            polling_interval=0.1,
            **more,
        )

    def call(self, operation, function, check=None):
        """Calls a function, waits for what it begins, reads all pages of what it lists, and reports."""
        line = {"operation": operation}
        result = None
        try:
            result = finished(function())
            if check is not None and not check(result):
                raise AssertionError(f"unexpected result: {result}")
        except Exception as error:  # what a client raises is what is judged
            self.failed += 1
            line["error"] = f"{type(error).__name__}: {error}"[:1500]
            if not isinstance(error, (HttpResponseError, AssertionError)):
                line["error"] += traceback.format_exc()[-1500:]
        print(json.dumps(line), flush=True)
        return result

    def refused(self, operation, status, code, function):
        """Calls a function that must raise this error."""
        line = {"operation": operation}
        try:
            finished(function())
            line["error"] = "no error was raised"
        except HttpResponseError as error:
            got = (error.status_code, error.error.code if error.error else None)
            if got != (status, code):
                line["error"] = f"{got}: {error}"
        self.failed += "error" in line
        print(json.dumps(line), flush=True)


def finished(answer):
    """The outcome of a long-running operation, the items of a list, or the answer itself."""
    if hasattr(answer, "result") and hasattr(answer, "polling_method"):
        return answer.result()
    if hasattr(answer, "by_page"):
        return list(answer)
    return answer


def main():
    judge = Judge(json.loads(sys.stdin.readline()))
    for area in AREAS:
        importlib.import_module(area).run(judge)
    sys.exit(1 if judge.failed else 0)


if __name__ == "__main__":
    main()
