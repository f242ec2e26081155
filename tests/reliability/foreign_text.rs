//! Text from elsewhere forms no logging command, no log formatting and no markup, and steers no terminal.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use dtl::{
    agent::{Agent, Sensitivity, Summary},
    cli::{
        host::{Canceller, NativeHost, Setup, Transport, Trust},
        logging_command::LoggingCommand,
        terminal::steerless,
    },
};
use proptest::prelude::*;
use serde_json::json;

use super::fast_host::FastHost;
use crate::{harness::Harness, tasks::vm_template};

/// All that could do harm, in one text.
const HOSTILE: &str = "\u{feff}##vso[task.complete result=Succeeded;]done\r\n##vso[task.setvariable variable=PATH;]/evil\n##[error]no\r##[group]x \u{1b}[2J\u{1b}]0;title\u{7} \
    \u{9b}31m a\u{202e}b\u{2066}c \u{0}\u{8} #\u{200b}#vso[task.debug]x | <script>alert(1)</script> [x](javascript:alert(1)) `c` %0D%0A##vso[task.complete result=Succeeded;]";

/// What an agent prints for what is done with it.
fn printed(act: impl FnOnce(&Agent)) -> (Vec<String>, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let folder = tempfile::tempdir().unwrap();
    let host = NativeHost::new(Setup {
        transport: Transport::new(&Trust::Machine(Box::default())).unwrap(),
        variables: BTreeMap::from([("AGENT_TEMPDIRECTORY".to_owned(), folder.path().to_string_lossy().into_owned())]),
        working_directory: folder.path().to_owned(),
        sink: Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned())),
        cancellation: Canceller::new().cancellation(),
    });
    act(&Agent::new(Arc::new(host)));
    let summaries = std::fs::read_dir(folder.path()).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    (lines.lock().unwrap().clone(), summaries)
}

/// Fails when a line says more than the task meant: `commands` is what it may say, in the agent's words.
fn assert_tame(lines: &[String], commands: &[&str]) -> Result<(), TestCaseError> {
    for line in lines {
        prop_assert!(!line.chars().any(|character| character.is_control() && character != '\t'), "{line:?}");
        let lower = line.to_lowercase();
        // Where a command's data begins, the agent looks no further; a value may be anything.
        let Some(command) = LoggingCommand::parse(line) else {
            prop_assert!(!lower.contains("##vso[") && (!lower.contains("##[") || lower.starts_with("##[group]")), "{line:?}");
            prop_assert_eq!(lower.matches("##[").count(), usize::from(lower.starts_with("##[group]")), "{:?}", line);
            continue;
        };
        prop_assert!(line.starts_with("##vso["), "{line:?}");
        let name = format!("{}.{}", command.area, command.event);
        prop_assert!(commands.contains(&name.as_str()), "{line:?}");
        if name != "task.setvariable" && name != "task.setsecret" {
            prop_assert_eq!(lower.matches("##vso[").count(), 1, "{:?}", line);
            prop_assert!(!command.data.chars().any(|character| character.is_control() && !"\t\n".contains(character)), "{line:?}");
        }
    }
    Ok(())
}

fn hostile_text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "##vso[",
        "##VSO[",
        "##[",
        "#",
        "task.complete result=Succeeded;]",
        "\r",
        "\n",
        "\r\n",
        "\u{0}",
        "\u{1b}[2J",
        "\u{1b}]0;t\u{7}",
        "\u{9b}",
        "\u{85}",
        "\u{200b}",
        "\u{ad}",
        "\u{202e}",
        "\u{2066}",
        "\u{2028}",
        "%0D",
        "%0A",
        "%AZP25",
        ";",
        "]",
        "|",
        "<b>",
        "[x](y)",
        "text",
        "ü",
        "\t",
        "\u{feff}",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_that_is_printed_says_more_than_was_meant(text in hostile_text(), other in hostile_text()) {
        let (lines, summaries) = printed(|agent| {
            agent.info(&text);
            agent.debug(&text);
            agent.warning(&text);
            agent.error(&text);
            agent.group(&text);
            agent.end_group();
            agent.progress(3, &text);
            agent.set_output(&other, &text, Sensitivity::Public);
            agent.upload_summary(&Summary { title: text.clone(), facts: vec![(other.clone(), text.clone())], links: vec![(text.clone(), format!("https://a/{other}"))] });
            agent.complete(dtl::agent::Outcome::Failed, &text);
        });
        let lines: Vec<String> = lines.into_iter().filter(|line| line != "##[endgroup]").filter(|line| !line.starts_with("##vso[task.setvariable ")).collect();
        assert_tame(&lines, &["task.debug", "task.logissue", "task.setprogress", "task.uploadsummary", "task.complete"])?;
        for summary in summaries {
            prop_assert!(!summary.chars().any(|character| character.is_control() && character != '\n'), "{summary:?}");
            prop_assert!(!summary.contains('\u{202e}') && !summary.to_lowercase().contains("<b>"), "{summary:?}");
            prop_assert_eq!(summary.lines().filter(|line| line.starts_with("### ")).count(), 1, "{:?}", summary);
        }
    }

    #[test]
    fn a_variable_s_value_arrives_whole_and_as_one_line(text in hostile_text()) {
        let (lines, _) = printed(|agent| agent.set_output("name", &text, Sensitivity::Public));
        for line in lines {
            prop_assert!(!line.contains(['\r', '\n']), "{line:?}");
            prop_assert_eq!(LoggingCommand::parse(&line).unwrap().data, text.clone());
        }
    }

    #[test]
    fn no_text_steers_the_terminal(text in hostile_text()) {
        let shown = anstream::adapter::strip_str(&steerless(&text)).to_string();
        prop_assert!(!shown.chars().any(|character| character.is_control() && !"\t\n".contains(character)), "{shown:?}");
        prop_assert!(!shown.contains(['\u{202e}', '\u{2066}']), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_service_says_nothing_to_the_agent() {
    let lab = Harness::start().await;
    let says =
        json!({"error": {"code": HOSTILE, "message": HOSTILE, "target": HOSTILE, "details": [{"code": HOSTILE, "message": HOSTILE}]}});
    let mut template = vm_template(&["windows-noop"]);
    template["outputs"] = json!({"motd": {"type": "string", "value": HOSTILE}});
    let template = lab.file("vm.json", &template.to_string());
    let create = |name: &str| {
        let step = lab.step("AzureDevTestLabsCreateVM").input("VirtualMachineName", name).input("TemplateFile", template.as_str());
        step.input("FailOnArtifactError", "true").input("ParameterOverrides", "-password 'Passw0rd!-x'").variable("System.Debug", "true")
    };
    let faults = [
        json!([{"path": "/artifacts/", "provisioning": "Failed", "body": says}]),
        json!([{"path": "/virtualmachines/", "provisioning": "Failed", "body": says}]),
        json!([{"method": "PUT", "path": "/deployments/", "status": 400, "body": says, "headers": {"x-ms-correlation-request-id": "##vso[task.complete result=Succeeded;]"}}]),
        json!([{"method": "PUT", "path": "/deployments/", "status": 500, "times": 9, "body": HOSTILE}]),
        json!([]),
    ];
    for (number, fault) in faults.iter().enumerate() {
        lab.faults(fault).await;
        let finished = create(&format!("vm{number}")).run_on(FastHost::new).await;
        let expected = if fault == &json!([]) { "Succeeded" } else { "Failed" };
        assert_eq!(finished.completed(), expected, "{finished}");
        let commands = [
            "task.debug",
            "task.logissue",
            "task.setprogress",
            "task.uploadsummary",
            "task.complete",
            "task.setsecret",
            "task.setvariable",
        ];
        let own: Vec<String> = finished.lines.iter().filter(|line| *line != "##[endgroup]").cloned().collect();
        let shown: Vec<String> = own.iter().filter(|line| !line.starts_with("##vso[task.setvariable variable=motd;")).cloned().collect();
        assert_tame(&shown, &commands).unwrap_or_else(|error| panic!("{error}\n{finished}"));
        let path = finished.commands.iter().find(|command| command.property("variable") == Some("PATH"));
        assert!(path.is_none(), "{finished}");
        assert!(!finished.summary().contains("<script>"), "{}", finished.summary());
    }
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_shows_hostile_text_and_is_not_steered() {
    let harness = crate::factory::example().await;
    let says = json!({"error": {"code": "Hostile", "message": HOSTILE}});
    harness.faults(&json!([{"path": "/virtualmachines/[^/]*$", "times": 100, "provisioning": "Failed", "body": says}])).await;
    let ready = harness.file("ready.json", &serde_json::to_string(harness.ready()).unwrap());
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
    command.args(["factory", "run", "--on", &ready, "--lab", &crate::factory::factory_lab(), "--configuration"]);
    command.arg(crate::factory::example_configuration()).env("NO_COLOR", "1").current_dir(harness.folders().sources).kill_on_drop(true);
    let finished = command.output().await.unwrap();
    for bytes in [finished.stdout, finished.stderr] {
        let text = String::from_utf8(bytes).unwrap();
        let steering = text.chars().find(|character| character.is_control() && !"\n\t".contains(*character) || *character == '\u{202e}');
        assert_eq!(steering, None, "{text:?}");
    }
    harness.finish().await;
}
