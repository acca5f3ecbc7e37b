//! The service's rule, by the path that the service takes: calibrations of the baseline's own windows, and a
//! verdict by rank among them.

use std::sync::Arc;

use driftline::verdict::{
    Calibration, Calibrations, Measure, SeasonSetting, Settings, Standing, Verdict, WindowSample,
    alpha_per_block, decide_by,
};
use driftline::window::{self, WindowSettings};

use super::rules::{Rule, Window, daily_alpha, settings};
use super::world::{DAY, Model};

/// Verdicts of daily windows by rank.
pub struct Production {
    settings: Settings,
    calibrations: Calibrations,
    /// `None` where the training rows give none; rows are then taken as independent.
    calibration: Option<Arc<Calibration>>,
    share: f64,
}

impl Production {
    /// Learns from the reference windows.
    pub fn fit(model: &Model, season: SeasonSetting) -> Self {
        let settings = Settings { season, ..settings() };
        let daily = vec![WindowSettings { length: DAY, slide: DAY }];
        let windows = window::Settings { windows: daily, ..window::Settings::default() };
        let calibrations = Calibrations::of_training(&model.baseline, &windows, &settings);
        let calibration = calibrations.get(DAY).ok().cloned();
        let share = alpha_per_block(settings.budget, DAY, 1);
        Self { settings, calibrations, calibration, share }
    }

    /// What the reference windows are worth.
    pub fn standing(&self) -> Option<Standing> {
        self.calibration.as_ref().map(|calibration| calibration.standing(self.share))
    }

    /// What the service says of a window.
    pub fn verdict(&self, window: &Window<'_>) -> Verdict {
        let (start, end) = (window.start, window.start + DAY);
        let profile = self.calibrations.profile(None, start, end);
        let measure = Measure {
            reference: profile.as_ref(),
            alpha: daily_alpha(),
            ranking: self.calibration.as_ref().map(|calibration| (&**calibration, self.share)),
            note: None,
        };
        let summary = window.summary;
        let sample = WindowSample { model: "simulated", version: None, segment: None, start, end, summary };
        decide_by(&window.model.baseline, sample, &self.settings, measure).verdict
    }
}

impl Rule for Production {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        usize::from(self.verdict(window).alarm)
    }

    fn bears_budget(&self) -> bool {
        self.standing().is_some_and(|standing| standing.calibrated)
    }

    fn effective(&self) -> Option<f64> {
        self.standing().map(|standing| standing.effective)
    }
}
