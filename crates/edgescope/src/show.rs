//! Numbers and tables for the terminal.

use std::io::{self, Write};

/// Writes what a command prints.
///
/// # Errors
/// If it cannot be written; a reader that has left (`edgescope edges | head`) is an error that `main` does not speak of.
pub fn out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Bytes with a binary unit.
pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// Seconds with the unit that suits.
pub fn seconds(value: f64) -> String {
    match value {
        v if v < 1e-3 => format!("{:.0} µs", v * 1e6),
        v if v < 1.0 => format!("{:.1} ms", v * 1e3),
        v => format!("{v:.1} s"),
    }
}

/// A share as a percentage.
pub fn percent(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 { format!("{:.2} %", value * 100.0) } else { format!("{:.1} %", value * 100.0) }
}

/// A value of the catalogue in its unit; absent is a dash.
pub fn measure(name: &str, value: Option<f64>) -> String {
    use edgescope_model::signal::{Measure, Unit};
    let Some(value) = value else { return "–".to_owned() };
    match Measure::parse(name).map(|m| m.unit()) {
        Ok(Unit::Bytes) => bytes(value),
        Ok(Unit::Seconds) => seconds(value),
        Ok(Unit::Ratio) => percent(value),
        Ok(Unit::SocketSeconds) if name.ends_with(".rate") => format!("{value:.1}"),
        Ok(Unit::SocketSeconds) => format!("{value:.0} s"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value.abs() >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} {}", units[0]) } else { format!("{value:.1} {}", units[unit]) }
}

/// A table: the first `text_columns` flush left, the rest flush right.
pub fn table(heads: &[String], rows: &[Vec<String>], text_columns: usize) -> String {
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).chain([heads[column].chars().count()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut out = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let gap = if column == 0 { "" } else { "  " };
            out += &if column < text_columns { format!("{gap}{cell}{pad}") } else { format!("{gap}{pad}{cell}") };
        }
        out.trim_end().to_owned() + "\n"
    };
    std::iter::once(line(heads)).chain(rows.iter().map(|row| line(row))).collect()
}

/// Names come from elsewhere: control characters could drive the reader's terminal.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_readers() {
        assert_eq!(bytes(250_880.0), "245.0 KiB");
        assert_eq!(seconds(0.000_532), "532 µs");
        assert_eq!(seconds(0.0021), "2.1 ms");
        assert_eq!(percent(0.031), "3.1 %");
        assert_eq!(percent(0.0004), "0.04 %");
        assert_eq!(safe("a\u{1b}[2J"), "a\u{fffd}[2J");
    }
}
