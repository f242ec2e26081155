//! The report in a browser: nothing sticks out, on a desk or on a phone.

use std::process::{Command, Stdio};

use super::*;

/// Makes the page tell how wide it is and how wide its window.
const PROBE: &str = "<script>document.title = innerWidth + ' ' + document.documentElement.scrollWidth</script></body>";

/// The narrowest window that Chromium opens without emulating a device, and a desk's.
const WIDTHS: [u32; 2] = [500, 1280];

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let found = names.into_iter().find(|name| {
        Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("skipped: there is no Chromium to look at the report with");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_fits_a_phone_and_a_desk() {
    let Some(chromium) = chromium() else { return };
    let harness = example().await;
    let finished = step(&harness, "run", &example_configuration()).run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let (code, _, log) = dtl(&harness, &["report", "--output", "page.html"]).await;
    assert_eq!(code, Some(0), "{log}");
    let sources = harness.folders().sources;
    let page = fs::read_to_string(sources.join("page.html")).expect("the page");
    let probed = harness.file("probe.html", &page.replace("</body>", PROBE));
    for width in WIDTHS {
        let profile = sources.join(format!("profile-{width}"));
        let output = Command::new(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--window-size={width},900"))
            .arg(format!("file://{probed}"))
            .output()
            .expect("Chromium starts");
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        let title = page.split_once("<title>").and_then(|(_, rest)| Some(rest.split_once("</title>")?.0)).unwrap_or_default();
        let sizes: Vec<u32> = title.split(' ').filter_map(|size| size.parse().ok()).collect();
        let [window, content] = sizes[..] else { panic!("the page does not tell its width: '{title}'\n{page}") };
        assert!(content <= window && window <= width, "{content} in a window of {window} at {width}");
    }
    harness.finish().await;
}
