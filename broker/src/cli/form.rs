//! How an answer is written: words for people, JSON for programs.
//!
//! Every command has both forms. In JSON an answer is one object on one line,
//! and a list one line for each of its items, none if it is empty.

use anyhow::Result;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use firstwake::visible;
use serde::Serialize;

use crate::output::{say, say_json};

/// What `--output` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// Words, and tables where something is listed
    Table,
    /// One JSON object a line
    Json,
}

impl Form {
    /// Writes one answer.
    pub(super) fn tell(self, answer: &impl Serialize, words: &str) -> Result<()> {
        match self {
            Self::Table => say(words),
            Self::Json => say_json(answer),
        }
    }

    /// Writes a whole list.
    pub(super) fn list<T: Row>(self, items: &[T]) -> Result<()> {
        self.pages().add(items)
    }

    /// A list that comes in pages.
    pub(super) fn pages(self) -> Pages {
        Pages {
            form: self,
            widths: None,
        }
    }
}

/// Something that is listed, a row each.
pub(super) trait Row: Serialize {
    /// What its columns are called.
    const COLUMNS: &'static [&'static str];

    /// One text for each column.
    fn cells(&self) -> Vec<String>;
}

/// A list that is written page by page: what came before is forgotten.
pub(super) struct Pages {
    form: Form,
    /// Those of the first page, which the others keep to. Until there is one,
    /// the columns' names are still to be written.
    widths: Option<Vec<u16>>,
}

impl Pages {
    pub(super) fn add<T: Row>(&mut self, page: &[T]) -> Result<()> {
        if self.form == Form::Json {
            return page.iter().try_for_each(say_json);
        }
        if page.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if self.widths.is_none() {
            table.set_header(T::COLUMNS);
        }
        for item in page {
            // One that has lines would be read as several rows.
            let cells = item.cells();
            table.add_row(cells.iter().map(|cell| visible(cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let widths = self
            .widths
            .get_or_insert_with(|| table.column_max_content_widths());
        for (column, width) in table.column_iter_mut().zip(widths) {
            let width = Width::Fixed(width.saturating_add(2));
            column.set_constraint(ColumnConstraint::LowerBoundary(width));
        }
        say(&table.trim_fmt())
    }
}

/// What is known of one thing, a line each.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let widest = fields.iter().map(|(name, _)| name.len()).max();
    let width = widest.unwrap_or_default();
    let line = |(name, value): &(&str, String)| {
        let value = visible(value);
        format!("{name:width$}  {value}")
    };
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is there, or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Words behind one another, or a dash.
pub(super) fn joined(words: &[impl ToString], between: &str) -> String {
    match words {
        [] => "-".to_owned(),
        words => {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            words.join(between)
        }
    }
}
