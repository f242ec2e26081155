"""Microsoft.Network and Microsoft.Storage, as far as labs and environments need them."""

from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient

GROUP = "judgednetwork"


def run(judge):
    groups = judge.client(ResourceManagementClient).resource_groups
    groups.create_or_update(GROUP, {"location": "westeurope"})
    network(judge, judge.client(NetworkManagementClient))
    storage(judge, judge.client(StorageManagementClient))


def network(judge, client):
    call = judge.call
    space = {"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}}}
    call("virtual_networks.begin_create_or_update (network)", lambda: client.virtual_networks.begin_create_or_update(GROUP, "net1", space))
    call("virtual_networks.get (network)", lambda: client.virtual_networks.get(GROUP, "net1"))
    call("virtual_networks.list (network)", lambda: client.virtual_networks.list(GROUP), len)
    call("virtual_networks.list_all (network)", lambda: client.virtual_networks.list_all(), len)
    subnet = call("subnets.begin_create_or_update", lambda: client.subnets.begin_create_or_update(GROUP, "net1", "sub1", {"properties": {"addressPrefix": "10.1.0.0/24"}}))
    call("subnets.get", lambda: client.subnets.get(GROUP, "net1", "sub1"))
    call("subnets.list", lambda: client.subnets.list(GROUP, "net1"), lambda found: [one.name for one in found] == ["sub1"])
    address = call("public_ip_addresses.begin_create_or_update", lambda: client.public_ip_addresses.begin_create_or_update(GROUP, "ip1", {"location": "westeurope", "properties": {"publicIPAllocationMethod": "Static"}}), lambda one: one.properties.ip_address)
    call("public_ip_addresses.get", lambda: client.public_ip_addresses.get(GROUP, "ip1"))
    call("public_ip_addresses.list", lambda: client.public_ip_addresses.list(GROUP), len)
    call("network_security_groups.begin_create_or_update", lambda: client.network_security_groups.begin_create_or_update(GROUP, "nsg1", {"location": "westeurope", "properties": {"securityRules": []}}))
    call("network_security_groups.get", lambda: client.network_security_groups.get(GROUP, "nsg1"))
    call("network_security_groups.list", lambda: client.network_security_groups.list(GROUP), len)
    if subnet and address:
        parts = {"name": "first", "properties": {"subnet": {"id": subnet.id}, "publicIPAddress": {"id": address.id}}}
        call("network_interfaces.begin_create_or_update", lambda: client.network_interfaces.begin_create_or_update(GROUP, "nic1", {"location": "westeurope", "properties": {"ipConfigurations": [parts]}}), lambda nic: nic.properties.ip_configurations[0].properties.private_ip_address)
        call("network_interfaces.get", lambda: client.network_interfaces.get(GROUP, "nic1"))
        call("network_interfaces.list", lambda: client.network_interfaces.list(GROUP), len)
        call("network_interfaces.begin_delete", lambda: client.network_interfaces.begin_delete(GROUP, "nic1"))
    call("network_security_groups.begin_delete", lambda: client.network_security_groups.begin_delete(GROUP, "nsg1"))
    call("public_ip_addresses.begin_delete", lambda: client.public_ip_addresses.begin_delete(GROUP, "ip1"))
    call("subnets.begin_delete", lambda: client.subnets.begin_delete(GROUP, "net1", "sub1"))
    call("virtual_networks.begin_delete (network)", lambda: client.virtual_networks.begin_delete(GROUP, "net1"))


def storage(judge, client):
    call = judge.call
    accounts = client.storage_accounts
    given = {"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
    call("storage_accounts.check_name_availability", lambda: accounts.check_name_availability({"name": "judgedstorage", "type": "Microsoft.Storage/storageAccounts"}), lambda answer: answer.name_available)
    call("storage_accounts.begin_create", lambda: accounts.begin_create(GROUP, "judgedstorage", given), lambda one: one.properties.primary_endpoints.blob)
    call("storage_accounts.get_properties", lambda: accounts.get_properties(GROUP, "judgedstorage"))
    call("storage_accounts.list", lambda: accounts.list(), len)
    call("storage_accounts.list_by_resource_group", lambda: accounts.list_by_resource_group(GROUP), len)
    call("storage_accounts.list_keys", lambda: accounts.list_keys(GROUP, "judgedstorage"), lambda answer: len(answer.keys_property if hasattr(answer, "keys_property") else answer["keys"]) == 2)
    call("storage_accounts.update", lambda: accounts.update(GROUP, "judgedstorage", {"tags": {"a": "b"}}))
    call("storage_accounts.delete", lambda: accounts.delete(GROUP, "judgedstorage"))
