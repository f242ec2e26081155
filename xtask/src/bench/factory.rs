//! What the image factory makes of many golden images and labs, on an emulator that throttles as Azure does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Figure, emulator::Emulator, measure, measure::Program, median};
use crate::{npm, shell};

/// A night's work of a large organisation.
const IMAGES: u32 = 30;
const LABS: u32 = 20;
const CAP: u32 = 20;

/// Simulated durations are divided by this: a copy takes 8 s. Requests and the waits between polls take their real time, so that the faster
/// the clock, the more they count.
const SPEED: f64 = 30.0;

/// Seconds of simulated work: what `durations` sets them to.
const VIRTUAL_MACHINE: f64 = 180.0;
const ARTIFACT: f64 = 30.0;
const STOP: f64 = 45.0;
const CUSTOM_IMAGE: f64 = 240.0;
const DELETION: f64 = 60.0;
/// The template's own artifact, and the one that deprovisions.
const ARTIFACTS: f64 = 2.0;

const SUBSCRIPTIONS: u32 = 4;
const SUBSCRIPTION: &str = "00000000-0000-4000-8000-00000000000";

const PLAN_ROUNDS: usize = 3;

/// A whole run, natively and as the packaged task, each on an emulator of its own.
pub fn run() -> Result<Vec<Figure>> {
    let (native, task) = std::thread::scope(|scope| {
        let task = scope.spawn(|| distribution("task", task));
        let native = distribution("native", |emulator, folder| native(emulator, folder, CAP));
        (native, task.join().expect("measuring does not panic"))
    });
    let (mut figures, task) = (native?, task?);
    figures.extend(task);
    figures.extend(plan()?);
    Ok(figures)
}

/// One whole run against the ideal schedule: all the work, with never fewer operations under way than the cap allows.
fn distribution(host: &str, run: fn(&Emulator, &Path) -> Result<f64>) -> Result<Vec<Figure>> {
    let folder = configuration(&format!("factory-{host}"), IMAGES, LABS)?;
    let emulator = Emulator::serve(&format!("factory-{host}"), &seed(LABS), SPEED)?;
    let durations =
        json!({"virtualMachine": VIRTUAL_MACHINE, "artifact": ARTIFACT, "stop": STOP, "customImage": CUSTOM_IMAGE, "deletion": DELETION});
    emulator.control("POST", "settings", Some(&json!({"throttling": true, "durations": durations})))?;
    let started = Instant::now();
    let memory = run(&emulator, &folder)?;
    let took = started.elapsed().as_secs_f64();
    let images = f64::from(IMAGES);
    let each = VIRTUAL_MACHINE + ARTIFACTS * ARTIFACT + STOP + CUSTOM_IMAGE + DELETION;
    let copies = images * f64::from(LABS);
    let ideal = (images * each + copies * CUSTOM_IMAGE) / f64::from(CAP) / SPEED;
    let requests = emulator.control("GET", "requests", None)?;
    let requests = requests.as_array().context("the emulator lists no requests")?;
    let throttled = requests.iter().filter(|request| request["status"] == 429).count();
    let (all, throttled) = (count(requests.len()), count(throttled));
    let name = |what: &str| format!("factory, {IMAGES} images to {LABS} labs, {host}: {what}");
    Ok(vec![
        Figure::new(name("time against the ideal schedule"), "", took / ideal, Some(1.1)),
        Figure::new(name("requests per copy"), "", all / copies, None),
        Figure::new(name("requests throttled"), "%", 100.0 * throttled / all, Some(1.0)),
        Figure::new(name("peak memory"), "MiB", memory, Some(64.0)),
    ])
}

/// Runs the whole factory natively, with so much under way at once: its peak memory in MiB.
pub fn native(emulator: &Emulator, configuration: &Path, cap: u32) -> Result<f64> {
    let mut command = dtl("run", emulator, configuration)?;
    command.args(["--run-id", "bench", "--max-concurrent", &cap.to_string()]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("failed to start dtl")?;
    let watch = std::thread::spawn({
        let process = child.id();
        move || peak_memory(process)
    });
    let output = Child::wait_with_output(child)?;
    ensure!(output.status.success(), "dtl factory run failed:\n{}", shell::text(&output));
    Ok(watch.join().expect("watching does not panic"))
}

fn task(emulator: &Emulator, configuration: &Path) -> Result<f64> {
    let node = npm::node(20).unwrap_or_else(|| "node".into());
    let script = shell::root().join("dist/tasks/AzureDevTestLabsImageFactory/index.js");
    let mut environment = measure::environment(emulator, "");
    let cap = CAP.to_string();
    let folder = configuration.display().to_string();
    let inputs = [("LABID", lab(0)), ("COMMAND", "run".into()), ("CONFIGURATIONLOCATION", folder), ("MAXCONCURRENT", cap)];
    environment.extend(inputs.map(|(name, value)| (format!("INPUT_{name}"), value)));
    Program::new(&node, &script).peak_memory(&environment)
}

/// How long a plan takes, and how that grows with what there is to plan.
fn plan() -> Result<Vec<Figure>> {
    const LARGE: (u32, u32) = (1000, 100);
    const QUARTER: (u32, u32) = (500, 50);
    let time = |(images, labs): (u32, u32)| -> Result<Duration> {
        let name = format!("plan-{images}");
        let folder = configuration(&name, images, labs)?;
        let emulator = Emulator::serve(&name, &seed(labs), SPEED)?;
        let mut times = Vec::new();
        for _ in 0..PLAN_ROUNDS {
            let mut command = dtl("plan", &emulator, &folder)?;
            let started = Instant::now();
            let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
            times.push(started.elapsed());
            ensure!(output.status.success(), "dtl factory plan failed:\n{}", shell::text(&output));
        }
        Ok(median(times))
    };
    let (large, quarter) = (time(LARGE)?.as_secs_f64(), time(QUARTER)?.as_secs_f64());
    Ok(vec![
        Figure::new(format!("factory, plan of {} images for {} labs", LARGE.0, LARGE.1), "s", large, Some(2.0)),
        Figure::new("its growth from a quarter of that on, 1 is linear", "", large / quarter / 4.0, Some(1.2)),
    ])
}

/// `dtl factory` with a configuration folder on an emulator.
pub fn dtl(command: &str, emulator: &Emulator, configuration: &Path) -> Result<Command> {
    let ready = configuration.join("../ready.json");
    fs::write(&ready, emulator.ready.to_string()).context("failed to write the ready line")?;
    let mut dtl = Command::new(shell::dtl());
    dtl.args(["factory", command, "--lab", &lab(0), "--configuration"]).arg(configuration).arg("--on").arg(ready);
    Ok(dtl)
}

/// The id of a lab; 0 is the factory's own.
fn lab(number: u32) -> String {
    let subscription = number % SUBSCRIPTIONS;
    format!("/subscriptions/{SUBSCRIPTION}{subscription}/resourceGroups/bench/providers/Microsoft.DevTestLab/labs/lab{number}")
}

/// The factory's lab and the receiving ones, over several subscriptions.
pub fn seed(labs: u32) -> Value {
    let artifacts = shell::root().join("examples/image-factory/artifacts");
    let lab = |number: u32| {
        let sources = (number == 0).then(|| json!({"name": "public repo", "artifacts": artifacts}));
        json!({"name": format!("lab{number}"), "virtualNetworks": ["network"], "artifactSources": sources.into_iter().collect::<Vec<_>>()})
    };
    let subscription = |subscription: u32| {
        let labs: Vec<_> = (0..=labs).filter(|number| number % SUBSCRIPTIONS == subscription).map(lab).collect();
        let group = json!({"name": "bench", "location": "westeurope", "labs": labs});
        json!({"subscriptionId": format!("{SUBSCRIPTION}{subscription}"), "resourceGroups": [group]})
    };
    json!({"subscriptions": (0..SUBSCRIPTIONS).map(subscription).collect::<Vec<_>>()})
}

/// A configuration folder in which every lab lists every golden image.
pub fn configuration(name: &str, images: u32, labs: u32) -> Result<PathBuf> {
    let folder = super::folder()?.join(name).join("Configuration");
    let golden = folder.join("GoldenImages/Linux");
    fs::create_dir_all(&golden)?;
    let labs: Vec<_> = (1..=labs)
        .map(|number| {
            let subscription = format!("{SUBSCRIPTION}{}", number % SUBSCRIPTIONS);
            json!({"SubscriptionId": subscription, "LabName": format!("lab{number}"), "ImagePaths": ["Linux"]})
        })
        .collect();
    fs::write(folder.join("Labs.json"), json!({"Labs": labs}).to_string())?;
    let template = golden_image().to_string();
    for number in 0..images {
        fs::write(golden.join(format!("image{number}.json")), &template)?;
    }
    Ok(folder)
}

fn golden_image() -> Value {
    let parameters = ["newVMName", "labName", "size", "userName"].map(|name| (name.to_owned(), json!({"type": "string"})));
    let mut parameters: serde_json::Map<_, _> = parameters.into_iter().collect();
    parameters.insert("password".into(), json!({"type": "securestring"}));
    let source =
        "[resourceId('Microsoft.DevTestLab/labs/artifactsources/artifacts', parameters('labName'), 'public repo', 'linux-apt-package')]";
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": parameters,
        "resources": [{
            "type": "Microsoft.DevTestLab/labs/virtualmachines",
            "apiVersion": "2018-09-15",
            "name": "[format('{0}/{1}', parameters('labName'), parameters('newVMName'))]",
            "location": "[resourceGroup().location]",
            "properties": {
                "labVirtualNetworkId": "[resourceId('Microsoft.DevTestLab/labs/virtualnetworks', parameters('labName'), 'network')]",
                "labSubnetName": "networkSubnet",
                "galleryImageReference": {
                    "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "osType": "Linux", "version": "latest",
                },
                "size": "[parameters('size')]",
                "userName": "[parameters('userName')]",
                "password": "[parameters('password')]",
                "artifacts": [{"artifactId": source, "parameters": [{"name": "packages", "value": "git"}]}],
            },
        }],
    })
}

/// The most memory that a process has held while it lived, in MiB; 0 where the operating system does not tell.
fn peak_memory(process: u32) -> f64 {
    let mut peak = 0.0;
    while let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) {
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
        // A process that has ended and is not yet waited for has no memory any more.
        let Some(kibibytes) = kibibytes else { break };
        peak = kibibytes / 1024.0;
        std::thread::sleep(Duration::from_millis(100));
    }
    peak
}

/// A count as a figure.
#[allow(clippy::cast_precision_loss, reason = "no run sends 2^52 requests")]
pub fn count(items: usize) -> f64 {
    items as f64
}
