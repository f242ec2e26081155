//! Microsoft.Network.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Azure, DTL, GROUP, LAB, windows};

const VERSION: &str = "api-version=2024-05-01";

fn path(rest: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Network/{rest}?{VERSION}")
}

fn network(subnets: &[(&str, &str)]) -> Value {
    let subnets: Vec<Value> = subnets.iter().map(|(name, prefix)| json!({"name": name, "properties": {"addressPrefix": prefix}})).collect();
    json!({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}, "subnets": subnets}})
}

fn interface(subnet: &str, address: Option<&str>) -> Value {
    let mut configuration = json!({"name": "ipconfig", "properties": {"subnet": {"id": subnet}}});
    if let Some(address) = address {
        configuration["properties"]["publicIPAddress"] = json!({"id": address});
    }
    json!({"location": "westeurope", "properties": {"ipConfigurations": [configuration]}})
}

#[tokio::test]
async fn a_networks_subnets_are_resources_of_their_own() {
    let azure = Azure::start().await;
    let made = azure.put(&path("virtualNetworks/net"), network(&[("a", "10.1.0.0/24")])).await.expect(201);
    assert!(
        made.header("azure-asyncoperation").contains("/providers/Microsoft.Network/locations/") && made.header("etag") == made.body["etag"]
    );
    let subnet = made.body["properties"]["subnets"][0].clone();
    assert_eq!(subnet["id"], format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/net/subnets/a"));
    assert_eq!(
        (&subnet["properties"]["provisioningState"], &subnet["type"]),
        (&json!("Succeeded"), &json!("Microsoft.Network/virtualNetworks/subnets"))
    );
    azure.put(&path("virtualNetworks/net/subnets/b"), json!({"properties": {"addressPrefix": "10.1.1.0/24"}})).await.expect(201);
    let shown = azure.get(&path("virtualNetworks/net")).await.expect(200).body;
    assert_eq!(shown["properties"]["subnets"][1]["name"], "b");
    assert_eq!(shown["properties"]["subnets"][0]["etag"], subnet["etag"]);
    let listed = azure.get(&path("virtualNetworks/net/subnets")).await.expect(200).body;
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(2));
    azure.delete(&path("virtualNetworks/net/subnets/a")).await.expect(202);
    azure.get(&path("virtualNetworks/net/subnets/a")).await.refused(404, "ResourceNotFound");
    azure
        .put(&path("virtualNetworks/none/subnets/a"), json!({"properties": {"addressPrefix": "10.1.1.0/24"}}))
        .await
        .refused(404, "ParentResourceNotFound");
    let tagged = azure.send(Method::PATCH, &path("virtualNetworks/net"), Some(&json!({"tags": {"a": "b"}}))).await.expect(200).body;
    assert!(tagged["tags"]["a"] == "b" && tagged["etag"] != shown["etag"]);
}

#[tokio::test]
async fn networks_that_cannot_be_are_refused() {
    let azure = Azure::start().await;
    for (body, code) in [
        (json!({"location": "westeurope", "properties": {}}), "MissingAddressPrefixes"),
        (network(&[("a", "10.2.0.0/24")]), "NetcfgInvalidSubnet"),
        (network(&[("a", "10.1.0.0/24"), ("b", "10.1.0.128/25")]), "NetcfgSubnetRangesOverlap"),
        (network(&[("a", "10.1.0.7/24")]), "InvalidAddressPrefixFormat"),
        (network(&[("", "10.1.0.0/24")]), "InvalidRequestFormat"),
    ] {
        azure.put(&path("virtualNetworks/net"), body).await.refused(400, code);
    }
    let rule = |name: &str, priority: u64| json!({"name": name, "properties": {"priority": priority, "direction": "Inbound", "access": "Allow", "protocol": "Tcp"}});
    let group = |rules: Vec<Value>| json!({"location": "westeurope", "properties": {"securityRules": rules}});
    azure.put(&path("networkSecurityGroups/g"), group(vec![rule("a", 99)])).await.refused(400, "SecurityRuleInvalidPriority");
    azure.put(&path("networkSecurityGroups/g"), group(vec![rule("a", 100), rule("b", 100)])).await.refused(400, "SecurityRuleConflict");
    let made = azure.put(&path("networkSecurityGroups/g"), group(vec![rule("a", 100)])).await.expect(201).body;
    assert_eq!(made["properties"]["defaultSecurityRules"].as_array().map(Vec::len), Some(6));
    azure
        .put(&path("networkInterfaces/n"), interface(&format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/x/subnets/y"), None))
        .await
        .refused(400, "InvalidResourceReference");
    azure
        .put(&path("networkInterfaces/n"), json!({"location": "westeurope", "properties": {"ipConfigurations": []}}))
        .await
        .refused(400, "NetworkInterfaceMustHaveAtLeastOneIpConfiguration");
}

#[tokio::test]
async fn what_is_in_use_stays() {
    let azure = Azure::start().await;
    azure.put(&path("virtualNetworks/net"), network(&[("a", "10.1.0.0/24")])).await.expect(201);
    let subnet = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/net/subnets/a");
    let address = azure
        .put(&path("publicIPAddresses/ip"), json!({"location": "westeurope", "properties": {"dnsSettings": {"domainNameLabel": "here"}}}))
        .await
        .expect(201)
        .body;
    assert!(address["properties"].get("ipAddress").is_none() && address["properties"]["publicIPAllocationMethod"] == "Dynamic");
    azure
        .put(&path("publicIPAddresses/ip2"), json!({"location": "westeurope", "properties": {"dnsSettings": {"domainNameLabel": "HERE"}}}))
        .await
        .refused(400, "DnsRecordInUse");
    let free = azure.get(&format!("/subscriptions/11111111-1111-4111-8111-111111111111/providers/Microsoft.Network/locations/westeurope/CheckDnsNameAvailability?{VERSION}&domainNameLabel=here")).await.expect(200);
    assert_eq!(free.body["available"], false);
    let made = azure.put(&path("networkInterfaces/n1"), interface(&subnet, address["id"].as_str())).await.expect(201).body;
    let second = azure.put(&path("networkInterfaces/n2"), interface(&subnet, None)).await.expect(201).body;
    let ip = |body: &Value| body["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"].clone();
    assert_eq!((ip(&made), ip(&second)), (json!("10.1.0.4"), json!("10.1.0.5")));
    let shown = azure.get(&path("publicIPAddresses/ip")).await.body;
    assert_eq!(shown["properties"]["ipConfiguration"]["id"], made["properties"]["ipConfigurations"][0]["id"]);
    assert!(shown["properties"]["ipAddress"].is_string());
    assert_eq!(
        azure.get(&path("virtualNetworks/net")).await.body["properties"]["subnets"][0]["properties"]["ipConfigurations"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    azure.delete(&path("publicIPAddresses/ip")).await.refused(400, "PublicIPAddressCannotBeDeleted");
    azure.delete(&path("virtualNetworks/net")).await.refused(400, "InUseSubnetCannotBeDeleted");
    azure.put(&path("virtualNetworks/net"), network(&[("b", "10.1.9.0/24")])).await.refused(400, "InUseSubnetCannotBeDeleted");
    azure.put(&path("virtualNetworks/net"), network(&[("a", "10.1.0.0/24"), ("b", "10.1.9.0/24")])).await.expect(200);
    azure.delete(&path("networkInterfaces/n1")).await.expect(202);
    azure.delete(&path("publicIPAddresses/ip")).await.expect(202);
    azure.delete(&path("virtualNetworks/net/subnets/a")).await.refused(400, "InUseSubnetCannotBeDeleted");
    azure.delete(&path("networkInterfaces/n2")).await.expect(202);
    azure.delete(&path("virtualNetworks/net")).await.expect(202);
}

#[tokio::test]
async fn a_lab_networks_machines_are_seen_in_its_subnet_until_they_go() {
    let azure = Azure::start().await;
    let vm = azure.machine("vm", windows(&[])).await;
    let network = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/Dtlcontoso?{VERSION}");
    let used = azure.get(&network).await.expect(200).body;
    assert_eq!(used["properties"]["subnets"][0]["properties"]["ipConfigurations"].as_array().map(Vec::len), Some(1));
    let shown = azure
        .get(&format!("{LAB}/virtualnetworks/Dtlcontoso?api-version={DTL}&$expand=properties($expand=externalSubnets)"))
        .await
        .expect(200)
        .body;
    assert_eq!(shown["properties"]["externalSubnets"][0]["name"], "DtlcontosoSubnet");
    azure.delete(&network).await.refused(400, "InUseSubnetCannotBeDeleted");
    let compute = vm["properties"]["computeId"].as_str().expect("compute");
    let interface = azure.get(&format!("{compute}?api-version=2024-03-01")).await.body["properties"]["networkProfile"]["networkInterfaces"]
        [0]["id"]
        .as_str()
        .expect("an interface")
        .to_owned();
    azure.delete(&format!("{interface}?{VERSION}")).await.refused(400, "NicInUse");
    let answer = azure.delete(&format!("{LAB}/virtualmachines/vm?api-version={DTL}")).await.expect(202);
    azure.finished(&answer).await;
    let unused = azure.get(&network).await.expect(200).body;
    assert!(unused["properties"]["subnets"][0]["properties"]["ipConfigurations"].as_array().is_none_or(Vec::is_empty), "{unused:#}");
}

#[tokio::test]
async fn a_balancers_rules_name_what_it_has() {
    let azure = Azure::start().await;
    azure.put(&path("publicIPAddresses/ip"), json!({"location": "westeurope", "sku": {"name": "Standard"}})).await.expect(201);
    let id = |rest: &str| format!("{GROUP}/providers/Microsoft.Network/{rest}");
    let body = |probe: &str| {
        json!({"location": "westeurope", "properties": {
        "frontendIPConfigurations": [{"name": "front", "properties": {"publicIPAddress": {"id": id("publicIPAddresses/ip")}}}],
        "backendAddressPools": [{"name": "pool"}], "probes": [{"name": "probe", "properties": {"protocol": "Tcp", "port": 80}}],
        "loadBalancingRules": [{"name": "rule", "properties": {"protocol": "Tcp", "frontendPort": 80, "backendPort": 80,
            "frontendIPConfiguration": {"id": id("loadBalancers/lb/frontendIPConfigurations/front")}, "probe": {"id": id(&format!("loadBalancers/lb/probes/{probe}"))}}}]}})
    };
    azure.put(&path("loadBalancers/lb"), body("other")).await.refused(400, "InvalidResourceReference");
    azure.put(&path("loadBalancers/lb"), body("probe")).await.expect(201);
    azure.get(&path("loadBalancers/lb/backendAddressPools/pool")).await.expect(200);
    azure.delete(&path("publicIPAddresses/ip")).await.refused(400, "PublicIPAddressCannotBeDeleted");
    azure.delete(&path("loadBalancers/lb")).await.expect(202);
    azure.delete(&path("publicIPAddresses/ip")).await.expect(202);
}
