//! Worlds in which a model predicts and its truth becomes known.

use driftline::summary::outcome::Task;

use super::random::Random;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Production begins here.
pub const BEGIN: i64 = 20_000 * DAY;

/// Log odds of class 1 are `INTERCEPT + SLOPE·z`, z being standard normal where nothing has changed.
const INTERCEPT: f64 = -1.0;
const SLOPE: f64 = 1.5;

/// A prediction with what came true of it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// When it was predicted, in seconds.
    pub at: i64,
    /// When its truth became known.
    pub known_at: i64,
    /// The score of class 1, or the number that was predicted; NaN where it got lost.
    pub predicted: f64,
    /// The class, 0 or 1, or the true number.
    pub truth: f64,
    /// Number of its segment.
    pub segment: usize,
    /// What is at stake.
    pub amount: f64,
}

/// How the world differs from that of the training rows.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Factor of the slope of the true log odds, and one over that of the errors of a number.
    pub sharpness: f64,
    /// Added to the true log odds, which the scores do not follow, or to a true number.
    pub odds: f64,
    /// Added to z, which the scores follow.
    pub mix: f64,
    /// Share of negative cases that are replaced by further positive ones, scores as for these.
    pub prior: f64,
    /// Share of the records whose score got lost.
    pub fault: f64,
}

pub const NO_CHANGE: Change = Change { sharpness: 1.0, odds: 0.0, mix: 0.0, prior: 0.0, fault: 0.0 };

/// How long labels take, in days on average, by class; an exponential law, 0 where they come at once.
pub type Delay = [f64; 2];

/// How a model's days are.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// Numbers or two classes.
    pub task: Task,
    /// Predictions a day.
    pub rows: i64,
    /// Number of segments.
    pub segments: usize,
    /// Standard deviation of a day's effect on the true log odds, and on the logarithm of the sharpness.
    pub rate: f64,
    pub difficulty: f64,
    /// How much of an effect is left the next day.
    pub phi: f64,
    /// How late labels come.
    pub delay: Delay,
}

/// Two classes, independent rows.
pub const STILL: World = World {
    task: Task::Binary,
    rows: 1_000,
    segments: 1,
    rate: 0.0,
    difficulty: 0.0,
    phi: 0.5,
    delay: [0.0, 0.0],
};

/// The same with days that differ and resemble their neighbours.
pub const RESTLESS: World = World { rate: 0.3, difficulty: 0.15, ..STILL };

/// The days of a world, one after the other.
#[derive(Debug)]
pub struct Days {
    world: World,
    random: Random,
    effects: [f64; 2],
    next: i64,
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl World {
    /// From so many days before production on.
    pub fn days(self, before: i64, random: Random) -> Days {
        let mut days = Days { world: self, random, effects: [0.0; 2], next: -before };
        days.effects = [days.random.normal(), days.random.normal()];
        days
    }
}

impl Days {
    /// The cases of the next day.
    pub fn day(&mut self, change: &Change) -> Vec<Case> {
        let (world, start) = (self.world, BEGIN + self.next * DAY);
        self.next += 1;
        let (rate, sharpness) =
            (world.rate * self.effects[0], change.sharpness * (world.difficulty * self.effects[1]).exp());
        let cases = (0..world.rows).map(|row| {
            let at = start + row * DAY / world.rows;
            match world.task {
                Task::Regression => self.number(at, change, rate, sharpness),
                _ => self.class(at, change, rate, sharpness),
            }
        });
        let cases = cases.collect();
        let fresh = (1.0 - world.phi * world.phi).sqrt();
        self.effects = self.effects.map(|effect| world.phi * effect);
        for effect in &mut self.effects {
            *effect += fresh * self.random.normal();
        }
        cases
    }

    /// So many days.
    pub fn many(&mut self, days: i64, change: &Change) -> Vec<Vec<Case>> {
        (0..days).map(|_| self.day(change)).collect()
    }

    fn case(&mut self, at: i64, predicted: f64, truth: f64, class: usize, change: &Change) -> Case {
        let random = &mut self.random;
        let late = -random.uniform().ln() * self.world.delay[class] * DAY as f64;
        let lost = random.uniform() < change.fault;
        Case {
            at,
            known_at: at + late as i64,
            predicted: if lost { f64::NAN } else { predicted },
            truth,
            segment: (random.uniform() * self.world.segments as f64) as usize,
            amount: (random.normal() * 0.5).exp(),
        }
    }

    fn class(&mut self, at: i64, change: &Change, rate: f64, sharpness: f64) -> Case {
        loop {
            let z = self.random.normal() + change.mix;
            let odds = INTERCEPT + rate + change.odds + sharpness * SLOPE * z;
            let class = usize::from(self.random.uniform() < logistic(odds));
            if class == 1 || self.random.uniform() >= change.prior {
                return self.case(at, logistic(INTERCEPT + SLOPE * z), class as f64, class, change);
            }
        }
    }

    fn number(&mut self, at: i64, change: &Change, rate: f64, sharpness: f64) -> Case {
        let z = self.random.normal() + change.mix;
        let predicted = 50.0 + 10.0 * z;
        let error = (2.0 + z.abs()) / sharpness * self.random.normal() + change.odds + rate;
        self.case(at, predicted, predicted + error, 0, change)
    }
}

/// The law of a world's scores without day effects: area under the ROC curve, by steps of z.
pub fn area(change: &Change) -> f64 {
    let cells = law(change);
    let (positives, negatives): (f64, f64) =
        (cells.iter().map(|c| c.1).sum(), cells.iter().map(|c| c.2).sum());
    let (mut below, mut sum) = (0.0, 0.0);
    for (_, positive, negative) in cells {
        sum += positive * (below + negative / 2.0);
        below += negative;
    }
    sum / positives / negatives
}

/// By score, ascending: the score, and the share of cases of class 1 and 0.
pub fn law(change: &Change) -> Vec<(f64, f64, f64)> {
    const STEPS: i32 = 8_000;
    let cell = |step: i32| {
        let z = f64::from(step) * 10.0 / f64::from(STEPS) - 5.0;
        let weight = (-z * z / 2.0).exp();
        let z = z + change.mix;
        let p = logistic(INTERCEPT + change.odds + change.sharpness * SLOPE * z);
        (logistic(INTERCEPT + SLOPE * z), weight * p, weight * (1.0 - p) * (1.0 - change.prior))
    };
    let cells: Vec<_> = (0..=STEPS).map(cell).collect();
    let all: f64 = cells.iter().map(|(_, positive, negative)| positive + negative).sum();
    cells.into_iter().map(|(score, positive, negative)| (score, positive / all, negative / all)).collect()
}

/// Mean of a loss of score and class in a world without day effects.
pub fn mean_of(change: &Change, loss: impl Fn(f64, usize) -> f64) -> f64 {
    law(change).iter().map(|(score, one, zero)| one * loss(*score, 1) + zero * loss(*score, 0)).sum()
}

/// F1 of decisions at 0.5.
pub fn f1(change: &Change) -> f64 {
    let hit = mean_of(change, |score, class| f64::from(score >= 0.5 && class == 1));
    let wrong = mean_of(change, |score, class| f64::from((score >= 0.5) != (class == 1)));
    2.0 * hit / (2.0 * hit + wrong)
}

/// How blunt the world must be for the area to fall by so much.
pub fn blunt_by(drop: f64) -> Change {
    let (whole, mut low, mut high) = (area(&NO_CHANGE), 0.01, 1.0);
    let of = |sharpness| Change { sharpness, ..NO_CHANGE };
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if area(&of(middle)) < whole - drop { low = middle } else { high = middle }
    }
    of(high)
}
