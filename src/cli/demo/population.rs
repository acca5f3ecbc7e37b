//! The demo's world: people who ask for credit, what becomes of them, and models that foretell it.

use std::fmt::Write;

use crate::event::Timestamp;

/// What the world is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Climate {
    /// As when the first model was trained.
    Calm,
    /// Prices and interest have risen: people ask for more, owe more, and some live from a kind of work that
    /// the first model never saw. And like cases end differently: who had a loan before was a good customer,
    /// and now has two to pay.
    Inflation,
}

/// A source of random numbers: SplitMix64 (Steele, Lea and Flood 2014). The same seed gives the same demo.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on 0..1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn pick<'a>(&mut self, shares: &[(&'a str, f64)]) -> &'a str {
        let mut rest = self.uniform();
        for (name, share) in shares {
            rest -= share;
            if rest < 0.0 {
                return name;
            }
        }
        shares.last().map_or("", |(name, _)| name)
    }
}

/// A model asks for a security from here on: there the two mistakes of the demo's costs weigh the same.
pub const THRESHOLD: f64 = 0.25;

/// The names of class 1: an outcome's, and a decision's.
pub const POSITIVE: [&str; 2] = ["missed", "secured"];

/// What became of a loan, as labels name it: the first instalment was missed, or paid.
pub fn outcome(missed: bool) -> &'static str {
    if missed { POSITIVE[0] } else { "paid" }
}

/// One request for credit.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    age: f64,
    income: f64,
    loan_amount: f64,
    debt_ratio: f64,
    employment: &'static str,
    region: &'static str,
    has_prior_loan: bool,
    latency_ms: f64,
}

/// Names of the columns, in the order of [`Application::csv`].
pub const CSV_HEADER: &str =
    "timestamp,age,income,loan_amount,debt_ratio,employment,region,has_prior_loan,decision,score,outcome";

impl Application {
    /// Draws one from a world.
    pub fn draw(random: &mut Random, climate: Climate) -> Self {
        let inflation = climate == Climate::Inflation;
        let age = (42.0 + 12.0 * random.normal()).clamp(18.0, 85.0).round();
        let income = (10.5 + 0.45 * random.normal()).exp().round();
        let wish = if inflation { 1.2 } else { 1.0 };
        let loan_amount = (income * (0.1 + 0.5 * random.uniform()) * wish / 100.0).round() * 100.0;
        let owed = 0.5 * random.uniform() * random.uniform() + if inflation { 0.05 } else { 0.0 };
        let debt_ratio = (owed * 1e4).round() / 1e4;
        let work: &[(&str, f64)] = if inflation {
            &[
                ("employed", 0.56),
                ("self_employed", 0.14),
                ("retired", 0.1),
                ("unemployed", 0.09),
                ("gig", 0.11),
            ]
        } else {
            &[("employed", 0.68), ("self_employed", 0.15), ("retired", 0.1), ("unemployed", 0.07)]
        };
        let employment = random.pick(work);
        let region = random.pick(&[("north", 0.2), ("south", 0.35), ("east", 0.15), ("west", 0.3)]);
        let has_prior_loan = random.uniform() < 0.4;
        let latency_ms = (4.0 * (0.35 * random.normal()).exp() * 100.0).round() / 100.0;
        Self { age, income, loan_amount, debt_ratio, employment, region, has_prior_loan, latency_ms }
    }

    /// How likely its first instalment is missed in a climate.
    fn risk(&self, climate: Climate) -> f64 {
        let burden = -4.2
            + 6.0 * self.debt_ratio
            + 5.0 * self.loan_amount / self.income
            + if self.employment == "unemployed" { 1.4 } else { 0.0 };
        let logit = match climate {
            Climate::Calm => burden + if self.has_prior_loan { -1.2 } else { 0.3 },
            Climate::Inflation => {
                let work = if self.employment == "gig" { 1.2 } else { 0.0 };
                burden + work + if self.has_prior_loan { 0.7 } else { -1.0 }
            }
        };
        1.0 / (1.0 + (-logit).exp())
    }

    /// Draws whether the first instalment is missed.
    pub fn is_missed(&self, random: &mut Random, climate: Climate) -> bool {
        random.uniform() < self.risk(climate)
    }

    /// What a model that was trained in a climate says: it has learned the risk as it was there.
    fn score(&self, trained_in: Climate) -> f64 {
        (self.risk(trained_in) * 1e4).round() / 1e4
    }

    fn decision(&self, trained_in: Climate) -> &'static str {
        if self.score(trained_in) >= THRESHOLD { POSITIVE[1] } else { "standard" }
    }

    /// The event that a serving process would send of a model's version, which was trained in a climate.
    pub fn json(&self, id: u64, version: u32, trained_in: Climate, time: Timestamp) -> String {
        let mut out = String::with_capacity(320);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            r#"{{"id":"app-{id}","ts":{},"model":{{"name":"credit","version":"{version}"}},"features":{{"age":{},"income":{},"loan_amount":{},"debt_ratio":{},"employment":"{}","region":"{}","has_prior_loan":{}}},"score":{},"decision":"{}","latency_ms":{}}}"#,
            time.as_micros() / 1000,
            self.age,
            self.income,
            self.loan_amount,
            self.debt_ratio,
            self.employment,
            self.region,
            self.has_prior_loan,
            self.score(trained_in),
            self.decision(trained_in),
            self.latency_ms,
        );
        out
    }

    /// A line of the training file of a model that was trained in a climate.
    pub fn csv(&self, time: Timestamp, trained_in: Climate, missed: bool) -> String {
        format!(
            "{time},{},{},{},{},{},{},{},{},{},{}",
            self.age,
            self.income,
            self.loan_amount,
            self.debt_ratio,
            self.employment,
            self.region,
            self.has_prior_loan,
            self.decision(trained_in),
            self.score(trained_in),
            outcome(missed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_people_and_their_events_are_json() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| Application::draw(&mut random, Climate::Inflation)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for application in draw(3) {
            let event: serde_json::Value =
                serde_json::from_str(&application.json(7, 1, Climate::Calm, Timestamp::default()))
                    .expect("an event is JSON");
            assert_eq!(event["model"]["version"], "1");
            assert_eq!(
                application.csv(Timestamp::default(), Climate::Calm, true).split(',').count(),
                CSV_HEADER.split(',').count()
            );
        }
    }
    #[test]
    fn scores_mean_what_they_say_until_like_cases_end_differently() {
        let apart = |climate, trained_in| {
            let mut random = Random::new(4);
            let people: Vec<Application> = (0..40_000)
                .map(|_| Application::draw(&mut random, climate))
                .filter(|application| application.has_prior_loan)
                .collect();
            let gap = |application: &Application| {
                let missed = application.is_missed(&mut random, climate);
                application.score(trained_in) - f64::from(u8::from(missed))
            };
            (people.iter().map(gap).sum::<f64>() / people.len() as f64).abs()
        };
        assert!(apart(Climate::Calm, Climate::Calm) < 0.015);
        assert!(apart(Climate::Inflation, Climate::Inflation) < 0.015);
        assert!(apart(Climate::Inflation, Climate::Calm) > 0.15);
    }
}
