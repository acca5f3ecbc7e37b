//! The calibrations of one baseline, by window length.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calibration::{Calibration, Source};
use super::evidence::{ReferenceWindow, width};
use super::season::{self, Season, Seasonal};
use super::training::{reference_windows, windows_max};
use super::{BLOCKS_MIN, ByLength, Settings};
use crate::baseline::Baseline;
use crate::event::{Span, Timestamp};
use crate::summary::ModelSummary;
use crate::window;

/// What the windows of one baseline are ranked among, and the training rows of its seasons and segments.
#[derive(Debug, Clone, Default)]
pub struct Calibrations {
    seasonal: Option<Seasonal>,
    season_note: String,
    lengths: BTreeMap<Span, Result<Arc<Calibration>, String>>,
}

impl Calibrations {
    /// From the training rows' own timestamps.
    pub fn of_training(baseline: &Baseline, windows: &window::Settings, settings: &Settings) -> Self {
        let (seasonal, season_note) = season::choose(baseline, settings.season);
        let most = windows_max(baseline, windows.windows.len());
        let of_length = |window: &window::WindowSettings| {
            let found = reference_windows(
                baseline,
                *window,
                windows.offset,
                seasonal.as_ref(),
                settings.rows_min,
                most,
            );
            let calibration = found.and_then(|found| {
                let made = Calibration::new(&found, window.length, None, Source::Training);
                made.map(Arc::new).ok_or_else(|| {
                    format!(
                        "the training rows make fewer than {BLOCKS_MIN} windows of {} with at least {} rows (`rows_min`): \
                         give it more rows or longer windows, or set `learn`",
                        window.length, settings.rows_min
                    )
                })
            });
            (window.length, calibration)
        };
        let lengths = windows.windows.iter().map(of_length).collect();
        Self { seasonal, season_note, lengths }
    }

    /// Says why reference windows from elsewhere do not serve, for the lengths that have none.
    pub fn explain(&mut self, why: &str) {
        for held in self.lengths.values_mut() {
            if let Err(reason) = held {
                *reason = why.to_owned();
            }
        }
    }

    /// Takes reference windows from elsewhere for the lengths that the training rows gave none for.
    ///
    /// Windows whose evidence has another width are of another baseline or version of the program, and are
    /// left out.
    pub fn fill(&mut self, baseline: &Baseline, windows: &ByLength, season: Option<Season>, source: Source) {
        let width = width(baseline);
        for (length, windows) in windows {
            let Some(held) = self.lengths.get_mut(length).filter(|held| held.is_err()) else { continue };
            let fits =
                |window: &&ReferenceWindow| window.cells.iter().all(|cell| cell.evidence.len() == width);
            let windows: Vec<ReferenceWindow> = windows.iter().filter(fits).cloned().collect();
            // A profile of the season is of the training rows, which these windows were not compared with.
            if let Some(calibration) = Calibration::new(&windows, *length, season, source) {
                *held = Ok(Arc::new(calibration));
            }
        }
    }

    /// The calibration of a length.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn get(&self, length: Span) -> Result<&Arc<Calibration>, &str> {
        match self.lengths.get(&length) {
            Some(Ok(calibration)) => Ok(calibration),
            Some(Err(why)) => Err(why),
            None => Err("no reference windows of this length"),
        }
    }

    /// The training rows that a window is compared with, if not all of its segment's: those of its season.
    pub fn profile(&self, segment: Option<&str>, start: Timestamp, end: Timestamp) -> Option<ModelSummary> {
        self.seasonal.as_ref()?.profile(segment, start, end)
    }

    /// The season in use.
    pub fn season(&self) -> Option<Season> {
        self.seasonal.as_ref().map(Seasonal::season)
    }

    /// Why this season or none, for people.
    pub fn season_note(&self) -> &str {
        &self.season_note
    }
}
