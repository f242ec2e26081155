"""Runs Microsoft's command line against the emulator, unchanged, and says what came of each command.

Started with the emulator's ready line on standard input, in the virtual environment that holds azure-cli.
Prints one line of JSON a command: {"operation", "error"?}. Exit code 0 when all went well.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LAB = ["--resource-group", "devtestlabs", "--lab-name", "contoso"]
GROUP = "judgedbyaz"
IN_GROUP = ["--resource-group", GROUP]
TEMPLATE = Path(__file__).resolve().parent.parent / "template.json"
MACHINE = ["--image", "Ubuntu Server 24.04 LTS", "--image-type", "gallery", "--size", "Standard_B2s", "--admin-username", "tester", "--admin-password", "Sim-only-1234!"]


class Az:
    """The command line with a configuration folder of its own."""

    def __init__(self, ready, folder):
        self.failed = 0
        self.folder = folder
        program = "az.bat" if os.name == "nt" else "az"
        self.program = str(Path(sys.executable).parent / program)
        self.environment = {
            **os.environ,
            "AZURE_CONFIG_DIR": str(folder / "configuration"),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_INSTANCE_DISCOVERY": "false",
            "AZURE_CORE_NO_COLOR": "true",
            "AZURE_CORE_SURVEY_MESSAGE": "false",
            "AZURE_EXTENSION_USE_DYNAMIC_INSTALL": "no",
            "REQUESTS_CA_BUNDLE": ready["caFile"],
        }

    def __call__(self, *arguments, check=None, about=""):
        """Runs a command, reports it, and gives back the JSON that it printed."""
        words = []
        for argument in arguments:
            if argument.startswith("-"):
                break
            words.append(argument)
        line = {"operation": "az " + " ".join(words) + about}
        command = [self.program, *arguments, "--output", "json", "--only-show-errors"]
        done = subprocess.run(command, env=self.environment, cwd=self.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        printed = None
        try:
            if done.returncode != 0:
                raise AssertionError(f"exit code {done.returncode}: {done.stderr[-1500:]}")
            printed = json.loads(done.stdout) if done.stdout.strip() else None
            if check is not None and not check(printed):
                raise AssertionError(f"unexpected: {done.stdout[:1500]}")
        except Exception as error:
            self.failed += 1
            line["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(line), flush=True)
        return printed


def main():
    ready = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as folder:
        az = Az(ready, Path(folder))
        artifact = {"artifactId": f"{ready['subscriptions'][0]['labs'][0]}/artifactSources/public repo/artifacts/linux-apt-package", "parameters": [{"name": "packages", "value": "git"}]}
        (Path(folder) / "artifacts.json").write_text(json.dumps([artifact]))
        sign_in(az, ready)
        groups(az)
        deployments(az)
        resources(az, ready)
        lab(az)
        images = machines(az)
        galleries(az, images)
        az("group", "delete", "--name", GROUP, "--yes")
        az("lab", "delete", "--resource-group", "devtestlabs", "--name", "contoso", "--yes")
        az("logout")
    sys.exit(1 if az.failed else 0)


def sign_in(az, ready):
    address = ready["resourceManager"]
    az(
        "cloud", "register", "--name", "emulator", "--profile", "latest",
        "--endpoint-resource-manager", address,
        "--endpoint-active-directory", ready["authority"],
        "--endpoint-active-directory-resource-id", address,
        "--endpoint-active-directory-graph-resource-id", address,
        "--endpoint-microsoft-graph-resource-id", address,
    )
    az("cloud", "set", "--name", "emulator")
    az("login", "--service-principal", "--username", ready["clientId"], "--password", ready["clientSecret"], "--tenant", ready["tenantId"], check=len)
    subscription = ready["subscriptions"][0]["subscriptionId"]
    az("account", "show", check=lambda account: account["id"] == subscription)
    az("account", "list", check=lambda accounts: subscription in [account["id"] for account in accounts])
    az("account", "list-locations", check=len)


def groups(az):
    az("group", "create", "--name", GROUP, "--location", "westeurope", "--tags", "a=b", check=lambda group: group["tags"] == {"a": "b"})
    az("group", "show", "--name", GROUP)
    az("group", "exists", "--name", GROUP, check=lambda there: there is True)
    az("group", "list", "--tag", "a=b", check=lambda groups: GROUP in [group["name"] for group in groups])
    az("group", "update", "--name", GROUP, "--set", "tags.c=d", check=lambda group: group["tags"]["c"] == "d")
    az("provider", "list", check=len)
    az("provider", "show", "--namespace", "Microsoft.DevTestLab", check=lambda one: one["resourceTypes"])
    az("provider", "register", "--namespace", "Microsoft.DevTestLab")


def deployments(az):
    where = [*IN_GROUP, "--name", "first"]
    source = ["--template-file", str(TEMPLATE), "--parameters", "name=ip1"]
    az("deployment", "group", "validate", *where, *source)
    az("deployment", "group", "what-if", *where, *source, "--no-pretty-print", check=lambda answer: [one["changeType"] for one in answer["changes"]] == ["Create"])
    az("deployment", "group", "create", *where, *source, check=lambda one: one["properties"]["provisioningState"] == "Succeeded" and one["properties"]["outputs"]["id"]["value"])
    az("deployment", "group", "show", *where)
    az("deployment", "group", "list", *IN_GROUP, check=lambda found: [one["name"] for one in found] == ["first"])
    az("deployment", "group", "export", *where, check=lambda template: template["resources"])
    az("deployment", "operation", "group", "list", *where, check=len)
    az("deployment", "group", "delete", *where)
    az("deployment", "sub", "list")


def resources(az, ready):
    one = [*IN_GROUP, "--resource-type", "Microsoft.Network/publicIPAddresses", "--name", "ip1"]
    az("resource", "list", *IN_GROUP, check=lambda found: [one["name"] for one in found] == ["ip1"])
    shown = az("resource", "show", *one, check=lambda found: found["properties"]["provisioningState"] == "Succeeded")
    key = shown["id"] if shown else ""
    az("resource", "tag", *one, "--tags", "x=y")
    az("tag", "create", "--resource-id", key, "--tags", "e=f")
    az("tag", "update", "--resource-id", key, "--operation", "Merge", "--tags", "g=h")
    az("tag", "list", "--resource-id", key, check=lambda found: found["properties"]["tags"] == {"e": "f", "g": "h"})
    az("tag", "delete", "--resource-id", key, "--yes")
    az("lock", "create", "--name", "kept", "--lock-type", "CanNotDelete", *IN_GROUP)
    az("lock", "list", *IN_GROUP, check=lambda found: [one["name"] for one in found] == ["kept"])
    az("lock", "show", "--name", "kept", *IN_GROUP)
    az("lock", "delete", "--name", "kept", *IN_GROUP)
    az("resource", "delete", *one)
    az("resource", "list", *IN_GROUP, check=lambda found: found == [], about=" of nothing")


def lab(az):
    named = ["--resource-group", "devtestlabs", "--name", "contoso"]
    az("lab", "get", *named, check=lambda one: one["name"] == "contoso")
    az("lab", "artifact-source", "list", *LAB, check=len)
    source = ["--artifact-source-name", "public repo"]
    az("lab", "artifact-source", "show", *LAB, "--name", "public repo", check=lambda one: one["name"] == "public repo")
    az("lab", "artifact", "list", *LAB, *source, check=len)
    az("lab", "arm-template", "list", *LAB, *source, check=len)
    az("lab", "arm-template", "show", *LAB, *source, "--name", "Storage", check=lambda one: one["name"] == "Storage")
    az("lab", "gallery-image", "list", *LAB, check=len)
    az("lab", "vnet", "list", *LAB, check=len)
    az("lab", "vnet", "get", *LAB, "--name", "Dtlcontoso")
    az("lab", "formula", "list", *LAB)
    secret = [*LAB, "--name", "secret1"]
    az("lab", "secret", "set", *secret, "--value", "hidden")
    az("lab", "secret", "list", *LAB, check=len)
    az("lab", "secret", "show", *secret)
    az("lab", "secret", "delete", *secret, "--yes")
    environment = [*LAB, "--name", "environment1"]
    az("lab", "environment", "create", *environment, "--arm-template", "Storage", *source, check=lambda one: one["provisioningState"] == "Succeeded" and one["resourceGroupId"])
    az("lab", "environment", "list", *LAB, check=len)
    az("lab", "environment", "show", *environment)
    az("lab", "environment", "delete", *environment, "--yes")


def machines(az):
    """Lab machines and what Compute says of them; gives back a managed image's id."""
    vm = [*LAB, "--name", "azvm1"]
    az("lab", "vm", "create", *vm, *MACHINE, "--allow-claim", "true")
    az("lab", "vm", "list", *LAB, "--all", check=lambda found: [one["name"] for one in found] == ["azvm1"])
    az("lab", "vm", "list", *LAB, "--claimable", check=lambda found: [one["name"] for one in found] == ["azvm1"], about=" of what can be claimed")
    shown = az("lab", "vm", "show", *vm, "--expand", "properties($expand=ComputeVm,NetworkInterface)", check=lambda one: one["computeId"])
    az("lab", "vm", "apply-artifacts", *vm, "--artifacts", "artifacts.json")
    az("lab", "vm", "stop", *vm)
    az("lab", "vm", "start", *vm)
    az("lab", "vm", "claim", *vm)
    az("lab", "vm", "list", *LAB, check=lambda found: [one["name"] for one in found] == ["azvm1"], about=" of one's own")
    az("lab", "vm", "list", *LAB, "--claimable", check=lambda found: found == [], about=" of nothing")
    az("lab", "vm", "list", *LAB, "--filters", "name eq 'azvm1'", check=lambda found: found[0]["allowClaim"] is False, about=" by a filter")
    image = [*LAB, "--name", "image1"]
    az("lab", "custom-image", "create", *image, "--os-type", "Linux", "--os-state", "NonDeprovisioned", "--source-vm-id", shown["id"] if shown else "none", check=lambda one: one["provisioningState"] == "Succeeded")
    az("lab", "custom-image", "list", *LAB, check=len)
    az("lab", "custom-image", "show", *image)
    az("lab", "custom-image", "delete", *image, "--yes")

    compute = shown["computeId"] if shown else "none"
    az("vm", "list", "--resource-group", compute.split("/")[4] if shown else "none", check=len)
    az("vm", "show", "--ids", compute, check=lambda one: one["storageProfile"]["osDisk"])
    az("vm", "get-instance-view", "--ids", compute, check=lambda one: one["instanceView"]["statuses"])
    az("vm", "deallocate", "--ids", compute)
    az("vm", "generalize", "--ids", compute)
    az("vm", "list-sizes", "--location", "westeurope", check=len)
    az("vm", "list-usage", "--location", "westeurope", check=len)
    made = az("image", "create", *IN_GROUP, "--name", "image1", "--source", compute, "--hyper-v-generation", "V2")
    az("image", "list", *IN_GROUP, check=len)
    az("image", "show", *IN_GROUP, "--name", "image1")
    az("disk", "create", *IN_GROUP, "--name", "disk1", "--size-gb", "8", "--sku", "Standard_LRS")
    az("disk", "list", *IN_GROUP, check=len)
    az("disk", "show", *IN_GROUP, "--name", "disk1")
    az("disk", "grant-access", *IN_GROUP, "--name", "disk1", "--duration-in-seconds", "600", check=lambda answer: answer["accessSAS"] if "accessSAS" in answer else answer["accessSas"])
    az("disk", "revoke-access", *IN_GROUP, "--name", "disk1")
    az("snapshot", "create", *IN_GROUP, "--name", "snapshot1", "--source", "disk1")
    az("snapshot", "list", *IN_GROUP, check=len)
    az("snapshot", "show", *IN_GROUP, "--name", "snapshot1")
    az("snapshot", "grant-access", *IN_GROUP, "--name", "snapshot1", "--duration-in-seconds", "600")
    az("snapshot", "revoke-access", *IN_GROUP, "--name", "snapshot1")
    az("snapshot", "delete", *IN_GROUP, "--name", "snapshot1")
    az("disk", "delete", *IN_GROUP, "--name", "disk1", "--yes")
    az("lab", "vm", "delete", *vm, "--yes")
    return made["id"] if made else "none"


def galleries(az, image):
    gallery = [*IN_GROUP, "--gallery-name", "gallery1"]
    definition = [*gallery, "--gallery-image-definition", "definition1"]
    version = [*definition, "--gallery-image-version", "1.0.0"]
    az("sig", "create", *gallery)
    az("sig", "list", *IN_GROUP, check=len)
    az("sig", "show", *gallery)
    az("sig", "image-definition", "create", *definition, "--publisher", "p", "--offer", "o", "--sku", "s", "--os-type", "Linux", "--os-state", "Generalized", "--hyper-v-generation", "V2")
    az("sig", "image-definition", "list", *gallery, check=len)
    az("sig", "image-definition", "show", *definition)
    az("sig", "image-version", "create", *version, "--managed-image", image, "--target-regions", "westeurope=1", "northeurope", check=lambda one: one["provisioningState"] == "Succeeded")
    az("sig", "image-version", "show", *version, "--expand", "ReplicationStatus", check=lambda one: len(one["replicationStatus"]["summary"]) == 2)
    az("sig", "image-version", "list", *definition, check=len)
    az("sig", "image-version", "update", *version, "--set", "publishingProfile.excludeFromLatest=true", check=lambda one: one["publishingProfile"]["excludeFromLatest"] is True)
    az("sig", "image-version", "delete", *version)
    az("sig", "image-definition", "delete", *definition)
    az("sig", "delete", *gallery)
    az("image", "delete", *IN_GROUP, "--name", "image1")


if __name__ == "__main__":
    main()
