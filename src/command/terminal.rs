//! How text is laid out and coloured, and whether it may be: data goes to standard output, progress to standard error.

use std::io::IsTerminal;
use tenantry::inspect::steps::Progress;
use tenantry::inspect::{State, Step};

/// What standard output can show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Whether there are colours: on a terminal, unless `NO_COLOR` is set, or wherever `CLICOLOR_FORCE` is. See [no-color.org](https://no-color.org).
    pub colours: bool,
}

impl Style {
    /// That of standard output.
    pub fn of_output() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let forced = is_set("CLICOLOR_FORCE");
        Self { colours: forced || (std::io::stdout().is_terminal() && !is_set("NO_COLOR")) }
    }

    fn paint(self, colour: u8, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn bold(self, text: &str) -> String {
        self.paint(1, text)
    }

    pub fn dim(self, text: &str) -> String {
        self.paint(2, text)
    }

    /// What would be there.
    pub fn added(self, text: &str) -> String {
        self.paint(32, text)
    }

    /// What would be gone, or is in the way.
    pub fn removed(self, text: &str) -> String {
        self.paint(31, text)
    }

    /// The sign and colour of what a tenant is at.
    pub fn state(self, state: State, text: &str) -> String {
        let (sign, colour) = match state {
            State::Ready => ('✓', 32),
            State::Working | State::Deleting => ('◐', 36),
            State::Suspended => ('○', 2),
            State::Stalled => ('✗', 31),
        };
        self.paint(colour, &format!("{sign} {text}"))
    }

    /// A step, in a line.
    pub fn step(self, step: &Step) -> String {
        let (sign, colour) = match step.progress {
            Progress::Done => ('✓', 32),
            Progress::Doing => ('◐', 36),
            Progress::Failed => ('✗', 31),
            Progress::Waiting => ('·', 2),
            Progress::Resting => ('○', 2),
        };
        format!("{} {}", self.paint(colour, &format!("{sign} {:<10}", step.name)), step.sentence).trim_end().to_owned()
    }
}

/// Rows under each other, each column as wide as its widest cell; what colours a cell counts for nothing.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The text as far as so many columns have room for it. One that is longer would take two lines of a terminal, and what is drawn over it one.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut cut, mut hidden, mut seen) = (String::new(), false, 0);
    for character in text.chars() {
        let begins = character == '\x1b';
        if !hidden && !begins {
            seen += 1;
        }
        if seen == columns {
            break;
        }
        hidden = begins || (hidden && character != 'm');
        cut.push(character);
    }
    let end = if cut.contains('\x1b') { "\x1b[0m" } else { "" };
    format!("{cut}…{end}")
}

/// The characters that are seen.
fn width(text: &str) -> usize {
    let mut hidden = false;
    text.chars()
        .filter(|character| {
            let begins = *character == '\x1b';
            let shown = !hidden && !begins;
            hidden = begins || (hidden && *character != 'm');
            shown
        })
        .count()
}

/// How long ago, as kubectl writes it: `40s`, `5m`, `3h`, `12d`.
pub fn age(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// So many bytes, in the unit in which there are fewest digits, as kubectl writes sizes.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..units.len() - 1).find(|unit| bytes >> (10 * (unit + 1)) == 0).unwrap_or(units.len() - 1);
    format!("{} {}", bytes >> (10 * unit), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_dont_move_columns() {
        let style = Style { colours: true };
        let rows = [vec![style.state(State::Ready, "ready"), "a".to_owned()], vec!["STATE".to_owned(), "b".to_owned()]];
        let text = table(&rows);
        let plain: Vec<_> = text.lines().map(|line| line.replace("\x1b[32m", "").replace("\x1b[0m", "")).collect();
        assert_eq!(plain, ["✓ ready   a", "STATE     b"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_whatever_its_colours() {
        assert_eq!((cut("abc", 3).as_str(), cut("abcd", 3).as_str()), ("abc", "ab…"));
        let coloured = Style { colours: true }.state(State::Ready, "ready for long");
        assert_eq!(cut(&coloured, 7), "\x1b[32m✓ read…\x1b[0m");
        assert_eq!(width(&cut(&coloured, 7)), 7);
    }

    #[test]
    fn an_age_has_one_unit() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let ago = |seconds: i64| age(now - jiff::SignedDuration::from_secs(seconds), now);
        assert_eq!([ago(0), ago(119), ago(120), ago(7200), ago(172_800)], ["0s", "119s", "2m", "2h", "2d"]);
        assert_eq!(ago(-5), "0s", "a clock that runs fast");
    }

    #[test]
    fn a_size_has_the_unit_in_which_it_is_short() {
        assert_eq!([0, 1023, 1024, 3 << 20, 5 << 40, 5 << 50].map(bytes), ["0 B", "1023 B", "1 KiB", "3 MiB", "5 TiB", "5120 TiB"]);
    }
}
