//! What a person sees: the log of a run, a live line at its end in a terminal, and plain text in a pipe.
//!
//! Colours and the live line are for terminals; `NO_COLOR` and `TERM=dumb` are respected by the stream below.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    host::{Cancellation, Canceller},
    terminal::steerless,
};

const BOLD: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const BLUE: Style = AnsiColor::Cyan.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Heading,
    /// Of little weight.
    Faint,
    /// A command or a section.
    Section,
    /// All is well.
    Good,
    /// Not quite.
    Warning,
    /// Not at all.
    Error,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Heading => BOLD,
            Self::Faint => FAINT,
            Self::Section => BLUE,
            Self::Good => GREEN,
            Self::Warning => YELLOW,
            Self::Error => RED,
        }
    }
}

/// Text in a tone; the stream takes the colours out where there is no terminal.
pub fn toned(text: &str, tone: Tone) -> String {
    let style = tone.style();
    if style == Style::new() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

/// Where a run is shown.
pub struct Console {
    state: Mutex<State>,
    live: bool,
}

struct State {
    writer: Box<dyn Write + Send>,
    bar: Option<ProgressBar>,
    indent: usize,
    gone: Canceller,
}

impl Console {
    /// Standard output.
    pub fn standard() -> Self {
        let live = io::stdout().is_terminal();
        Self {
            state: Mutex::new(State {
                writer: Box::new(anstream::AutoStream::auto(io::stdout())),
                bar: None,
                indent: 0,
                gone: Canceller::new(),
            }),
            live,
        }
    }

    /// Plain text into a writer.
    pub fn plain(writer: impl Write + Send + 'static) -> Self {
        Self { state: Mutex::new(State { writer: Box::new(Stripped(writer)), bar: None, indent: 0, gone: Canceller::new() }), live: false }
    }

    /// Says that nobody reads any more.
    pub fn reader_is_gone(&self) -> Cancellation {
        self.with(|state| state.gone.cancellation())
    }

    /// Writes text in a tone, each of its lines indented.
    pub fn line(&self, text: &str, tone: Tone) {
        self.with(|state| state.write(text, tone));
    }

    /// Writes an empty line.
    pub fn blank(&self) {
        self.with(|state| state.write_raw("\n"));
    }

    /// Indents what follows.
    pub fn indent(&self) {
        self.with(|state| state.indent += 2);
    }

    /// Takes one indentation back.
    pub fn dedent(&self) {
        self.with(|state| state.indent = state.indent.saturating_sub(2));
    }

    /// How far lines are indented now.
    pub fn indentation(&self) -> usize {
        self.with(|state| state.indent)
    }

    /// Sets the indentation, such as when a step ended inside a group.
    pub fn set_indentation(&self, indent: usize) {
        self.with(|state| state.indent = indent);
    }

    /// Shows a live line with the time that goes by, in a terminal alone.
    pub fn start_live(&self, title: &str) {
        if !self.live {
            return;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4.dim} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_message(steerless(title).replace('\n', " "));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.with(|state| state.bar = Some(bar));
    }

    /// Changes the live line.
    pub fn live(&self, text: &str) {
        self.with(|state| {
            if let Some(bar) = &state.bar {
                bar.set_message(steerless(text).replace('\n', " "));
            }
        });
    }

    /// Takes the live line away.
    pub fn stop_live(&self) {
        self.with(|state| {
            if let Some(bar) = state.bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn write(&mut self, text: &str, tone: Tone) {
        let mut block = String::new();
        for line in steerless(text).split('\n') {
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                block.push('\n');
            } else {
                let _ = writeln!(block, "{:indent$}{}", "", toned(line, tone), indent = self.indent);
            }
        }
        self.write_raw(&block);
    }

    /// When the reader has gone away (`dtl run … | head`), the run is asked to stop, and what is still said goes to standard error.
    fn write_raw(&mut self, text: &str) {
        let Self { writer, bar, gone, .. } = self;
        let mut write = || {
            if gone.is_cancelled() {
                let _ = io::stderr().write_all(anstream::adapter::strip_str(text).to_string().as_bytes());
            } else if writer.write_all(text.as_bytes()).and_then(|()| writer.flush()).is_err() {
                gone.cancel();
            }
        };
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Takes colours out on the way.
struct Stripped<W>(W);

impl<W: Write> Write for Stripped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(&anstream::adapter::strip_bytes(bytes).into_vec())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A duration as people say it: `0.4 s`, `12.3 s`, `3 min 05 s`.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round();
    format!("{:.0} min {:02.0} s", (whole / 60.0).floor(), whole % 60.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_output_is_indented_and_has_no_colours() {
        let buffer = Buffer::default();
        let console = Console::plain(buffer.clone());
        console.line("head", Tone::Heading);
        console.indent();
        console.line("a\r\nb\n\nc", Tone::Error);
        console.dedent();
        console.line("\u{1b}[31mred\u{1b}[0m end", Tone::Plain);
        assert_eq!(String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap(), "head\n  a\n  b\n\n  c\nred end\n");
    }

    #[test]
    fn durations_are_spoken() {
        for (milliseconds, spoken_as) in
            [(0, "0.0 s"), (1_449, "1.4 s"), (59_960, "1 min 00 s"), (185_000, "3 min 05 s"), (7_200_000, "120 min 00 s")]
        {
            assert_eq!(spoken(Duration::from_millis(milliseconds)), spoken_as);
        }
    }
}
