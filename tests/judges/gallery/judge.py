"""Reads with Microsoft's compute SDK what the gallery tasks made, and makes what they are to accept.

Started with one JSON value on standard input: the emulator's ready line, and under "read" and "make" what to do.
Prints what it read as one JSON value.
"""

import json
import sys

from azure.identity import ClientSecretCredential
from azure.mgmt.compute import ComputeManagementClient


def main():
    task = json.load(sys.stdin)
    ready, group, gallery = task["ready"], task["group"], task["gallery"]
    credential = ClientSecretCredential(
        ready["tenantId"],
        ready["clientId"],
        ready["clientSecret"],
        authority=ready["authority"],
        disable_instance_discovery=True,
    )
    address = ready["resourceManager"]
    client = ComputeManagementClient(
        credential,
        ready["subscriptions"][0]["subscriptionId"],
        base_url=address,
        credential_scopes=[address + ".default"],
        polling_interval=0.1,
    )
    read = task["read"]
    definition = client.gallery_images.get(group, gallery, read["definition"])
    version = client.gallery_image_versions.get(
        group, gallery, read["definition"], read["version"], expand="ReplicationStatus"
    )
    versions = [item.name for item in client.gallery_image_versions.list_by_gallery_image(group, gallery, read["definition"])]
    shown = {
        "osType": definition.os_type,
        "osState": definition.os_state,
        "generation": definition.hyper_v_generation,
        "sku": definition.identifier.sku,
        "features": {feature.name: feature.value for feature in definition.features or []},
        "versions": versions,
        "state": version.provisioning_state,
        "replication": version.replication_status.aggregated_state,
        "regions": {
            region.name: [region.regional_replica_count, region.storage_account_type, bool(region.exclude_from_latest)]
            for region in version.publishing_profile.target_regions
        },
        "excluded": version.publishing_profile.exclude_from_latest,
        "source": version.storage_profile.source.virtual_machine_id,
        "tags": version.tags,
    }
    make = task["make"]
    client.gallery_images.begin_create_or_update(group, gallery, make["definition"], make["definitionBody"]).result()
    client.gallery_image_versions.begin_create_or_update(
        group, gallery, make["definition"], make["version"], make["versionBody"]
    ).result()
    print(json.dumps(shown))


main()
