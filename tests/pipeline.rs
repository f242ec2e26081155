//! dtl run and dtl task.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{Harness, project};

/// A folder to run `dtl` in, and an emulator to run it on.
struct Bench {
    harness: Harness,
    folder: TempDir,
}

/// What a run has printed, and its exit code.
struct Run {
    code: Option<i32>,
    log: String,
    complaints: String,
}

impl Bench {
    async fn new() -> Self {
        let harness = Harness::start().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ready.json"), serde_json::to_string(harness.ready()).unwrap()).unwrap();
        Self { harness, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtl"));
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn dtl(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().await.unwrap())
    }

    /// Runs a pipeline whose text is given.
    async fn run(&self, pipeline: &str, arguments: &[&str]) -> Run {
        std::fs::write(self.folder.path().join("pipeline.yml"), pipeline).unwrap();
        self.dtl(&[&["run", "pipeline.yml", "--on", "ready.json"], arguments].concat()).await
    }

    async fn finish(self) {
        self.harness.finish().await;
    }
}

impl Run {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
        Self { code: output.status.code(), log: text(output.stdout), complaints: text(output.stderr) }
    }

    /// The log with what differs between runs left out: what an emulator makes up, times, and lines that depend on when someone looked.
    fn redacted(&self) -> String {
        let depends_on_time = regex::Regex::new(r", usually about |^ +Artifact '.*': ").unwrap();
        let lines: Vec<_> = self.log.lines().filter(|line| !depends_on_time.is_match(line)).collect();
        let mut log = lines.join("\n");
        log = log.replace(&*project("").to_string_lossy(), "[project]/");
        for (pattern, replacement) in [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[guid]"),
            (r"-\d{14}-[0-9a-f]{6}-", "-[run]-"),
            (r"(contoso-[a-z]+-1)-\d{6}", "$1-[digits]"),
            (r"(shop-|data)[a-z0-9]{13}\b", "$1[unique]"),
            (r"\b10\.\d+\.\d+\.\d+", "[address]"),
            (r"less than 1 s|\d+ min \d\d s|\d+\.\d s\b|\b\d+ s\b", "[time]"),
            (r"(?m)^(  ✓ .*?) +\[time\]$", "$1  [time]"),
        ] {
            log = regex::Regex::new(pattern).unwrap().replace_all(&log, replacement).into_owned();
        }
        log
    }
}

/// The lines between a step's heading and the empty line after it.
fn step<'a>(log: &'a str, title: &str) -> Vec<&'a str> {
    let mut lines = log.lines().skip_while(|line| !line.ends_with(&format!(" {title}")));
    assert!(lines.next().is_some(), "no step '{title}' in\n{log}");
    lines.take_while(|line| !line.is_empty()).map(str::trim_start).filter(|line| !line.starts_with(['✓', '!', '✗'])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_and_variables_flow_from_step_to_step() {
    let bench = Bench::new().await;
    let pipeline = r###"
variables:
  who: world
  greeting: hello $(who)
steps:
- script: |
    echo "##vso[task.setvariable variable=plain]one"
    echo "##vso[task.setvariable variable=out;isOutput=true]two"
  name: first
- script: echo "$(greeting) $(plain) $(first.out) "'$(unknown)'; echo "$GREETING $FIRST_OUT"
  displayName: Show $(who)
- bash: echo "$MAPPED in $(basename "$PWD")"
  displayName: Mapped
  env:
    MAPPED: $(first.out)!
  workingDirectory: $(System.DefaultWorkingDirectory)/sub
"###;
    std::fs::create_dir(bench.folder.path().join("sub")).unwrap();
    let run = bench.run(pipeline, &["--var", "who=you"]).await;
    assert_eq!(run.code, Some(0), "{}{}", run.log, run.complaints);
    assert_eq!(step(&run.log, "Show you"), ["hello you one two $(unknown)", "hello you two"]);
    assert_eq!(step(&run.log, "Mapped"), ["two! in sub"]);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_follow_the_job_and_later_successes_do_not_mend_it() {
    let bench = Bench::new().await;
    let pipeline = r"
steps:
- {script: echo ran, displayName: before}
- {script: exit 4, displayName: breaks}
- {script: echo ran, displayName: plain}
- {script: echo ran, displayName: on failure, condition: failed()}
- {script: echo ran, displayName: always, condition: always()}
- {script: echo ran, displayName: either, condition: succeededOrFailed()}
- {script: echo ran, displayName: never, condition: 'and(always(), eq(variables[''x''], ''y''))'}
- {script: echo ran, displayName: disabled, enabled: false}
";
    let run = bench.run(pipeline, &[]).await;
    assert_eq!(run.code, Some(1), "{}", run.log);
    for (title, lines) in [
        ("before", "ran"),
        ("breaks", "error: bash exited with code 4"),
        ("plain", "skipped: its condition does not hold"),
        ("on failure", "ran"),
        ("always", "ran"),
        ("either", "ran"),
        ("never", "skipped: its condition does not hold"),
        ("disabled", "skipped: it is disabled"),
    ] {
        assert_eq!(step(&run.log, title), [lines], "{title}");
    }
    assert!(run.log.lines().last().unwrap().starts_with("✗ the run failed"), "{}", run.log);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_fail_may_be_tried_again_and_may_run_out_of_time() {
    let bench = Bench::new().await;
    let pipeline = r"
steps:
- script: exit 1
  displayName: tolerated
  continueOnError: true
- script: if [ -f tried ]; then echo now; else touch tried; exit 1; fi
  displayName: second time lucky
  retryCountOnTaskFailure: 2
- script: trap 'echo interrupted; exit 1' INT; while true; do sleep 0.05; done
  displayName: slow
  timeoutInMinutes: 0.005
";
    let run = bench.run(pipeline, &[]).await;
    assert_eq!(run.code, Some(1), "{}", run.log);
    assert!(run.log.contains("! succeeded with issues"), "{}", run.log);
    assert_eq!(step(&run.log, "second time lucky"), ["error: bash exited with code 1", "failed; retry 1 of 2 in 1.0 s", "now"]);
    assert_eq!(step(&run.log, "slow"), ["interrupted", "error: the step did not end within 0.3 s and was stopped"]);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_in_everything_shown() {
    let bench = Bench::new().await;
    let pipeline = r###"
steps:
- script: |
    echo "given: $(password)"
    echo "not in the environment: ${PASSWORD:-nothing}"
    echo "##vso[task.setvariable variable=made;issecret=true;isOutput=true]sesame"
    echo "to standard error: sesame" >&2
    echo "##vso[task.logissue type=warning]careful with sesame"
  name: s
  displayName: Use $(password)
- script: echo "later $(s.made)"; echo "$(System.AccessToken)"
  displayName: later
"###;
    let run = bench.run(pipeline, &["--secret", "password=hunter2"]).await;
    assert_eq!(run.code, Some(0), "{}", run.log);
    for secret in ["hunter2", "sesame", &bench.harness.ready().system_access_token] {
        assert!(!run.log.contains(secret) && !run.complaints.contains(secret), "{}", run.log);
    }
    assert!(run.log.contains("1/2 Use ***"), "{}", run.log);
    assert!(run.log.contains("not in the environment: nothing"), "{}", run.log);
    assert_eq!(step(&run.log, "later"), ["later ***", "***"]);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_scripts_are_obeyed_and_not_shown() {
    let bench = Bench::new().await;
    let pipeline = r###"
steps:
- script: |
    echo "##[group]Details"
    echo inside
    echo "##[endgroup]"
    echo "##vso[task.setprogress value=50;]half"
    echo "##vso[task.debug]hidden"
    echo "##vso[task.logissue type=warning;]careful"
    echo "# Done" > "$AGENT_TEMPDIRECTORY/summary.md"
    echo "##vso[task.uploadsummary]$AGENT_TEMPDIRECTORY/summary.md"
    echo "##vso[task.complete result=SucceededWithIssues;]"
  displayName: talks
- script: echo $AGENT_JOBSTATUS
  displayName: status
"###;
    let run = bench.run(pipeline, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.log);
    assert_eq!(step(&run.log, "talks"), ["Details", "inside", "warning: careful"]);
    assert_eq!(step(&run.log, "status"), ["SucceededWithIssues"]);
    assert!(run.log.contains("  Done\n"), "{}", run.log);
    let debugging = bench.run(pipeline, &["--var", "system.debug=true"]).await;
    assert!(debugging.log.contains("debug: hidden"), "{}", debugging.log);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_in_order_and_wait_for_what_they_depend_on() {
    let bench = Bench::new().await;
    let pipeline = r#"
jobs:
- job: broken
  variables: {mine: 1}
  steps: [{script: 'exit 1', displayName: fails}]
- job: independent
  steps: [{script: "echo '$(mine)'", displayName: alone}]
- job: dependent
  dependsOn: broken
  steps: [{script: echo no, displayName: waits}]
- job: cleaner
  dependsOn: [broken]
  condition: always()
  steps: [{script: echo yes, displayName: cleans}]
"#;
    let run = bench.run(pipeline, &[]).await;
    assert_eq!(run.code, Some(1), "{}", run.log);
    assert_eq!(step(&run.log, "alone"), ["$(mine)"], "variables of one job are not another's");
    assert_eq!(step(&run.log, "cleans"), ["yes"]);
    assert!(!run.log.contains("waits"), "{}", run.log);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_refused_with_its_lines_before_anything_runs() {
    let bench = Bench::new().await;
    let run = bench
        .run("steps:\n- script: echo never\n- template: x.yml\n- task: AzureDevTestLabsDeleteVM@4\n  condition: suceeded()\n", &[])
        .await;
    assert_eq!(run.code, Some(2));
    assert_eq!(run.log, "");
    insta::assert_snapshot!(run.complaints);
    std::fs::write(bench.folder.path().join("pipeline.yml"), "steps: []\n").unwrap();
    for (arguments, complaint) in [
        (&["run", "missing.yml"][..], "failed to read the pipeline missing.yml"),
        (&["run", "pipeline.yml", "--on", "nowhere.json"], "failed to read 'nowhere.json'"),
        (&["run", "pipeline.yml", "--var", "novalue"], "write name=value"),
        (&["run"], "Usage: dtl run"),
        (&["run", "pipeline.yml", "--speed", "0"], "a number above 0 is allowed"),
        (&["run", "pipeline.yml", "--on", "ready.json", "--seed", "seed.json"], "--seed is for an emulator that this command starts"),
        (&["task", "NoSuchTask"], "there is no task 'NoSuchTask'; `dtl task list` lists the tasks"),
        (&["task", "DeleteVM", "--on", "ready.json"], "AzureDevTestLabsDeleteVM needs the input LabVmId, which is not given"),
    ] {
        let run = bench.dtl(arguments).await;
        assert_eq!(run.code, Some(2), "{arguments:?} {}", run.complaints);
        assert!(run.complaints.contains(complaint), "{arguments:?}\n{}", run.complaints);
    }
    bench.finish().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_cancels_the_run_and_lets_clean_up_steps_run() {
    let bench = Bench::new().await;
    let pipeline = r"
steps:
- script: |
    trap 'echo stopping; exit 1' INT
    touch started
    while true; do sleep 0.05; done
  displayName: long
- {script: echo no, displayName: next}
- {script: echo yes, displayName: clean up, condition: always()}
";
    std::fs::write(bench.folder.path().join("pipeline.yml"), pipeline).unwrap();
    let mut command = bench.command(&["run", "pipeline.yml", "--on", "ready.json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&bench.folder.path().join("started")).await;
    interrupt(child.id().unwrap()).await;
    let run = Run::of(child.wait_with_output().await.unwrap());
    assert_eq!(run.code, Some(1), "{}", run.log);
    assert_eq!(step(&run.log, "long"), ["stopping"]);
    assert_eq!(step(&run.log, "next"), ["skipped: the run was canceled"]);
    assert_eq!(step(&run.log, "clean up"), ["yes"]);
    assert!(run.log.lines().last().unwrap().starts_with("✗ the run was canceled"), "{}", run.log);
    bench.finish().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_cancels_a_task_at_work_which_names_what_remains() {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
    let bench = Bench::new().await;
    let mut command = bench.command(&["run", "examples/golden-image.yml", "--speed", "1"]);
    let mut child = command.current_dir(project("")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut log = String::new();
    // The deployment is announced before it is asked for: only what Azure has accepted remains.
    while !log.contains(": Running (") {
        assert_ne!(output.read_line(&mut log).await.unwrap(), 0, "{log}");
    }
    interrupt(child.id().unwrap()).await;
    tokio::time::timeout(Duration::from_mins(1), output.read_to_string(&mut log)).await.unwrap().unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(1), "{log}");
    assert!(log.contains("✗ canceled in"), "{log}");
    assert!(log.contains("warning: ") && log.contains("remains in Azure"), "{log}");
    assert!(log.lines().last().unwrap().starts_with("✗ the run was canceled"), "{log}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_inputs_are_taken_from_the_current_folder() {
    let bench = Bench::new().await;
    let arguments =
        ["task", "CreateVM", "--input", "VirtualMachineName=vm1", "--input", "TemplateFile=templates/vm.json", "--on", "ready.json"];
    let run = bench.dtl(&arguments).await;
    assert_eq!(run.code, Some(1), "{}{}", run.log, run.complaints);
    let path = bench.folder.path().canonicalize().unwrap().join("templates").join("vm.json");
    assert!(run.log.contains(&*path.to_string_lossy()), "{}", run.log);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_packages_are_told_before_anything_runs() {
    let bench = Bench::new().await;
    let run = bench.run("steps:\n- script: echo never\n", &["--engine", "node", "--packages", "nowhere"]).await;
    assert_eq!((run.code, run.log.as_str()), (Some(1), ""));
    assert!(run.complaints.contains("cargo xtask package"), "{}", run.complaints);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_runs_by_its_short_name_and_prints_its_outputs() {
    let bench = Bench::new().await;
    let run = bench.dtl(&["task", "DeleteVM", "--input", "LabVmId=nobody", "--on", "ready.json"]).await;
    assert_eq!(run.code, Some(0), "{}{}", run.log, run.complaints);
    assert!(run.log.contains("! succeeded with issues"), "{}", run.log);
    let run = bench.dtl(&["task", "DeleteVM", "--input", "LabVmId=/not/an/id", "--on", "ready.json"]).await;
    assert_eq!(run.code, Some(1), "{}{}", run.log, run.complaints);
    assert!(run.log.contains("LabVmId"), "{}", run.log);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_signs_in_by_federation_too() {
    let bench = Bench::new().await;
    let run = bench.dtl(&["task", "DeleteVM", "--input", "LabVmId=nobody", "--on", "ready.json", "--sign-in", "federation"]).await;
    assert_eq!(run.code, Some(0), "{}{}", run.log, run.complaints);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_image_example_tells_the_whole_story() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtl"));
    command
        .args(["run", "examples/golden-image.yml", "--speed", "1000"])
        .current_dir(project(""))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let run = Run::of(command.output().await.unwrap());
    assert_eq!(run.code, Some(0), "{}{}", run.log, run.complaints);
    assert_eq!(run.complaints, "");
    insta::assert_snapshot!(run.redacted());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_prints_one_line_serves_and_ends_well_when_interrupted() {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtl"));
    command.args(["emulator", "--speed", "1000", "--ca-file", "ca.pem"]).current_dir(folder.path()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).await.unwrap();
    std::fs::write(folder.path().join("ready.json"), &line).unwrap();
    let target = dtl::cli::target::Target::running_emulator(&folder.path().join("ready.json")).unwrap();
    let transport = dtl::cli::host::Transport::new(&target.trust(|_| None).unwrap()).unwrap();
    let token = crate::harness::token(&target, &transport).await;
    let url = format!("{}nowhere?api-version=2018-09-15", target.resource_manager);
    assert_eq!(transport.client().get(url).bearer_auth(token).send().await.unwrap().status(), 404);
    interrupt(child.id().unwrap()).await;
    let status = tokio::time::timeout(Duration::from_mins(1), child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    let (mut rest, mut complaints) = (String::new(), String::new());
    output.read_to_string(&mut rest).await.unwrap();
    child.stderr.take().unwrap().read_to_string(&mut complaints).await.unwrap();
    assert_eq!(rest, "", "one line alone on standard output");
    assert!(complaints.contains("/nowhere"), "{complaints}");
}

#[cfg(unix)]
async fn wait_for(path: &Path) {
    for _ in 0..1200 {
        if path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} does not come", path.display());
}

/// Sends SIGINT, by the program that every Unix has.
#[cfg(unix)]
async fn interrupt(process: u32) {
    let status = Command::new("kill").args(["-INT", &process.to_string()]).status().await.unwrap();
    assert!(status.success());
}
