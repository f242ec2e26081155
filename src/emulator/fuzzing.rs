//! The emulator without its server, for the fuzzer: a request in, an answer out.

#![allow(clippy::missing_panics_doc, reason = "a panic is what a fuzzer looks for")]

use std::{cell::RefCell, sync::Arc};

use super::{
    http::Request,
    identity::{CLIENT, Identity, Provider, endpoints},
    router,
    seed::Seed,
    settings::Settings,
    world::World,
};

/// So many requests one world serves; what they made would otherwise pile up.
const LIFE: u32 = 5000;

struct Cloud {
    runtime: tokio::runtime::Runtime,
    world: Arc<World>,
    token: String,
    served: u32,
}

impl Cloud {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (world, token) = runtime.block_on(async {
            let base = "https://127.0.0.1:1/";
            let identity = Identity::new(base, Provider::default(), Vec::new(), None).expect("an identity");
            let world = Arc::new(World::new(base.into(), identity, Settings::new(60_000.0), 3, None));
            Seed::read(None).and_then(|mut seed| seed.plant(&world)).expect("the built-in seed");
            let token = world.identity.issue(CLIENT, "https://management.azure.com/", world.clock.now(), 86_400).expect("a token");
            (world, token)
        });
        Self { runtime, world, token, served: 0 }
    }
}

thread_local! {
    static CLOUD: RefCell<Option<Cloud>> = const { RefCell::new(None) };
}

/// Serves a request: the first line holds method, path and query, the rest is the body. No answer may be a fault of the emulator's own.
pub fn fuzz(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let line = String::from_utf8_lossy(&data[..end]).into_owned();
    let (method, target) = line.split_once(' ').unwrap_or((&line, "/"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    CLOUD.with_borrow_mut(|cloud| {
        let cloud = match cloud {
            Some(cloud) if cloud.served < LIFE => cloud,
            other => other.insert(Cloud::new()),
        };
        cloud.served += 1;
        let request = Request {
            method: method.to_ascii_uppercase(),
            path: super::http::decode(path),
            query: query.to_owned(),
            headers: vec![("authorization".into(), format!("Bearer {}", cloud.token))],
            body: data.get(end + 1..).unwrap_or_default().to_vec(),
        };
        let world = Arc::clone(&cloud.world);
        cloud.runtime.block_on(async {
            let reply = endpoints::serve(&world, &request).unwrap_or_else(|| router::serve(&world, &request));
            assert!(reply.status != 500, "{line}");
            tokio::task::yield_now().await;
        });
    });
}
