//! How a budget of false alarms is shared.

use super::Budget;
use crate::event::Span;

/// The share of the budget that one window of one length may spend: a probability.
///
/// A window that closes every `slide` is evaluated `period / slide` times a period; the budget is split
/// evenly over `parts` (the lengths of window, and the early watch if it is on), and over the evaluations of
/// each. By linearity of expectation the expected number of false alarms is then at most the budget, whatever
/// the dependence between windows that overlap.
pub fn alpha_per_window(budget: Budget, slide: Span, parts: usize) -> f64 {
    let evaluations = budget.period.as_secs_f64() / slide.as_secs_f64().max(1e-6);
    let alpha = budget.alarms / (evaluations * parts.max(1) as f64);
    alpha.clamp(0.0, 1.0)
}

/// The share of the budget that one block of windows may spend: windows that overlap and alarm together are
/// one alarm, so a block of one window length is what counts where they are ranked.
pub fn alpha_per_block(budget: Budget, length: Span, parts: usize) -> f64 {
    alpha_per_window(budget, length, parts)
}

/// The level that a window's p-value must stay above to count as quiet.
///
/// It is well above `alpha`, so that an incident does not flap at the border: a window between the two
/// neither alarms nor helps to resolve.
pub fn clear_level(alpha: f64) -> f64 {
    (100.0 * alpha).min(0.05).max(alpha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_over_parts_and_evaluations() {
        let budget = Budget { alarms: 1.0, period: Span::from_secs(30 * 86_400) };
        let daily = alpha_per_window(budget, Span::from_secs(86_400), 1);
        assert!((daily - 1.0 / 30.0).abs() < 1e-12);
        let hourly_of_four = alpha_per_window(budget, Span::from_secs(3600), 4);
        assert!((hourly_of_four - 1.0 / 2880.0).abs() < 1e-12);
        let week_of_four = alpha_per_block(budget, Span::from_secs(7 * 86_400), 4);
        assert!((week_of_four - 7.0 / 120.0).abs() < 1e-12);
        assert!(clear_level(hourly_of_four) > hourly_of_four);
        assert!(clear_level(0.4) >= 0.4);
    }
}
