//! The agent's conversation as a whole, over a scripted host.

use crate::host::{
    FileError,
    scripted::{Handle, ScriptedHost},
};

use super::*;

fn with(variables: &[(&str, &str)]) -> (Arc<Handle>, Agent) {
    let host = ScriptedHost::new();
    for (name, value) in variables {
        host.set_variable(name, value);
    }
    let agent = Agent::new(Arc::clone(&host) as Arc<dyn Host>);
    (host, agent)
}

#[test]
fn inputs_are_found_by_their_declared_names_and_empty_ones_are_absent() {
    let (_host, agent) = with(&[("INPUT_LABID", "lab"), ("INPUT_MY_INPUT_X", "1"), ("INPUT_EMPTY", ""), ("INPUT_BLANK", " \n")]);
    assert_eq!(agent.input("LabId").as_deref(), Some("lab"));
    assert_eq!(agent.input("labid").as_deref(), Some("lab"));
    assert_eq!(agent.input("my input.x").as_deref(), Some("1"));
    for name in ["Empty", "Blank", "Undeclared"] {
        assert_eq!(agent.input(name), None, "{name}");
    }
    assert_eq!(agent.required_input("Empty").unwrap_err().to_string(), "input 'Empty' is required");
}

#[test]
fn only_true_is_true() {
    for (value, expected) in [("true", true), ("TRUE", true), ("True", true), ("1", false), ("yes", false), ("", false), ("false", false)] {
        let (_host, agent) = with(&[("INPUT_FLAG", value)]);
        assert_eq!(agent.boolean_input("Flag"), expected, "{value:?}");
    }
}

#[test]
fn a_number_that_is_none_is_an_error_and_an_empty_one_is_absent() {
    let (_host, agent) = with(&[("INPUT_COUNT", "three"), ("INPUT_OTHER", "")]);
    let error = agent.number_input("Count", 0..=5).unwrap_err().to_string();
    assert_eq!(error, "input 'Count' is 'three': give a whole number from 0 to 5");
    assert_eq!(agent.number_input("Other", 0..=5), Ok(None));
}

#[test]
fn a_file_path_that_was_not_given_arrives_as_the_root_folder() {
    let roots = [
        ("BUILD_SOURCESDIRECTORY", "/agent/1/s"),
        ("SYSTEM_DEFAULTWORKINGDIRECTORY", "/agent/1/w"),
        ("SYSTEM_ARTIFACTSDIRECTORY", "/agent/r1/a"),
        ("AGENT_RELEASEDIRECTORY", r"C:\agent\r1\a"),
    ];
    for given in ["/agent/1/s", "/agent/1/s/", "/agent/1/w", "/agent/r1/a/", r"c:\agent\r1\a\", "C:/agent/r1/a", ""] {
        let (_host, agent) = with(&[roots.as_slice(), &[("INPUT_FILE", given)]].concat());
        assert_eq!(agent.path_input("File"), None, "{given}");
        assert!(agent.file_input("File").unwrap().is_none(), "{given}");
    }
    let (host, agent) = with(&[roots.as_slice(), &[("INPUT_FILE", "/agent/1/s/vm.json")]].concat());
    host.add_file("/agent/1/s/vm.json", "{}");
    let file = agent.file_input("File").unwrap().unwrap();
    assert_eq!((file.path.as_str(), file.contents.as_slice()), ("/agent/1/s/vm.json", b"{}".as_slice()));
}

#[test]
fn a_file_that_cannot_be_read_is_told_why() {
    let (host, agent) = with(&[("INPUT_TEMPLATE", "/s/templates")]);
    let error = agent.file_input("Template").unwrap_err().to_string();
    assert!(error.starts_with("input 'Template' is '/s/templates': no such file; check the path"), "{error}");
    host.add_folder("/s/templates");
    let error = agent.file_input("Template").unwrap_err().to_string();
    assert_eq!(error, "input 'Template' is '/s/templates': this is a folder, not a file; give the path of a file in it");
    assert_eq!(host.read_file("/s/templates"), Err(FileError::IsDirectory));
}

#[test]
fn pipeline_variables_are_found_public_or_secret() {
    let (_host, agent) = with(&[("BUILD_BUILDID", "7"), ("SECRET_MY_PASSWORD", "hidden value"), ("EMPTY", "")]);
    assert_eq!(agent.pipeline_variable("Build.BuildId").as_deref(), Some("7"));
    assert_eq!(agent.pipeline_variable("my.password").as_deref(), Some("hidden value"));
    assert_eq!(agent.pipeline_variable("Empty"), None);
}

#[test]
fn the_log_is_what_the_agent_understands() {
    let (host, agent) = with(&[("COMMAND_CORRELATION_ID", "corr"), ("SECRET_TOKEN", "s3cr3t-value"), ("AGENT_TEMPDIRECTORY", "/tmp")]);
    agent.group("Creating\nVM ##[error]");
    agent.info("first\r\nsecond ##vso[task.complete result=Succeeded;]\u{1b}[31m");
    agent.end_group();
    agent.debug("50% done");
    agent.warning("old; size]");
    agent.error("no\n##vso[x]");
    agent.progress(250, "copying");
    agent.set_output("labVmId", "/a;b]%\n", Sensitivity::Public);
    agent.set_output("password", "topsecret", Sensitivity::Secret);
    agent.set_output("Token", "s3cr3t-value", Sensitivity::Public);
    agent.register_secret("line one\nline two\n}\nline one");
    agent.complete(Outcome::SucceededWithIssues, "done");
    insta::assert_snapshot!(host.printed().join("\n"), @r"
    ##vso[task.setsecret]s3cr3t-value
    ##[group]Creating VM ##_[error]
    first
    second ##_vso[task.complete result=Succeeded;]\u{1b}[31m
    ##[endgroup]
    ##vso[task.debug]50%AZP25 done
    ##vso[task.logissue type=warning;correlationId=corr;]old; size]
    ##vso[task.logissue type=error;correlationId=corr;]no%0A##_vso[x]
    ##vso[task.setprogress value=100;]copying
    ##vso[task.setvariable variable=labVmId;isOutput=false;issecret=false;]/a;b]%AZP25%0A
    ##vso[task.setvariable variable=labVmId;isOutput=true;issecret=false;]/a;b]%AZP25%0A
    ##vso[task.setsecret]topsecret
    ##vso[task.setvariable variable=password;isOutput=false;issecret=true;]topsecret
    ##vso[task.setvariable variable=password;isOutput=true;issecret=true;]topsecret
    ##vso[task.setvariable variable=Token;isOutput=false;issecret=true;]s3cr3t-value
    ##vso[task.setvariable variable=Token;isOutput=true;issecret=true;]s3cr3t-value
    ##vso[task.setsecret]line one
    ##vso[task.setsecret]line two
    ##vso[task.complete result=SucceededWithIssues;]done
    ");
    assert!(host.printed().iter().all(|line| !line.contains(['\r', '\n'])), "each line is one write");
}

#[test]
fn a_secret_output_of_several_lines_is_left_out_unless_the_agent_takes_it() {
    let (host, agent) = with(&[]);
    agent.set_output("key", "BEGIN KEY\nabcdef", Sensitivity::Secret);
    assert_eq!(host.printed().len(), 3, "{:?}", host.printed());
    assert!(host.printed()[2].contains("type=warning;]variable 'key' is not set"));
    assert!(!host.printed().iter().any(|line| line.contains("task.setvariable")));
    let (host, agent) = with(&[("SYSTEM_UNSAFEALLOWMULTILINESECRET", "TRUE")]);
    agent.set_output("key", "BEGIN KEY\nabcdef", Sensitivity::Secret);
    assert!(host.printed()[3].ends_with("issecret=true;]BEGIN KEY%0Aabcdef"), "{:?}", host.printed());
}

#[test]
fn a_summary_is_a_file_in_the_temporary_folder() {
    let (host, agent) = with(&[("AGENT_TEMPDIRECTORY", "/agent/_temp")]);
    let summary = Summary { title: "Done".into(), ..Summary::default() };
    agent.upload_summary(&summary);
    let (path, contents) = host.files().into_iter().next().unwrap();
    assert!(path.starts_with("/agent/_temp/dtl-summary-"), "{path}");
    assert_eq!(contents, b"### Done\n");
    assert_eq!(host.printed(), [format!("##vso[task.uploadsummary]{path}")]);
}

#[test]
fn a_summary_that_cannot_be_written_costs_a_debug_line() {
    let (host, agent) = with(&[]);
    agent.upload_summary(&Summary::default());
    assert_eq!(host.printed(), ["##vso[task.debug]no summary: Agent.TempDirectory is not set"]);
    let (host, agent) = with(&[("AGENT_TEMPDIRECTORY", "/agent/_temp")]);
    host.forbid_writing();
    agent.upload_summary(&Summary::default());
    assert_eq!(host.printed().len(), 1);
    assert!(host.printed()[0].starts_with("##vso[task.debug]no summary: failed to write /agent/_temp/dtl-summary-"));
    assert!(host.printed()[0].ends_with("access is denied"));
}
