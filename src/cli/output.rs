//! Where answers go: text for people, or the API's JSON as it is.

use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clickhouse_backupd::clock::Clock;
use jiff::tz::TimeZone;
use terminal_size::Width;

use super::problem::Problem;
use super::text::{self, Look, RED};

/// Characters of a line that tables are made for where the terminal is narrower, or does not tell.
const TERMINAL_MIN_CHARS: usize = 80;

/// How a command tells what it found.
#[derive(Debug)]
pub struct Output {
    /// Whether the API's JSON is wanted.
    pub json: bool,
    /// Whether somebody watches standard error.
    pub is_watched: bool,
    /// Whether somebody can be asked.
    pub can_ask: bool,
    is_terminal: bool,
}

/// Prints to standard output; who has closed it wants no more, and that is no error.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Asks whoever sits there, and gives what was typed.
///
/// # Errors
/// When the terminal is gone.
pub fn ask(question: &str) -> std::io::Result<String> {
    let mut err = anstream::stderr();
    write!(err, "{question}")?;
    err.flush()?;
    let mut said = String::new();
    std::io::stdin().lock().read_line(&mut said)?;
    Ok(said.trim().to_owned())
}

/// Characters of a line on a terminal that tables may fill.
fn line_chars(width: Option<Width>) -> usize {
    let width = width.map_or(TERMINAL_MIN_CHARS, |Width(chars)| usize::from(chars));
    width.max(TERMINAL_MIN_CHARS)
}

impl Output {
    /// For the terminal or pipe of this process.
    pub fn of_process(json: bool) -> Self {
        let is_watched = std::io::stderr().is_terminal();
        Self {
            json,
            is_watched,
            can_ask: is_watched && std::io::stdin().is_terminal(),
            is_terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Now, in the zone of this machine.
    pub fn look(&self) -> Look {
        Look {
            now: Clock::System.now(),
            zone: TimeZone::system(),
            width: self.is_terminal.then(|| {
                let size = terminal_size::terminal_size_of(std::io::stdout());
                line_chars(size.map(|(width, _)| width))
            }),
        }
    }

    /// Prints an answer: its JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn answer(&self, json: &str, text: impl FnOnce() -> String) -> Result<(), Problem> {
        if self.json {
            self.json(json)
        } else {
            Ok(print(&text())?)
        }
    }

    /// Prints a JSON text, with line ends for people.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn json(&self, json: &str) -> Result<(), Problem> {
        let text = if self.is_terminal {
            indented(json)
        } else {
            json.trim_end().to_owned()
        };
        Ok(print(&(text + "\n"))?)
    }

    /// Says something beside the answer, on standard error.
    pub fn aside(&self, text: &str) {
        let mut err = anstream::stderr();
        // Nobody is left to be told that this failed.
        let _ = writeln!(err, "{text}");
    }

    /// Tells a problem, and gives the exit code of it.
    pub fn problem(&self, problem: &Problem) -> ExitCode {
        let code = ExitCode::from(problem.exit_code());
        if self.json
            && let Some(json) = problem.json()
        {
            let _ = self.json(&json);
            return code;
        }
        match problem {
            Problem::Interrupted { message, .. } => self.aside(message),
            problem => {
                let message = text::clean(&problem.to_string());
                self.aside(&format!("{RED}error:{RED:#} {message}"));
                let hint = problem.hint();
                if !hint.is_empty() {
                    self.aside(&format!("  hint: {}", text::clean(&hint)));
                }
            }
        }
        code
    }
}

/// The same JSON with a line for each value. Texts, numbers and their order stay as they came.
fn indented(json: &str) -> String {
    let (mut out, mut depth) = (String::with_capacity(json.len() * 2), 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if in_text {
            out.push(c);
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_terminal_is_used_and_a_narrow_one_wraps() {
        assert_eq!(line_chars(Some(Width(132))), 132);
        assert_eq!(line_chars(Some(Width(40))), 80);
        assert_eq!(line_chars(None), 80);
    }

    #[test]
    fn json_is_indented_and_nothing_else() {
        let json = r#"{"z":1.50,"a":[],"text":"a, \"b\": {c} \\","list":[ {"x":null},2],"o":{ }}"#;
        let pretty = indented(json);
        insta::assert_snapshot!(pretty, @r#"
        {
          "z": 1.50,
          "a": [],
          "text": "a, \"b\": {c} \\",
          "list": [
            {
              "x": null
            },
            2
          ],
          "o": {}
        }
        "#);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&pretty), value(json));
    }
}
