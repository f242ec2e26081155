//! Microsoft's compute SDK for Python reads what the tasks made, and the tasks accept what it made.

#![allow(clippy::print_stderr, reason = "a test that skips says so")]

use std::{fs, path::PathBuf, process::Stdio};

use tokio::{io::AsyncWriteExt as _, process::Command};

use super::*;

/// The Python of an environment that has the SDK; made once under `target`. `None` where that cannot be.
async fn python() -> Option<PathBuf> {
    let folder = project("target/judges/gallery");
    let program = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let requirements = project("tests/judges/gallery/requirements.txt");
    let mark = folder.join("installed.txt");
    let wanted = fs::read_to_string(&requirements).expect("the requirements");
    if fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        return Some(program);
    }
    let name = if cfg!(windows) { "python" } else { "python3" };
    let succeeds = async |command: &mut Command| command.stdin(Stdio::null()).output().await.is_ok_and(|output| output.status.success());
    let flags = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    if succeeds(Command::new(name).args(["-m", "venv"]).arg(&folder)).await
        && succeeds(Command::new(&program).args(flags).arg(&requirements)).await
    {
        fs::write(&mark, wanted).expect("a mark");
        return Some(program);
    }
    eprintln!("skipped: no Python 3 with venv on the PATH, or the packages of {} cannot be had", requirements.display());
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_reads_what_the_tasks_made_and_the_other_way_round() {
    let Some(python) = python().await else { return };
    let harness = start().await;
    succeeded(define(&harness, "judged").input("SecurityType", "TrustedLaunchSupported").run().await);
    let machine = compute("virtualMachines/vm-generalized");
    let published = publish(&harness, "judged", &machine)
        .input("TargetRegions", "westeurope eastus=2=standard_zrs")
        .input("ExcludedRegions", "eastus")
        .input("Tags", "team=build");
    let published = succeeded(published.run().await);
    let number = published.output("imageVersion");

    let definition_body = json!({"location": "westeurope", "properties": {"osType": "Windows", "osState": "Generalized", "hyperVGeneration": "V2",
        "architecture": "x64", "features": [], "identifier": {"publisher": "contoso", "offer": "server", "sku": "theirs"}}});
    let version_body = json!({"location": "westeurope", "properties": {
        "storageProfile": {"source": {"id": compute("images/image")}},
        "publishingProfile": {"targetRegions": [{"name": "westeurope", "regionalReplicaCount": 1}], "excludeFromLatest": true}}});
    let task = json!({"ready": harness.ready(), "group": RESOURCE_GROUP, "gallery": "golden",
        "read": {"definition": "judged", "version": number},
        "make": {"definition": "theirs", "definitionBody": definition_body, "version": "3.1.4", "versionBody": version_body}});
    let mut command = Command::new(python);
    command.arg(project("tests/judges/gallery/judge.py")).env("REQUESTS_CA_BUNDLE", &harness.ready().ca_file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("Python starts");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(task.to_string().as_bytes()).await.expect("the task is written");
    drop(input);
    let output = child.wait_with_output().await.expect("Python ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["tags"]["team"], "build");
    shown["tags"] = Value::Null;
    let expected = json!({
        "osType": "Windows", "osState": "Generalized", "generation": "V2", "sku": "judged",
        "features": {"SecurityType": "TrustedLaunchSupported"}, "versions": [number], "state": "Succeeded", "replication": "Completed",
        "regions": {"West Europe": [1, "Standard_LRS", false], "East US": [2, "Standard_ZRS", true]},
        "excluded": false, "source": machine, "tags": null,
    });
    assert_eq!(shown, expected);

    // The tasks take over what the SDK made: the definition as it is, the version for promotion, and the next number.
    succeeded(define(&harness, "theirs").run().await);
    let promoted =
        on_versions(&harness, "theirs").input("Mode", "promote").input("Version", "3.1.4").input("TargetRegions", "westeurope eastus");
    succeeded(promoted.run().await);
    let next = succeeded(publish(&harness, "theirs", &machine).input("Version", "auto:minor").run().await);
    assert_eq!(next.output("imageVersion"), "3.2.0");
    harness.finish().await;
}
