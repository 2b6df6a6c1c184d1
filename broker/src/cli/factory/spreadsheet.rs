//! Traces that spreadsheets leave in lists.
//!
//! A spreadsheet takes a serial for a number, a date or a formula, and saves
//! what it made of it. Where that can be seen the line is rejected with what to
//! do, as the serial that was there is gone. The other way round, a cell that a
//! spreadsheet would run as a formula is exported behind an apostrophe, which
//! the reader of lists takes away again.

use std::borrow::Cow;

/// What stands before a cell so that a spreadsheet takes it for text.
const TEXT: char = '\'';
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A cell as it is exported: one that a spreadsheet would run has an apostrophe
/// before it, and so has one that would be read back as such.
pub(in crate::cli) fn harmless(cell: &str) -> Cow<'_, str> {
    match runs(cell.trim_start_matches(TEXT)) {
        true => Cow::Owned(format!("{TEXT}{cell}")),
        false => Cow::Borrowed(cell),
    }
}

/// The cell that [`harmless`] was given.
pub(super) fn original(cell: &str) -> &str {
    match cell.strip_prefix(TEXT) {
        Some(rest) if runs(rest.trim_start_matches(TEXT)) => rest,
        _ => cell,
    }
}

/// Whether a spreadsheet runs a cell that begins so. Some do so for the wide
/// forms of East Asia, too.
fn runs(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'])
}

/// What a spreadsheet did to a cell that held a serial or a number, and what
/// to do.
pub(super) fn damage(cell: &str) -> Option<&'static str> {
    let first = cell.chars().next()?;
    match first {
        '=' => Some(
            "a spreadsheet's formula stands here: save the list with the serial itself, in a \
             column of text",
        ),
        TEXT => Some(
            "a spreadsheet's mark for text, an apostrophe, stands before it: save the list \
             without",
        ),
        '#' => Some(
            "a spreadsheet shows here that it has no room or no value: widen the column, or mend \
             the formula, and save the list again",
        ),
        _ if is_rounded(cell) => Some(
            "a spreadsheet has made a rounded number of it, and its last digits are gone: take \
             the list from where it came, with that column as text",
        ),
        _ if is_date(cell) => Some(
            "a spreadsheet has made a date of it: take the list from where it came, with that \
             column as text",
        ),
        _ if is_decimal(cell) => Some(
            "a program has made a decimal number of it: take the list from where it came, with \
             that column as text",
        ),
        _ => None,
    }
}

/// `1.23457E+11`, with a comma in half of the world.
fn is_rounded(cell: &str) -> bool {
    let Some((number, exponent)) = cell.split_once(['E', 'e']) else {
        return false;
    };
    let number = number.strip_prefix('-').unwrap_or(number);
    let (whole, part) = number.split_once(['.', ',']).unwrap_or((number, "0"));
    let exponent = exponent.strip_prefix(['+', '-']);
    whole.len() == 1
        && is_digits(whole)
        && is_digits(part)
        && exponent.is_some_and(|digits| (2..=3).contains(&digits.len()) && is_digits(digits))
}

/// `12345.0`, as libraries for tables write a number that was in a column with
/// empty cells.
fn is_decimal(cell: &str) -> bool {
    let parts = cell.split_once('.');
    parts.is_some_and(|(whole, part)| {
        is_digits(whole) && is_digits(part) && part.bytes().all(|digit| digit == b'0')
    })
}

/// `02-Mar`, `Mar-02`, `2026-03-02`, `3/2/2026`, `02.03.2026`, alone or with
/// the time of day.
fn is_date(cell: &str) -> bool {
    // Most serials are none: the rest is for those that begin like one.
    let begins = |name: &&str| cell.starts_with(*name);
    if !cell.starts_with(|first: char| first.is_ascii_digit()) && !MONTHS.iter().any(begins) {
        return false;
    }
    let day = cell.split(' ').next().unwrap_or(cell);
    let parts: Vec<&str> = day.split(['-', '/', '.']).collect();
    let number = |part: &str, most: u32| {
        part.len() <= 2 && is_digits(part) && part.parse().is_ok_and(|it| (1..=most).contains(&it))
    };
    let year = |part: &str| matches!(part.len(), 2 | 4) && is_digits(part);
    let month = |part: &str| MONTHS.contains(&part);
    match parts[..] {
        [day, name] if month(name) => number(day, 31),
        [name, at] => month(name) && year(at),
        [day, name, at] if month(name) => number(day, 31) && year(at),
        [from, middle, to] => {
            let is_year_first = from.len() == 4 && year(from) && number(to, 31);
            let is_year_last = to.len() == 4 && year(to) && number(from, 31);
            number(middle, 31) && (is_year_first || is_year_last)
        }
        _ => false,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_seen() {
        for (cell, trace) in [
            ("=\"0002\"", "formula"),
            ("=A1", "formula"),
            ("'0003", "apostrophe"),
            ("####", "no room"),
            ("#NAME?", "no value"),
            ("1.23457E+11", "rounded"),
            ("1,23457E+11", "rounded"),
            ("1E+11", "rounded"),
            ("-2.5E-05", "rounded"),
            ("02-Mar", "date"),
            ("Mar-02", "date"),
            ("02-Mar-26", "date"),
            ("2026-03-02", "date"),
            ("2026-03-02 00:00:00", "date"),
            ("3/2/2026", "date"),
            ("02.03.2026", "date"),
            ("12345.0", "decimal"),
        ] {
            let told = damage(cell).unwrap_or_default();
            assert!(told.contains(trace), "{cell}: {told}");
        }
    }

    #[test]
    fn serials_are_left_alone() {
        for cell in [
            "",
            "0002",
            "SN-0001",
            "12E5",
            "4E10",
            "E+11",
            "12E+11",
            "1E+1",
            "MAR1",
            "02-03",
            "1-2-3",
            "02-MAR",
            "Mar",
            "2026-13",
            "2026-W10-1",
            "123456789012345000",
            "+5",
            "-5",
            "1,2",
            "10000000abcdef01",
            "a.0",
        ] {
            assert_eq!(damage(cell), None, "{cell}");
        }
    }

    #[test]
    fn what_would_run_is_harmless_and_comes_back() {
        for cell in ["=1+1", "+5", "-5", "@x", "\tx", "\rx", "'=x", "''-x", "＝1"] {
            let exported = harmless(cell);
            assert_eq!(exported, format!("'{cell}"));
            assert_eq!(original(&exported), cell);
        }
        for cell in ["", "x=1", "'x", "'", "''", "lamp", "'0003", "5-3"] {
            assert_eq!(harmless(cell), cell);
            assert_eq!(original(cell), cell);
        }
    }
}
