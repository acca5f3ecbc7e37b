//! A page: what a report says, in order, before it is set as HTML or Markdown.

/// The page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The model.
    pub title: String,
    /// The period, the version, when it was made.
    pub about: String,
    /// What it comes to, in one line.
    pub headline: String,
    /// How it looks.
    pub tone: Tone,
    /// What the headline rests on and what follows from it.
    pub lead: Vec<String>,
    /// The figures that are looked at first.
    pub figures: Vec<Figure>,
    /// The rest.
    pub sections: Vec<Section>,
    /// How to read it.
    pub footer: Vec<String>,
}

/// How serious it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing wrong.
    #[default]
    Good,
    /// To look at.
    Neutral,
    /// Wrong.
    Bad,
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What it is.
    pub label: String,
    /// The number.
    pub value: String,
    /// Interval, source, what it is compared with.
    pub note: String,
}

/// A part of the page that answers one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The question.
    pub title: String,
    /// The answer.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Points.
    List(Vec<String>),
    /// Numbers.
    Table(Table),
    /// A chart, whose content the text or a table beside it has too.
    Chart {
        /// Which.
        chart: Chart,
        /// What it shows, for those who do not see it.
        alt: String,
    },
}

/// A chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// The headline metric over time.
    Metric,
    /// Loss per day and since the change.
    Loss,
    /// The columns that moved.
    Columns,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Heads of the columns, and whether each is set to the right.
    pub head: Vec<(String, bool)>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// What else a reader should know of it; empty for nothing.
    pub note: String,
}

impl Table {
    /// A table without rows.
    pub fn new(head: &[(&str, bool)]) -> Self {
        let head = head.iter().map(|(name, right)| ((*name).to_owned(), *right)).collect();
        Self { head, ..Self::default() }
    }

    /// The cells of a row, each with whether it is set to the right.
    pub fn cells<'a>(&'a self, row: &'a [String]) -> Vec<(&'a str, bool)> {
        let right = self.head.iter().map(|(_, right)| *right).chain(std::iter::repeat(false));
        row.iter().map(String::as_str).zip(right).collect()
    }
}
