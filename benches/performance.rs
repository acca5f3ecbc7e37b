//! Is what is said of performance true at its nominal rates? Simulated models, through the service itself.
//!
//! `cargo bench --bench performance -- [section ...]`, by default all: alarms, metrics, segments, power, labels,
//! estimates, money, causes, numbers. Prints the tables of `src/monitor/outcomes/figures.md`; the seeds are fixed,
//! so a run prints the same on every machine. `--models=30` runs thirty in a hundred of the models.

#[path = "../tests/performance_alarms/mod.rs"]
mod kit;

use std::collections::BTreeMap;
use std::time::Instant;

use driftline::event::Span;
use driftline::monitor::PerformanceWindow;
use driftline::performance::{Maturity, Ranged, Settings, Value};
use driftline::summary::outcome::Task;
use kit::SEED;
use kit::interval::clopper_pearson;
use kit::random::Random;
use kit::service::{A_DAY, A_WEEK, BOTH, Service, baseline, settings, value};
use kit::world::{Case, Change, DAY, NO_CHANGE, RESTLESS, STILL, World, area, blunt_by, f1, mean_of};

/// Of a window length: hits and tries of each metric, of the estimate's flag, and the days of alarms.
type OfLength = ([(u64, u64); 5], (u64, u64), Vec<i64>);

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let sections: [(&str, fn()); 9] = [
        ("alarms", print_alarms),
        ("metrics", print_metrics),
        ("segments", print_segments),
        ("power", print_power),
        ("labels", print_labels),
        ("estimates", print_estimates),
        ("money", print_money),
        ("causes", print_causes),
        ("numbers", print_numbers),
    ];
    for (name, section) in sections {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            let start = Instant::now();
            section();
            eprintln!("{name}: {:.0} s", start.elapsed().as_secs_f64());
        }
    }
}

/// So many models as `--models` leaves of these.
fn scaled(models: u64) -> u64 {
    let percent =
        std::env::args().find_map(|argument| argument.strip_prefix("--models=")?.parse::<u64>().ok());
    (models * percent.unwrap_or(100)).div_ceil(100).max(1)
}

/// A share with its 95 % interval.
fn share(hits: u64, of: u64) -> String {
    let (low, high) = clopper_pearson(hits, of, 0.95);
    format!("{:.3} ({low:.3} to {high:.3})", hits as f64 / of.max(1) as f64)
}

fn row(cells: impl IntoIterator<Item = String>) {
    println!("| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
}

fn head(title: &str, cells: &[&str]) {
    println!("\n### {title}\n");
    row(cells.iter().map(ToString::to_string));
    row(cells.iter().map(|_| "---".to_owned()));
}

/// So many models of a world, each trained on so many days and watched for so many.
struct Runs<'a> {
    stream: u64,
    models: u64,
    world: World,
    settings: &'a Settings,
    reference: i64,
    days: i64,
    change: Change,
}

impl Runs<'_> {
    /// Runs them all, two at a time.
    fn each(&self, mut see: impl FnMut(Service, Vec<Vec<Case>>)) {
        let models: Vec<u64> = (0..scaled(self.models)).collect();
        for pair in models.chunks(2) {
            let done: Vec<_> = std::thread::scope(|scope| {
                let handles: Vec<_> = pair.iter().map(|model| scope.spawn(|| self.run(*model))).collect();
                handles.into_iter().map(|handle| handle.join().expect("a run")).collect()
            });
            done.into_iter().for_each(|(service, days)| see(service, days));
        }
    }

    fn run(&self, model: u64) -> (Service, Vec<Vec<Case>>) {
        let mut days = self.world.days(self.reference, Random::new(SEED, self.stream * 10_000 + model));
        let training = days.many(self.reference, &NO_CHANGE);
        let mut service =
            Service::new(self.settings, &baseline(&training, self.settings), self.world.delay != [0.0; 2]);
        let production = days.many(self.days, &self.change);
        production.iter().for_each(|cases| service.day(cases));
        (service, production)
    }
}

/// False alarms of a length of window.
#[derive(Default)]
struct Count {
    judged: u64,
    alarms: u64,
    runs: u64,
    calibrated: u64,
}

impl Count {
    fn see(&mut self, windows: &[&PerformanceWindow]) {
        let mut was_alarm = false;
        for verdict in windows.iter().filter_map(|window| window.verdict.as_ref()) {
            self.judged += 1;
            self.alarms += u64::from(verdict.alarm);
            self.runs += u64::from(verdict.alarm && !was_alarm);
            self.calibrated += u64::from(verdict.calibrated);
            was_alarm = verdict.alarm;
        }
    }

    /// Alarming windows and runs of them in thirty days of windows that close daily.
    fn per_month(&self) -> String {
        let month = |count: u64| 30.0 * count as f64 / self.judged.max(1) as f64;
        let (low, high) = clopper_pearson(self.alarms, self.judged, 0.95);
        format!(
            "{:.2} ({:.2} to {:.2}), {:.2}",
            month(self.alarms),
            30.0 * low,
            30.0 * high,
            month(self.runs)
        )
    }

    fn calibrated(&self) -> String {
        format!("{:.0} %", 100.0 * self.calibrated as f64 / self.judged.max(1) as f64)
    }
}

fn of_length(service: &Service, length: Span, in_segments: bool) -> Vec<&PerformanceWindow> {
    let is_one = |window: &&PerformanceWindow| {
        window.key.length == length && window.key.segment.is_some() == in_segments
    };
    service.windows.iter().filter(is_one).collect()
}

fn alarms_of(runs: &Runs<'_>) -> [String; 5] {
    let (mut day, mut week, mut opened, mut days) = (Count::default(), Count::default(), 0, 0);
    runs.each(|service, _| {
        day.see(&of_length(&service, A_DAY, false));
        week.see(&of_length(&service, A_WEEK, false));
        opened += service.opened("performance");
        days += runs.days;
    });
    [
        day.per_month(),
        day.calibrated(),
        week.per_month(),
        week.calibrated(),
        format!("{:.2}", 30.0 * opened as f64 / days as f64),
    ]
}

const ALARM_COLUMNS: [&str; 5] =
    ["windows of a day", "calibrated", "of a week", "calibrated", "incidents in 30 d (share .50)"];

fn print_alarms() {
    let columns = [&["world", "rows a day", "reference days"], &ALARM_COLUMNS[..]].concat();
    head("False alarms of the area under the ROC curve, in 30 days", &columns);
    let settings = settings(Task::Binary, "roc_auc", &BOTH);
    let mut stream = 100;
    for (name, world) in [("independent", STILL), ("restless days", RESTLESS)] {
        for (rows, models) in [(200, 40), (1_000, 30)] {
            for reference in [30, 90, 180, 365] {
                stream += 1;
                let world = World { rows, ..world };
                let models = if reference > 100 { models / 2 } else { models };
                let runs = Runs {
                    stream,
                    models,
                    world,
                    settings: &settings,
                    reference,
                    days: 120,
                    change: NO_CHANGE,
                };
                let cells = [name.to_owned(), rows.to_string(), reference.to_string()];
                row(cells.into_iter().chain(alarms_of(&runs)));
            }
        }
    }
}

fn print_metrics() {
    let columns = [&["metric", "world", "reference days"], &ALARM_COLUMNS[..]].concat();
    head("False alarms of other metrics, in 30 days", &columns);
    let metrics = [
        (Task::Binary, "brier"),
        (Task::Binary, "log_loss"),
        (Task::Binary, "f1"),
        (Task::Regression, "mae"),
        (Task::Regression, "bias"),
        (Task::Regression, "r2"),
    ];
    for (place, (task, metric)) in metrics.into_iter().enumerate() {
        let settings = settings(task, metric, &BOTH);
        for (name, world) in [("independent", STILL), ("restless days", RESTLESS)] {
            for reference in [60, 180] {
                let world = World { task, ..world };
                let stream = 200 + 10 * place as u64 + reference as u64 / 30;
                let runs = Runs {
                    stream,
                    models: 20,
                    world,
                    settings: &settings,
                    reference,
                    days: 90,
                    change: NO_CHANGE,
                };
                let cells = [metric.to_owned(), name.to_owned(), reference.to_string()];
                row(cells.into_iter().chain(alarms_of(&runs)));
            }
        }
    }
}

fn print_segments() {
    head(
        "False alarms with five segments, in 30 days",
        &[
            "world",
            "rows a day",
            "reference days",
            "all rows, day",
            "all rows, week",
            "any segment, day",
            "any segment, week",
            "incidents in 30 d (share .50)",
        ],
    );
    let settings = settings(Task::Binary, "roc_auc", &BOTH);
    let mut stream = 400;
    for (name, world) in [("independent", STILL), ("restless days", RESTLESS)] {
        for (rows, reference, models) in [(1_500, 60, 20), (1_500, 180, 12), (5_000, 180, 6)] {
            stream += 1;
            let world = World { rows, segments: 5, ..world };
            let runs =
                Runs { stream, models, world, settings: &settings, reference, days: 120, change: NO_CHANGE };
            let mut counts: BTreeMap<(bool, Span), Count> = BTreeMap::new();
            let mut opened = 0;
            runs.each(|service, _| {
                for in_segments in [false, true] {
                    for length in [A_DAY, A_WEEK] {
                        let count = counts.entry((in_segments, length)).or_default();
                        let windows = of_length(&service, length, in_segments);
                        let mut ends: BTreeMap<_, bool> = BTreeMap::new();
                        for window in windows {
                            let alarm = window.verdict.as_ref().is_some_and(|verdict| verdict.alarm);
                            *ends.entry(window.end).or_default() |= alarm;
                        }
                        let mut was = false;
                        for alarm in ends.into_values() {
                            count.judged += 1;
                            count.alarms += u64::from(alarm);
                            count.runs += u64::from(alarm && !was);
                            was = alarm;
                        }
                    }
                }
                opened += service.opened("performance");
            });
            let cells = counts.values().map(Count::per_month);
            let first = [name.to_owned(), rows.to_string(), reference.to_string()];
            let last = format!("{:.2}", 30.0 * opened as f64 / (120 * scaled(models)) as f64);
            row(first.into_iter().chain(cells).chain([last]));
        }
    }
}

fn print_power() {
    head(
        "Days until a fall of the area alarms, 90 days at most: median (share found in 7, 30 and 90 days)",
        &["world", "rows a day", "reference days", "fall .01", ".02", ".05", ".1"],
    );
    let settings = settings(Task::Binary, "roc_auc", &BOTH);
    let mut stream = 500;
    for (name, world) in [("independent", STILL), ("restless days", RESTLESS)] {
        for (rows, reference) in [(200, 60), (1_000, 60), (1_000, 180), (5_000, 180)] {
            let mut cells = vec![name.to_owned(), rows.to_string(), reference.to_string()];
            for drop in [0.01, 0.02, 0.05, 0.1] {
                stream += 1;
                let world = World { rows, ..world };
                let change = blunt_by(drop);
                let models = if rows > 1_000 { 8 } else { 16 };
                let runs = Runs { stream, models, world, settings: &settings, reference, days: 92, change };
                let mut found: Vec<f64> = Vec::new();
                runs.each(|service, days| {
                    let begin = days[0][0].at;
                    let alarms =
                        service.windows.iter().filter(|w| w.verdict.as_ref().is_some_and(|v| v.alarm));
                    let first = alarms.map(|window| window.end.as_micros() / 1_000_000 - begin).min();
                    found.push(first.map_or(f64::INFINITY, |seconds| (seconds as f64 / DAY as f64).round()));
                });
                found.sort_by(f64::total_cmp);
                let within =
                    |days: f64| found.iter().filter(|one| **one <= days).count() as f64 / found.len() as f64;
                cells.push(format!(
                    "{} ({:.2}, {:.2}, {:.2})",
                    found[found.len() / 2],
                    within(7.0),
                    within(30.0),
                    within(90.0)
                ));
            }
            row(cells);
        }
    }
}

// === labels that come late ===

/// What is measured of late labels.
#[derive(Default)]
struct Late {
    windows: u64,
    error: f64,
    squares: f64,
    half_width: f64,
    naive: f64,
    holds_truth: u64,
    holds_final: u64,
}

/// What the labels that are there give, unweighted.
fn naive(cases: &[Case], at: i64, metric: &str) -> f64 {
    let known: Vec<&Case> = cases.iter().filter(|case| case.known_at <= at).collect();
    let n = known.len() as f64;
    let decided = |case: &&&Case| case.predicted >= 0.5;
    let is_one = |case: &&&Case| case.truth == 1.0;
    let hits = known.iter().filter(decided).filter(is_one).count() as f64;
    let decided = known.iter().filter(decided).count() as f64;
    let ones = known.iter().filter(is_one).count() as f64;
    match metric {
        "f1" => 2.0 * hits / (decided + ones),
        "brier" => known.iter().map(|case| (case.predicted - case.truth).powi(2)).sum::<f64>() / n,
        "cost" => ((decided - hits) + 5.0 * (ones - hits)) / n,
        _ => {
            let mut sorted = known;
            sorted.sort_by(|a, b| a.predicted.total_cmp(&b.predicted));
            let (mut below, mut sum) = (0.0, 0.0);
            for case in sorted {
                if case.truth == 1.0 { sum += below } else { below += 1.0 }
            }
            sum / ones / below
        }
    }
}

/// The value of a metric, or the cost, of a reading.
fn value_of(window: &PerformanceWindow, metric: &str) -> Option<Ranged> {
    if metric == "cost" {
        return window.reading.money.as_ref()?.cost;
    }
    let found = window.reading.metric(metric)?;
    Some(Ranged { value: found.value?, low: found.low, high: found.high })
}

fn holds(range: &Ranged, value: f64) -> bool {
    range.low.is_some_and(|low| low <= value) && range.high.is_some_and(|high| value <= high)
}

fn true_cost(change: &Change) -> f64 {
    mean_of(change, |score, class| match (score >= 0.5, class) {
        (true, 0) => 1.0,
        (false, 1) => 5.0,
        _ => 0.0,
    })
}

const LATE: [&str; 4] = ["roc_auc", "f1", "brier", "cost"];

fn truths(change: &Change) -> [f64; 4] {
    let brier = mean_of(change, |score, class| (score - class as f64).powi(2));
    [area(change), f1(change), brier, true_cost(change)]
}

fn print_labels() {
    head(
        "Provisional values of windows of a day, 600 predictions a day, labels by an exponential law",
        &[
            "labels take (class 0, 1)",
            "service",
            "labels there",
            "metric",
            "windows",
            "bias",
            "naive bias",
            "rmse",
            "mean half width",
            "truth in interval",
            "final value in interval",
        ],
    );
    for (place, delay) in [[10.0, 10.0], [7.0, 14.0]].into_iter().enumerate() {
        let world = World { delay, rows: 600, ..STILL };
        let settings = Settings {
            label_delay_max: Span::from_secs(90 * DAY),
            value: Some(value()),
            ..settings(Task::Binary, "roc_auc", &[(A_DAY, A_DAY)])
        };
        let runs = Runs {
            stream: 700 + place as u64,
            models: 10,
            world,
            settings: &settings,
            reference: 30,
            days: 170,
            change: NO_CHANGE,
        };
        let mut table: BTreeMap<(bool, usize, usize), Late> = BTreeMap::new();
        let mut maturities: BTreeMap<Maturity, (u64, f64, f64)> = BTreeMap::new();
        let truths = truths(&NO_CHANGE);
        runs.each(|service, days| {
            let mut last = BTreeMap::new();
            for window in &service.windows {
                if window.reading.maturity == Maturity::Mature {
                    last.insert(window.key.start, window);
                }
            }
            for window in &service.windows {
                let age = window.reading.age.as_secs_f64() / DAY as f64;
                let (count, youngest, oldest) =
                    maturities.entry(window.reading.maturity).or_insert((0, f64::INFINITY, 0.0));
                (*count, *youngest, *oldest) = (*count + 1, youngest.min(age), oldest.max(age));
                let Some(last) = last.get(&window.key.start) else { continue };
                let start = window.key.start.as_micros() / 1_000_000;
                let day = ((start - days[0][0].at) / DAY) as usize;
                // Before that no cohort shows long delays.
                let is_early = window.at.as_micros() / 1_000_000 < days[0][0].at + 45 * DAY;
                if window.reading.maturity != Maturity::Provisional || (day < 60 && !is_early) {
                    continue;
                }
                let band = (window.reading.coverage.unwrap_or(0.0) * 4.0).min(3.0) as usize;
                for (place, metric) in LATE.into_iter().enumerate() {
                    let (Some(found), Some(fin)) = (value_of(window, metric), value_of(last, metric)) else {
                        continue;
                    };
                    let late = table.entry((is_early, band, place)).or_default();
                    let error = found.value - truths[place];
                    late.windows += 1;
                    late.error += error;
                    late.squares += error * error;
                    late.naive +=
                        naive(&days[day], window.at.as_micros() / 1_000_000, metric) - truths[place];
                    late.half_width += (found.high.unwrap_or(f64::NAN) - found.low.unwrap_or(f64::NAN)) / 2.0;
                    late.holds_truth += u64::from(holds(&found, truths[place]));
                    late.holds_final += u64::from(holds(&found, fin.value));
                }
            }
        });
        for ((is_early, band, place), late) in &table {
            let n = late.windows as f64;
            row([
                format!("{} d, {} d", delay[0], delay[1]),
                if *is_early { "up to day 45" } else { "from day 60 on" }.to_owned(),
                format!("{} to {} %", 25 * band, 25 * band + 25),
                LATE[*place].to_owned(),
                late.windows.to_string(),
                format!("{:+.4}", late.error / n),
                format!("{:+.4}", late.naive / n),
                format!("{:.4}", (late.squares / n).sqrt()),
                format!("{:.4}", late.half_width / n),
                share(late.holds_truth, late.windows),
                share(late.holds_final, late.windows),
            ]);
        }
        eprintln!("{delay:?}: {maturities:?}");
    }
}

// === estimates ===

fn print_estimates() {
    head(
        "Estimates without labels (CBPE): realised value within the interval, and windows that call them unreliable",
        &[
            "world",
            "rows a day",
            "length",
            "roc_auc",
            "f1",
            "accuracy",
            "brier",
            "cost",
            "unreliable",
            "first unreliable day (median)",
        ],
    );
    let concept = blunt_by(0.05);
    let mix = Change { mix: 0.5, ..NO_CHANGE };
    let cases = [
        ("independent", STILL, NO_CHANGE),
        ("other mix", STILL, mix),
        ("restless days", RESTLESS, NO_CHANGE),
        ("concept, area -.05", STILL, concept),
    ];
    for (place, (name, world, change)) in cases.into_iter().enumerate() {
        for (rows, models, reference) in [(1_000, 20, 60), (5_000, 6, 60)] {
            let settings = Settings { value: Some(value()), ..settings(Task::Binary, "roc_auc", &BOTH) };
            let stream = 800 + 2 * place as u64 + u64::from(rows > 1_000);
            let world = World { rows, ..world };
            let runs = Runs { stream, models, world, settings: &settings, reference, days: 90, change };
            let mut counts: BTreeMap<Span, OfLength> = BTreeMap::new();
            runs.each(|service, days| {
                for length in [A_DAY, A_WEEK] {
                    let (held, unreliable, firsts) = counts.entry(length).or_default();
                    let windows = of_length(&service, length, false);
                    let mut first = i64::MAX;
                    for window in windows.into_iter().filter(|window| window.revision == 1) {
                        for (place, metric) in ["roc_auc", "f1", "accuracy", "brier"].into_iter().enumerate()
                        {
                            if let Some(holds) =
                                window.reading.metric(metric).and_then(|found| found.estimate_holds)
                            {
                                held[place].0 += u64::from(holds);
                                held[place].1 += 1;
                            }
                        }
                        if let Some(money) = &window.reading.money
                            && let (Some(cost), Some(estimate)) = (money.cost, money.estimated_cost)
                        {
                            held[4].0 += u64::from(self::holds(&estimate, cost.value));
                            held[4].1 += 1;
                        }
                        let reliable = window.reading.estimation.as_ref().is_some_and(|one| one.reliable);
                        unreliable.0 += u64::from(!reliable);
                        unreliable.1 += 1;
                        if !reliable {
                            first = first.min((window.end.as_micros() / 1_000_000 - days[0][0].at) / DAY);
                        }
                    }
                    firsts.push(first);
                }
            });
            for (length, (held, unreliable, mut firsts)) in counts {
                firsts.sort_unstable();
                let middle = firsts[firsts.len() / 2];
                let middle = if middle == i64::MAX { "never".to_owned() } else { middle.to_string() };
                let first = [name.to_owned(), rows.to_string(), length.to_string()];
                let held = held.into_iter().map(|(hits, of)| share(hits, of));
                row(first.into_iter().chain(held).chain([share(unreliable.0, unreliable.1), middle]));
            }
        }
    }
}

// === money ===

fn print_money() {
    head(
        "Loss a day within its interval, the loss since the change, and retraining said to pay where it pays exactly not",
        &[
            "change",
            "basis",
            "windows",
            "truth in interval",
            "said to pay at break-even",
            "accumulated: truth in interval (bias of mean)",
        ],
    );
    let concept = blunt_by(0.05);
    let mix = Change { mix: 0.5, ..NO_CHANGE };
    let late = [7.0, 14.0];
    let cases = [
        ("none", NO_CHANGE, [0.0; 2], 30),
        ("concept", concept, [0.0; 2], 30),
        ("other mix", mix, [0.0; 2], 30),
        ("concept, late labels", concept, late, 110),
    ];
    for (place, (name, change, delay, days)) in cases.into_iter().enumerate() {
        let rows = if delay == late { 1_000 } else { 500 };
        let delta = true_cost(&change) - true_cost(&NO_CHANGE);
        let per_day = rows as f64 * delta;
        let value = Value { retrain_cost: (30.0 * per_day).max(0.0), ..value() };
        let settings = Settings {
            label_delay_max: Span::from_secs(if delay == late { 90 * DAY } else { DAY }),
            value: Some(value),
            ..settings(Task::Binary, "roc_auc", &[(A_DAY, A_DAY)])
        };
        let world = World { rows, delay, ..STILL };
        let models = if delay == late { 10 } else { 80 };
        let runs = Runs {
            stream: 900 + place as u64,
            models,
            world,
            settings: &settings,
            reference: 30,
            days,
            change,
        };
        let mut counts: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        let (mut accumulated, mut bias) = ([0_u64; 2], 0.0);
        runs.each(|service, _| {
            let mut last = None;
            for window in &service.windows {
                let Some(money) = &window.reading.money else { continue };
                let basis = match window.reading.maturity {
                    Maturity::Mature => "realised",
                    Maturity::Provisional => "provisional",
                    Maturity::Waiting => "waiting",
                };
                let mut see = |basis, found: Option<Ranged>, pays: Option<bool>| {
                    if let Some(found) = found {
                        let count = counts.entry(basis).or_default();
                        count[0] += 1;
                        count[1] += u64::from(holds(&found, per_day));
                        count[2] += u64::from(pays.is_some());
                        count[3] += u64::from(pays == Some(true));
                    }
                };
                see(basis, money.loss_per_day, money.retrain_pays);
                let is_estimate = money.loss_per_day.is_none();
                see("estimated", money.estimated_loss_per_day, money.retrain_pays.filter(|_| is_estimate));
                if let (Some(sum), Some(since)) = (money.accumulated, money.since) {
                    let days = (window.end - since).as_secs_f64() / DAY as f64;
                    last = Some((sum, days * per_day));
                }
            }
            if let Some((sum, truth)) = last {
                accumulated[0] += u64::from(holds(&sum, truth));
                accumulated[1] += 1;
                bias += sum.value / truth - 1.0;
            }
        });
        for (basis, [n, held, of, pays]) in counts {
            row([
                name.to_owned(),
                basis.to_owned(),
                n.to_string(),
                share(held, n),
                if of > 0 { share(pays, of) } else { "-".to_owned() },
                if basis == "realised" && accumulated[1] > 0 {
                    format!(
                        "{} ({:+.1} %)",
                        share(accumulated[0], accumulated[1]),
                        100.0 * bias / accumulated[1] as f64
                    )
                } else {
                    "-".to_owned()
                },
            ]);
        }
    }
}

// === causes ===

fn print_causes() {
    head(
        "What is said to be behind an incident: incidents by diagnosis, of so many models",
        &[
            "what happened",
            "labels",
            "kind of incident",
            "models with one",
            "data fault",
            "harmless",
            "harmful",
            "concept",
            "unclear",
        ],
    );
    let cases = [
        ("nothing", NO_CHANGE),
        ("scores lost in 20 %", Change { fault: 0.2, ..NO_CHANGE }),
        ("harmless shift (mix -.3)", Change { mix: -0.3, ..NO_CHANGE }),
        ("harmful shift (mix +.7)", Change { mix: 0.7, ..NO_CHANGE }),
        ("concept (area -.05)", blunt_by(0.05)),
        ("concept (odds +.5)", Change { odds: 0.5, ..NO_CHANGE }),
        ("prior (share of class 1 +)", Change { prior: 0.4, ..NO_CHANGE }),
    ];
    for (place, (name, change)) in cases.into_iter().enumerate() {
        for (labels, delay) in [("at once", [0.0; 2]), ("after 30 d", [30.0; 2])] {
            for metric in ["roc_auc", "brier"] {
                let settings = Settings {
                    label_delay_max: Span::from_secs(if delay[0] > 0.0 { 90 * DAY } else { DAY }),
                    ..settings(Task::Binary, metric, &BOTH)
                };
                let world = World { rows: 2_000, delay, ..STILL };
                let stream = 1_000 + place as u64;
                let runs =
                    Runs { stream, models: 10, world, settings: &settings, reference: 60, days: 14, change };
                let mut table: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
                runs.each(|service, _| {
                    let mut last: BTreeMap<String, &str> = BTreeMap::new();
                    for incident in &service.transitions {
                        let kind = incident.diagnosis.as_ref().map_or("none", |one| one.kind.name());
                        last.insert(incident.kind.clone(), kind);
                    }
                    for (kind, diagnosis) in last {
                        *table.entry(kind).or_default().entry(diagnosis).or_default() += 1;
                    }
                });
                for (kind, counts) in table {
                    let of = |name: &str| counts.get(name).copied().unwrap_or(0).to_string();
                    let all: u64 = counts.values().sum();
                    row([
                        format!("{name}, {metric}"),
                        labels.to_owned(),
                        kind,
                        all.to_string(),
                        of("data_fault"),
                        of("harmless_shift"),
                        of("harmful_shift"),
                        of("concept_change"),
                        of("unclear"),
                    ]);
                }
            }
        }
    }
}

fn print_numbers() {
    head(
        "Estimated errors of numbers, by stratum: realised value within the interval",
        &["world", "rows a day", "length", "mae", "mse", "unreliable"],
    );
    let cases = [("independent", STILL, NO_CHANGE), ("other mix", STILL, Change { mix: 0.7, ..NO_CHANGE })];
    for (place, (name, world, change)) in cases.into_iter().enumerate() {
        for (rows, models) in [(200, 20), (1_000, 20), (5_000, 6)] {
            let settings = settings(Task::Regression, "mae", &BOTH);
            let world = World { rows, task: Task::Regression, ..world };
            let stream = 1_100 + 5 * place as u64 + rows as u64 / 1_000;
            let runs = Runs { stream, models, world, settings: &settings, reference: 60, days: 60, change };
            let mut counts: BTreeMap<Span, [(u64, u64); 3]> = BTreeMap::new();
            runs.each(|service, _| {
                for window in service.windows.iter().filter(|window| window.revision == 1) {
                    let held = counts.entry(window.key.length).or_default();
                    for (place, metric) in ["mae", "mse"].into_iter().enumerate() {
                        if let Some(holds) =
                            window.reading.metric(metric).and_then(|found| found.estimate_holds)
                        {
                            held[place].0 += u64::from(holds);
                            held[place].1 += 1;
                        }
                    }
                    let reliable = window.reading.estimation.as_ref().is_some_and(|one| one.reliable);
                    held[2].0 += u64::from(!reliable);
                    held[2].1 += 1;
                }
            });
            for (length, held) in counts {
                let first = [name.to_owned(), rows.to_string(), length.to_string()];
                row(first.into_iter().chain(held.into_iter().map(|(hits, of)| share(hits, of))));
            }
        }
    }
}
