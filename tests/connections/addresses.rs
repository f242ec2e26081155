//! Names with several addresses, natively; `networks` shows the same under Node.

use std::{net::SocketAddr, sync::Arc};

use dtl::cli::{
    host::{Transport, Trust},
    network::Patience,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::json;

use super::lab;

/// Every name resolves first to an IPv6 address that leads nowhere, and then to this machine's IPv4.
struct BrokenIpv6;

impl Resolve for BrokenIpv6 {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses = ["[100::1]:0", "127.0.0.1:0"].map(|address| address.parse::<SocketAddr>().expect("an address"));
        Box::pin(std::future::ready(Ok(Box::new(addresses.into_iter()) as Addrs)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_that_leads_nowhere_keeps_no_native_task_from_ipv4() {
    let harness = lab(json!([])).await;
    let exported = super::step(&harness, &[]).await.exported();
    let named: Vec<_> = exported
        .into_iter()
        .filter(|(_, value)| value.contains("127.0.0.1"))
        .map(|(name, value)| (name, value.replace("127.0.0.1", "localhost")))
        .collect();
    let trust = Trust::Only { authority: harness.ready().ca_file.clone().into() };
    let transport = Transport::built(&trust, Patience::default(), |builder| builder.dns_resolver(Arc::new(BrokenIpv6)));
    let finished = super::step(&harness, &named).await.run_over(transport.expect("a transport")).await;
    assert_eq!(finished.completed(), "Succeeded", "{finished}");
    harness.finish().await;
}
