//! The page as HTML: the template escapes every value; only charts, which are drawn here, are put in as they are.

use askama::Template;

use super::chart;
use super::facts::Facts;
use super::page::{Block, Chart, Figure, Page, Section, Table, Tone};

/// What the template is filled with.
#[derive(Template)]
#[template(path = "page.html", config = "src/cli/report/askama.toml")]
struct Filled<'a> {
    page: &'a Page,
    charts: Vec<(Chart, String)>,
}

impl Filled<'_> {
    /// The chart as SVG; empty when there was nothing to draw.
    fn chart(&self, chart: &Chart) -> &str {
        self.charts.iter().find(|(other, _)| other == chart).map_or("", |(_, svg)| svg)
    }

    fn tone(&self) -> &'static str {
        match self.page.tone {
            Tone::Good => "good",
            Tone::Neutral => "neutral",
            Tone::Bad => "bad",
        }
    }
}

/// Sets the page.
///
/// # Errors
/// When a chart cannot be drawn or the template cannot be filled; either is a defect.
pub(super) fn render(facts: &Facts, page: &Page) -> Result<String, chart::Failed> {
    let blocks = page.sections.iter().flat_map(|section| &section.blocks);
    let wanted = blocks.filter_map(|block| match block {
        Block::Chart { chart, .. } => Some(*chart),
        _ => None,
    });
    let charts = wanted.map(|chart| Ok((chart, chart::svg(chart, facts)?)));
    let charts = charts.collect::<Result<Vec<_>, chart::Failed>>()?;
    Ok(Filled { page, charts }.render()?)
}
