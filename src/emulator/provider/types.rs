//! The providers' types: what `/providers` tells of them, and where they can be.

/// A provider of Azure's.
#[derive(Debug)]
pub struct Provider {
    /// Its namespace.
    pub namespace: &'static str,
    /// The api-versions of its types, the latest first. Others are taken too, where the emulator has no rules of its own.
    pub versions: &'static [&'static str],
    /// Types whose resources are in a region.
    pub regional: &'static [&'static str],
    /// Types whose resources are in no region, or in the one of what they belong to.
    pub global: &'static [&'static str],
}

const fn of(
    namespace: &'static str,
    versions: &'static [&'static str],
    regional: &'static [&'static str],
    global: &'static [&'static str],
) -> Provider {
    Provider { namespace, versions, regional, global }
}

/// The providers that there are. Types that are not listed are kept as they are given, wherever they are.
pub const PROVIDERS: &[Provider] = &[
    of("Microsoft.ApiManagement", &["2024-05-01", "2022-08-01", "2021-08-01"], &["service"], &["service/apis", "operations"]),
    of(
        "Microsoft.App",
        &["2025-01-01", "2024-03-01", "2023-05-01"],
        &["containerApps", "managedEnvironments", "jobs"],
        &["locations", "operations"],
    ),
    of(
        "Microsoft.AppConfiguration",
        &["2024-05-01", "2023-03-01"],
        &["configurationStores"],
        &["configurationStores/keyValues", "operations"],
    ),
    of(
        "Microsoft.Authorization",
        &["2022-04-01", "2020-05-01", "2018-07-01", "2017-04-01", "2016-09-01", "2015-07-01"],
        &[],
        &["locks", "permissions", "policyAssignments", "policyDefinitions", "policySetDefinitions", "roleAssignments", "roleDefinitions"],
    ),
    of(
        "Microsoft.Automation",
        &["2023-11-01", "2022-08-08", "2020-01-13-preview"],
        &["automationAccounts", "automationAccounts/runbooks"],
        &["automationAccounts/schedules", "automationAccounts/variables", "operations"],
    ),
    of("Microsoft.Batch", &["2024-07-01", "2023-11-01"], &["batchAccounts"], &["batchAccounts/pools", "locations", "operations"]),
    of("Microsoft.Cache", &["2024-11-01", "2023-08-01"], &["Redis"], &["Redis/firewallRules", "locations", "operations"]),
    of("Microsoft.Cdn", &["2024-09-01", "2023-05-01"], &[], &["profiles", "profiles/endpoints", "operations"]),
    of("Microsoft.CognitiveServices", &["2024-10-01", "2023-05-01"], &["accounts"], &["accounts/deployments", "locations", "operations"]),
    of(
        "Microsoft.Compute",
        &[
            "2025-04-01",
            "2025-03-03",
            "2024-11-01",
            "2024-07-01",
            "2024-03-03",
            "2024-03-01",
            "2023-09-01",
            "2023-07-03",
            "2023-03-01",
            "2022-11-01",
            "2022-08-01",
            "2022-03-03",
            "2022-03-01",
            "2021-11-01",
            "2021-07-01",
            "2021-03-01",
            "2020-12-01",
            "2020-06-01",
            "2019-12-01",
            "2019-07-01",
            "2019-03-01",
            "2018-10-01",
            "2018-06-01",
            "2017-12-01",
            "2017-03-30",
            "2016-03-30",
            "2015-06-15",
        ],
        &[
            "availabilitySets",
            "capacityReservationGroups",
            "diskEncryptionSets",
            "disks",
            "galleries",
            "galleries/images",
            "galleries/images/versions",
            "hostGroups",
            "hostGroups/hosts",
            "images",
            "proximityPlacementGroups",
            "restorePointCollections",
            "snapshots",
            "sshPublicKeys",
            "virtualMachines",
            "virtualMachines/extensions",
            "virtualMachineScaleSets",
        ],
        &["locations", "locations/operations", "locations/publishers", "locations/usages", "locations/vmSizes", "operations"],
    ),
    of("Microsoft.ContainerInstance", &["2023-05-01", "2021-10-01"], &["containerGroups"], &["locations", "operations"]),
    of(
        "Microsoft.ContainerRegistry",
        &["2023-07-01", "2022-12-01"],
        &["registries", "registries/replications", "registries/webhooks"],
        &["operations"],
    ),
    of("Microsoft.ContainerService", &["2025-01-01", "2024-02-01"], &["managedClusters"], &["managedClusters/agentPools", "operations"]),
    of("Microsoft.DBforMariaDB", &["2018-06-01"], &["servers"], &["servers/databases", "servers/firewallRules", "operations"]),
    of(
        "Microsoft.DBforMySQL",
        &["2023-12-30", "2021-05-01", "2017-12-01"],
        &["servers", "flexibleServers"],
        &["servers/databases", "servers/firewallRules", "flexibleServers/databases", "operations"],
    ),
    of(
        "Microsoft.DBforPostgreSQL",
        &["2024-08-01", "2022-12-01", "2017-12-01"],
        &["servers", "flexibleServers"],
        &["servers/databases", "servers/firewallRules", "flexibleServers/databases", "operations"],
    ),
    of("Microsoft.DataFactory", &["2018-06-01"], &["factories"], &["factories/pipelines", "operations"]),
    of(super::LAB, super::ALL, &["labs", "labs/virtualMachines", "labs/serviceRunners", "schedules"], &["locations", "operations"]),
    of(
        "Microsoft.DocumentDB",
        &["2024-11-15", "2023-11-15", "2021-10-15"],
        &["databaseAccounts"],
        &["databaseAccounts/sqlDatabases", "locations", "operations"],
    ),
    of("Microsoft.EventGrid", &["2025-02-15", "2022-06-15"], &["topics", "domains"], &["eventSubscriptions", "operations"]),
    of("Microsoft.EventHub", &["2024-01-01", "2021-11-01"], &["namespaces"], &["namespaces/eventhubs", "operations"]),
    of(
        "Microsoft.Insights",
        &["2023-01-01", "2021-05-01-preview", "2020-02-02", "2018-03-01", "2015-05-01"],
        &["components", "webtests", "scheduledQueryRules"],
        &["actionGroups", "activityLogAlerts", "diagnosticSettings", "metricAlerts", "operations"],
    ),
    of(
        "Microsoft.KeyVault",
        &["2024-11-01", "2023-07-01", "2022-07-01", "2019-09-01", "2016-10-01", "2015-06-01"],
        &["vaults", "managedHSMs"],
        &["vaults/secrets", "vaults/keys", "vaults/accessPolicies", "locations", "operations"],
    ),
    of("Microsoft.Logic", &["2019-05-01", "2016-06-01"], &["workflows", "integrationAccounts"], &["operations"]),
    of(
        "Microsoft.ManagedIdentity",
        &["2023-01-31", "2018-11-30"],
        &["userAssignedIdentities"],
        &["userAssignedIdentities/federatedIdentityCredentials", "operations"],
    ),
    of(
        "Microsoft.Network",
        &[
            "2025-01-01",
            "2024-10-01",
            "2024-07-01",
            "2024-05-01",
            "2024-01-01",
            "2023-09-01",
            "2023-06-01",
            "2023-04-01",
            "2022-11-01",
            "2022-07-01",
            "2022-01-01",
            "2021-08-01",
            "2021-05-01",
            "2021-02-01",
            "2020-11-01",
            "2020-08-01",
            "2020-06-01",
            "2020-05-01",
            "2019-11-01",
            "2019-09-01",
            "2019-04-01",
            "2018-11-01",
            "2018-08-01",
            "2018-01-01",
            "2017-10-01",
            "2017-06-01",
            "2016-09-01",
            "2016-03-30",
            "2015-06-15",
        ],
        &[
            "applicationGateways",
            "applicationSecurityGroups",
            "bastionHosts",
            "loadBalancers",
            "natGateways",
            "networkInterfaces",
            "networkSecurityGroups",
            "privateEndpoints",
            "publicIPAddresses",
            "publicIPPrefixes",
            "routeTables",
            "virtualNetworkGateways",
            "virtualNetworks",
        ],
        &[
            "dnszones",
            "frontdoors",
            "locations",
            "locations/operations",
            "networkSecurityGroups/securityRules",
            "operations",
            "privateDnsZones",
            "trafficmanagerprofiles",
            "virtualNetworks/subnets",
            "virtualNetworks/virtualNetworkPeerings",
        ],
    ),
    of("Microsoft.OperationalInsights", &["2023-09-01", "2020-08-01"], &["workspaces"], &["workspaces/savedSearches", "operations"]),
    of(
        "Microsoft.Resources",
        &[
            "2026-09-01",
            "2025-04-01",
            "2024-03-01",
            "2022-09-01",
            "2021-04-01",
            "2020-10-01",
            "2019-08-01",
            "2019-05-01",
            "2018-05-01",
            "2017-05-10",
            "2016-09-01",
            "2015-01-01",
        ],
        &["deploymentScripts", "templateSpecs", "templateSpecs/versions"],
        &[
            "deployments",
            "deployments/operations",
            "links",
            "locations",
            "operations",
            "providers",
            "resourceGroups",
            "resources",
            "subscriptions",
            "tags",
            "tenants",
        ],
    ),
    of("Microsoft.Search", &["2023-11-01", "2022-09-01"], &["searchServices"], &["operations"]),
    of("Microsoft.ServiceBus", &["2024-01-01", "2021-11-01"], &["namespaces"], &["namespaces/queues", "namespaces/topics", "operations"]),
    of("Microsoft.ServiceFabric", &["2023-11-01-preview", "2021-06-01"], &["clusters"], &["clusters/applications", "operations"]),
    of("Microsoft.SignalRService", &["2024-03-01", "2023-02-01"], &["SignalR", "WebPubSub"], &["operations"]),
    of(
        "Microsoft.Sql",
        &["2023-08-01", "2021-11-01", "2015-05-01-preview", "2014-04-01"],
        &["servers", "servers/databases", "servers/elasticPools", "managedInstances"],
        &["servers/firewallRules", "locations", "operations"],
    ),
    of(
        "Microsoft.Storage",
        &[
            "2025-01-01",
            "2024-01-01",
            "2023-05-01",
            "2023-01-01",
            "2022-09-01",
            "2022-05-01",
            "2021-09-01",
            "2021-06-01",
            "2021-04-01",
            "2021-02-01",
            "2021-01-01",
            "2020-08-01-preview",
            "2019-06-01",
            "2019-04-01",
            "2018-11-01",
            "2018-07-01",
            "2018-02-01",
            "2017-10-01",
            "2017-06-01",
            "2016-12-01",
            "2016-05-01",
            "2016-01-01",
            "2015-06-15",
        ],
        &["storageAccounts"],
        &[
            "checkNameAvailability",
            "locations",
            "locations/asyncoperations",
            "operations",
            "storageAccounts/blobServices",
            "storageAccounts/blobServices/containers",
            "storageAccounts/fileServices",
            "storageAccounts/queueServices",
            "storageAccounts/tableServices",
        ],
    ),
    of("Microsoft.StreamAnalytics", &["2020-03-01"], &["streamingjobs"], &["operations"]),
    of(
        "Microsoft.Web",
        &[
            "2024-11-01",
            "2024-04-01",
            "2023-12-01",
            "2022-09-01",
            "2022-03-01",
            "2021-02-01",
            "2020-06-01",
            "2018-02-01",
            "2016-08-01",
            "2015-08-01",
        ],
        &["serverfarms", "sites", "sites/slots", "staticSites", "certificates"],
        &["sites/config", "sites/extensions", "sites/hostNameBindings", "sites/sourcecontrols", "operations"],
    ),
];

impl Provider {
    /// The provider of a namespace, in whatever case.
    pub fn named(namespace: &str) -> Option<&'static Self> {
        PROVIDERS.iter().find(|known| known.namespace.eq_ignore_ascii_case(namespace))
    }

    /// Its types, and whether their resources are in a region.
    pub fn types(&self) -> impl Iterator<Item = (&'static str, bool)> + use<> {
        let labs = if self.namespace == super::LAB { super::LAB_TYPES } else { &[] };
        let labs = labs.iter().map(|(name, _)| *name).filter(|name| !self.regional.contains(name));
        let global = self.global.iter().copied().chain(labs).map(|name| (name, false));
        self.regional.iter().map(|name| (*name, true)).chain(global)
    }

    /// The api-versions of one of its types, the latest first.
    pub fn versions_of(&self, kinds: &str) -> Vec<&'static str> {
        match super::lab_versions(kinds) {
            Some((_, versions)) if self.namespace == super::LAB => versions.iter().rev().copied().collect(),
            _ if self.namespace == super::LAB => super::ALL.iter().rev().copied().collect(),
            _ => self.versions.to_vec(),
        }
    }

    /// A type in its own casing.
    pub fn type_named(&self, kinds: &str) -> Option<(&'static str, bool)> {
        self.types().find(|(known, _)| known.eq_ignore_ascii_case(kinds))
    }
}
