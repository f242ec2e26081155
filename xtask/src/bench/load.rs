//! What the emulator takes to hold many resources and to serve many requests, beside the least that does the same work in Node.
//!
//! A request's cost is the time of a core that the server took for it, not the time until the answer came: that holds on a busy machine too.
//! 500 µs are 2,000 requests a second on one core.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Figure, emulator::Emulator, lateness::middle, median, plot::Plot};
use crate::shell;

/// The numbers of resources held, each four times the one before.
const RESOURCES: [u32; 4] = [1_563, 6_250, 25_000, 100_000];

/// Requests of a turn, resources listed in one, and turns.
const REQUESTS: u32 = 8_000;
const LISTED: u32 = RESOURCES[3];
const TURNS: usize = 5;

const STARTS: usize = 11;

/// Linux counts the time of processes in hundredths of a second.
const TICK: f64 = 1e4;

const PEER: &str = "a map behind node:https, without tokens, rules, operations, faults and journal";

/// What a server takes.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// For a request, in microseconds of a core.
    request: f64,
    /// For a resource of a list, in microseconds of a core.
    listed: f64,
    /// In memory when it is ready, in bytes.
    memory: f64,
}

/// Start-up, the costs at the largest number of resources, and how they grow; nothing where the system does not tell what a process takes.
pub fn measure() -> Result<(Vec<Figure>, Option<Plot>)> {
    if !Path::new("/proc/self/stat").exists() {
        println!("skipped: what the emulator takes is read from /proc");
        return Ok((Vec::new(), None));
    }
    let certificate = certificate()?;
    let mut figures = vec![start(&certificate)?];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for resources in RESOURCES {
        let [our, their] = costs(resources, &certificate)?;
        ours.push(our);
        theirs.push(their);
    }
    let [our, their] = [&ours, &theirs].map(|costs| costs[3]);
    let held = |what: &str| format!("emulator, {} resources held: {what}", RESOURCES[3]);
    figures.push(Figure::new(held("a core's time for a request"), "µs", our.request, Some(500.0)).against_another(PEER, their.request));
    figures.push(Figure::new(held("a core's time for a resource of a list"), "µs", our.listed, None).against_another(PEER, their.listed));
    let [our, their] = [&ours, &theirs].map(|costs| memory(costs));
    figures.push(Figure::new(held("memory for a resource"), "bytes", our[2], None).against_another(PEER, their[2]));
    let mut plot = Plot::new("load", "What the emulator takes, against the fewest resources", "resources held", "1 is the same");
    let sizes = RESOURCES.map(f64::from);
    let growth: [(&str, Vec<f64>, &[f64]); 3] = [
        ("time for a request", ours.iter().map(|cost| cost.request).collect(), &sizes),
        ("time for a resource of a list", ours.iter().map(|cost| cost.listed).collect(), &sizes),
        ("memory for a further resource", our, &sizes[1..]),
    ];
    for (name, values, sizes) in growth {
        let against: Vec<f64> = values.iter().map(|value| value / values[0]).collect();
        let figure = format!("emulator, growth of the {name} up to 64 times the resources");
        figures.push(Figure::new(figure, "", against[against.len() - 1], Some(1.2)));
        plot.line(name, sizes.iter().copied().zip(against));
    }
    Ok((figures, Some(plot)))
}

/// Bytes for each further resource, between each two numbers of them: what a server takes at all falls out.
fn memory(costs: &[Cost]) -> Vec<f64> {
    let further = |(costs, resources): (&[Cost], &[u32])| (costs[1].memory - costs[0].memory) / f64::from(resources[1] - resources[0]);
    costs.windows(2).zip(RESOURCES.windows(2)).map(further).collect()
}

/// The time from the start until the line that says that it is ready, with one lab.
fn start(certificate: &[PathBuf; 2]) -> Result<Figure> {
    let file = seed(0)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        ours.push(emulator(&file)?.took);
        theirs.push(peer(certificate, &file)?.took);
    }
    let [ours, theirs] = [ours, theirs].map(|times| median(times).as_secs_f64() * 1e3);
    Ok(Figure::new("emulator, start until it is ready", "ms", ours, Some(100.0)).against_another(PEER, theirs))
}

/// What the emulator and its peer take with so many machines, turn by turn.
fn costs(resources: u32, certificate: &[PathBuf; 2]) -> Result<[Cost; 2]> {
    let file = seed(resources)?;
    let servers = [emulator(&file)?, peer(certificate, &file)?];
    let memory = [held(&servers[0])?, held(&servers[1])?];
    let mut requests = [const { Vec::new() }; 2];
    let mut lists = [const { Vec::new() }; 2];
    let list = format!("{}/virtualmachines?api-version=2018-09-15", Emulator::lab());
    let rounds = LISTED / resources;
    for _ in 0..TURNS {
        for (index, server) in servers.iter().enumerate() {
            let (took, said) = load(server, ["requests", &REQUESTS.to_string(), &resources.to_string()])?;
            requests[index].push(took / number(&said, "requests")?);
            let (took, said) = load(server, ["lists", &rounds.to_string(), &list])?;
            ensure!(said["items"] == rounds * resources, "{rounds} lists of {resources} resources held {}", said["items"]);
            lists[index].push(took / f64::from(rounds * resources));
        }
    }
    let cost = |index: usize| Cost {
        request: middle(requests[index].iter().copied()),
        listed: middle(lists[index].iter().copied()),
        memory: memory[index],
    };
    Ok([cost(0), cost(1)])
}

/// Puts load on a server: the microseconds of a core that it took for that, and what the load says.
fn load(server: &Emulator, arguments: [&str; 3]) -> Result<(f64, Value)> {
    let mut node = Command::new("node");
    node.arg(shell::root().join("xtask/bench/load.js")).arg(server.ready.to_string()).args(arguments);
    let before = time(server)?;
    let output = shell::capture(&mut node)?;
    let took = time(server)? - before;
    Ok((took, serde_json::from_slice(&output.stdout).context("the load says nothing")?))
}

fn number(said: &Value, name: &str) -> Result<f64> {
    said[name].as_f64().with_context(|| format!("the load tells no {name}: {said}"))
}

/// The time of all cores that a server has taken so far, in microseconds.
fn time(server: &Emulator) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.process()))?;
    // The name of the program, in brackets, may hold anything; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11).take(2)).context("no fields")?;
    let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks * TICK)
}

/// The bytes of memory that a server holds.
fn held(server: &Emulator) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|line| line.split_whitespace().next());
    Ok(line.context("no VmRSS")?.parse::<f64>()? * 1024.0)
}

fn emulator(seed: &Path) -> Result<Emulator> {
    let mut command = Command::new(shell::dtl());
    command.arg("emulator").arg("--seed").arg(seed);
    Emulator::spawn(command)
}

fn peer([key, certificate]: &[PathBuf; 2], seed: &Path) -> Result<Emulator> {
    let mut command = Command::new("node");
    command.arg("--expose-gc").arg(shell::root().join("xtask/bench/peer.js")).arg(key).arg(certificate).arg(seed);
    Emulator::spawn(command)
}

/// A key and a certificate for the peer.
fn certificate() -> Result<[PathBuf; 2]> {
    let [key, certificate] = ["peer.key", "peer.pem"].map(|name| shell::target().join("bench").join(name));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=peer",
    ]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    shell::capture(&mut openssl).context("the peer needs a certificate of openssl's")?;
    Ok([key, certificate])
}

/// A seed with a lab and so many machines in it, as DevTest Labs shows them.
fn seed(resources: u32) -> Result<PathBuf> {
    let lab = Emulator::lab();
    let compute = lab.replace("Microsoft.DevTestLab/labs/lab", "Microsoft.Compute/virtualMachines");
    let machine = |number: u32| {
        json!({
            "id": format!("{lab}/virtualmachines/machine{number}"),
            "name": format!("machine{number}"),
            "type": "Microsoft.DevTestLab/labs/virtualMachines",
            "location": "westeurope",
            "tags": { "team": format!("team{}", number % 7) },
            "properties": {
                "ownerObjectId": "33333333-3333-4333-8333-333333333333",
                "createdDate": "2026-01-02T03:04:05.678Z",
                "computeId": format!("{compute}/machine{number}"),
                "galleryImageReference": {
                    "offer": "ubuntu-24_04-lts", "publisher": "Canonical", "sku": "server", "osType": "Linux", "version": "latest",
                },
                "osType": "Linux",
                "size": "Standard_B2s",
                "userName": "agent",
                "isAuthenticationWithSshKey": false,
                "labSubnetName": "networkSubnet",
                "labVirtualNetworkId": format!("{lab}/virtualnetworks/network"),
                "disallowPublicIpAddress": true,
                "allowClaim": false,
                "storageType": "Standard",
                "lastKnownPowerState": "Running",
                "provisioningState": "Succeeded",
            },
        })
    };
    let group = json!({
        "name": "bench", "location": "westeurope",
        "labs": [{ "name": "lab", "virtualNetworks": ["network"] }],
        "resources": (0..resources).map(machine).collect::<Vec<_>>(),
    });
    let seed = json!({ "subscriptions": [{ "subscriptionId": Emulator::subscription(), "resourceGroups": [group] }] });
    let file = super::folder()?.join(format!("load-{resources}.json"));
    fs::write(&file, seed.to_string()).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file)
}
