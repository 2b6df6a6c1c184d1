//! The columns that a list may have, and the names that they go by.

use std::str::FromStr;

use anyhow::{Result, bail};
use firstwake::hardware::Fact;

/// Names of columns that are shown in a sentence at most.
const SHOWN: usize = 8;
/// Characters of such a name at most.
const SHORT: usize = 64;

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Serial,
    Label,
    Fact(Fact),
    /// Passed over.
    Ignored,
    /// Has no name: all its cells have to be empty.
    Nameless,
}

/// `--column serial="Serial Number"`: a column, and its name in the list.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Renamed {
    column: Column,
    name: String,
}

/// Which column a name in a list means.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) renamed: Vec<Renamed>,
    /// Whether columns of other names are passed over.
    pub(super) ignores: bool,
}

impl FromStr for Column {
    type Err = ();

    /// In any case, with spaces or hyphens for underscores.
    fn from_str(name: &str) -> Result<Self, ()> {
        // The usual names, for lists that have them in each line.
        let exact = name.parse().map(Self::Fact);
        if name == "serial" || exact.is_ok() {
            return Ok(exact.unwrap_or(Self::Serial));
        }
        match simplified(name).as_str() {
            "" => Ok(Self::Nameless),
            "serial" => Ok(Self::Serial),
            "label" => Ok(Self::Label),
            name => name.parse().map(Self::Fact).map_err(|_| ()),
        }
    }
}

impl FromStr for Renamed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((column, name)) = text.split_once('=') else {
            return Err("use COLUMN=NAME, such as serial=\"Serial Number\"".to_owned());
        };
        match (column.parse(), name.trim()) {
            (_, "") => Err("the name behind = is empty".to_owned()),
            (Ok(Column::Nameless) | Err(()), _) => {
                Err(format!("a column is one of {}", Names::all()))
            }
            (Ok(column), name) => Ok(Self {
                column,
                name: name.to_owned(),
            }),
        }
    }
}

impl Names {
    /// All columns, in words.
    pub(super) fn all() -> String {
        let facts = Fact::ALL.map(Fact::as_str).join(", ");
        format!("serial, label, {facts}")
    }

    /// The column that a name means, if it means one.
    pub(super) fn column(&self, name: &str) -> Option<Column> {
        let is_meant = |renamed: &&Renamed| is_same(&renamed.name, name);
        if let Some(renamed) = self.renamed.iter().find(is_meant) {
            return Some(renamed.column);
        }
        let found = name.parse().ok();
        // Who names a column does not mean the one of the usual name.
        let is_elsewhere = |column| self.renamed.iter().any(|other| other.column == column);
        match found.filter(|column| !is_elsewhere(*column)) {
            None if self.ignores => Some(Column::Ignored),
            found => found,
        }
    }

    /// The columns that a head names, from the left.
    pub(super) fn columns<'a>(
        &self,
        head: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Vec<Column>> {
        for Renamed { name, .. } in &self.renamed {
            if !head.clone().any(|cell| is_same(cell, name)) {
                bail!(
                    "no column is called {name:?}: the first line names {}",
                    listed(head)
                );
            }
        }
        let found: Vec<Option<Column>> = head.clone().map(|name| self.column(name)).collect();
        let each = || found.iter().zip(head.clone());
        if !found.contains(&Some(Column::Serial)) {
            bail!(
                "no column is called \"serial\": the first line names {}; say which one it is, such as \
                 --column serial=\"Serial Number\", or how the first line is divided, such as \
                 --delimiter ';'",
                listed(head)
            );
        }
        let unknown = each().filter(|(column, _)| column.is_none());
        let unknown: Vec<&str> = unknown.map(|(_, name)| name).collect();
        if !unknown.is_empty() {
            bail!(
                "no column is called {}: columns are {}; say which one it is with --column, or \
                 pass over all of other names with --ignore-columns",
                listed(unknown.into_iter()),
                Self::all()
            );
        }
        let columns: Vec<Column> = found.into_iter().flatten().collect();
        for (place, (column, name)) in columns.iter().zip(head).enumerate() {
            let may_repeat = matches!(column, Column::Ignored | Column::Nameless);
            if !may_repeat && columns[..place].contains(column) {
                bail!("the first line names the column {} twice", short(name));
            }
        }
        Ok(columns)
    }
}

/// A name without the differences between programs: case, spaces, hyphens.
fn simplified(name: &str) -> String {
    let name = name.trim().to_lowercase();
    name.replace([' ', '-', '\u{a0}'], "_")
}

fn is_same(one: &str, other: &str) -> bool {
    simplified(one) == simplified(other)
}

/// Some of the names, in quotes.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut all = names.filter(|name| !name.is_empty());
    let shown: Vec<String> = all.by_ref().take(SHOWN).map(short).collect();
    let more = match all.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    match shown.is_empty() {
        true => "none with a name".to_owned(),
        false => shown.join(", ") + &more,
    }
}

/// As much of a text as is worth showing, in quotes.
fn short(text: &str) -> String {
    let short: String = text.chars().take(SHORT).collect();
    format!("{short:?}")
}
