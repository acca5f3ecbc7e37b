//! False alarms, power and delay in simulated worlds, beside the figures of the design and the peers' rules.
//!
//! `cargo bench --bench calibration -- [section ...]`, by default all: power, null-200, null-1000, null-5000,
//! null-50000, chunks, worlds, ranks, scales, compare. Prints the tables of `src/verdict/figures.md`; the seeds
//! are fixed, so a run prints the same on every machine.

#[path = "../tests/calibration/mod.rs"]
mod kit;

use std::time::Instant;

use driftline::verdict::SeasonSetting;
use kit::SEED;
use kit::interval::clopper_pearson;
use kit::power::{REFERENCE_ROWS, one_feature, power};
use kit::production::Production;
use kit::random::Random;
use kit::rank::{RULES, median};
use kit::rules::{
    ALPHA_RATE, Entry, INDEPENDENT, KS_05, NANNYML, NANNYML_KS, PEERS, Rule, Window, daily_alpha, settings,
    verdict,
};
use kit::scales::{self, LENGTHS, Watched};
use kit::stream::{Change, Life, Plan, Tally, delays, mixed, normals, watch};
use kit::world::{PERSISTENT, SEASONAL, STILL, State, USUAL, WANDERING, Weather, day_start, features};

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let sections: [(&str, fn()); 10] = [
        ("power", print_power),
        ("null-200", || print_null(0)),
        ("null-1000", || print_null(1)),
        ("null-5000", || print_null(2)),
        ("null-50000", || print_null(3)),
        ("chunks", print_chunks),
        ("worlds", print_worlds),
        ("ranks", print_ranks),
        ("scales", print_scales),
        ("compare", print_compare),
    ];
    for (name, section) in sections {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            let start = Instant::now();
            section();
            eprintln!("{name}: {:.0} s", start.elapsed().as_secs_f64());
        }
    }
}

/// A share with its 95 % interval.
fn share(hits: u64, of: u64) -> String {
    let (low, high) = clopper_pearson(hits, of, 0.95);
    format!("{:.3} ({low:.3} to {high:.3})", hits as f64 / of.max(1) as f64)
}

/// So many in thirty days, with the share of days.
fn rate(tally: &Tally) -> String {
    format!("{} ({:.1} %)", short(tally.per_month()), 100.0 * tally.share_of_days())
}

fn short(value: f64) -> String {
    match value {
        _ if value == 0.0 => "0".to_owned(),
        _ if value.is_infinite() => "never".to_owned(),
        _ if value < 10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

fn row(cells: impl IntoIterator<Item = String>) {
    println!("| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
}

fn head(cells: &[&str]) {
    row(cells.iter().map(ToString::to_string));
    row(cells.iter().map(|_| "---".to_owned()));
}

/// A change of the feature, by rows of the window.
type ChangeOf = fn(f64) -> State;

fn print_power() {
    const RUNS: u64 = 4000;
    let mut random = Random::new(SEED, 15);
    let model = one_feature(&mut random);
    let mean: ChangeOf = |rows| State { shift: 2.3 / rows.sqrt(), ..USUAL };
    let scale: ChangeOf = |rows| State { scale: 1.0 + 3.0 / rows.sqrt(), ..USUAL };
    println!("\n### Power at level .05, {REFERENCE_ROWS} training rows, {RUNS} runs each\n");
    head(&["n", "change", "`ks`", "published", "`ad`", "published", "`g`", "published"]);
    let rows: [(u64, &str, ChangeOf, [f64; 3]); 4] = [
        (2_000, "mean + 2.3/√n sd", mean, [0.485, 0.570, 0.22]),
        (2_000, "sd × (1 + 3/√n)", scale, [0.344, 0.698, 0.63]),
        (10_000, "mean + 2.3/√n sd", mean, [0.429, 0.564, 0.18]),
        (10_000, "sd × (1 + 3/√n)", scale, [0.254, 0.621, 0.52]),
    ];
    for (n, name, change, published) in rows {
        let power = power(&model, n, &change(n as f64), 0.05, RUNS, &mut random);
        let mut cells = vec![n.to_string(), name.to_owned()];
        for (seen, published) in power.seen.iter().zip(published) {
            cells.extend([share(*seen, power.runs), published.to_string()]);
        }
        row(cells);
    }
}

/// Rules in the order of `null_month`, each with the published alarms for each of [`NULL_ROWS`].
const NULL_PUBLISHED: [(&str, [&str; 4]); 12] = [
    (KS_05.name, ["121", "121", "122", "127"]),
    (PEERS[1].name, ["1.17", "1.14", "1.19", "1.19"]),
    (PEERS[2].name, ["68.8", "0", "0", "0"]),
    (PEERS[3].name, ["0.19", "0", "0", "0"]),
    (PEERS[4].name, ["211", "0", "0", "0"]),
    (PEERS[5].name, ["79", "0", "0", "0"]),
    (PEERS[6].name, ["889", "40.8", "0.04", "0"]),
    (PEERS[7].name, ["0", "0", "0", "0"]),
    (PEERS[8].name, ["0", "0", "0", "0"]),
    (ALPHA_RATE.name, ["1.09", "0.90", "0.92", "1.09"]),
    ("Driftline, i.i.d. rule without floors", ["-", "-", "-", "-"]),
    ("Driftline, i.i.d. rule", ["-", "-", "-", "-"]),
];

/// Rows of a day.
const NULL_ROWS: [u64; 4] = [200, 1_000, 5_000, 50_000];

fn print_null(size: usize) {
    const MODELS: u64 = 10;
    const DAYS: usize = 100;
    let rows = NULL_ROWS[size];
    let plan = Plan { laws: mixed(), weather: STILL, rows, reference_days: 0 };
    let mut tallies = [Tally::default(); NULL_PUBLISHED.len()];
    for number in 0..MODELS {
        let model = plan.train(&mut Random::new(SEED, 1_700 + number));
        let mut life = plan.start(&model, Random::new(SEED, 17_000 + 100 * rows + number));
        null_month(&mut life, DAYS, &mut tallies);
    }
    println!("\n### Without drift, n = {rows} a day: {MODELS} models of 100 features, {DAYS} days each\n");
    head(&["rule", "alarms per 30 days", "published", "share of days with an alarm (95 %)"]);
    for ((name, published), tally) in NULL_PUBLISHED.iter().zip(&tallies) {
        let days = share(tally.alarm_days, tally.days);
        row([(*name).to_owned(), short(tally.per_month()), published[size].to_owned(), days]);
    }
}

/// The peers' rules, the published one, and ours without and with floors.
fn null_month(life: &mut Life, days: usize, tallies: &mut [Tally]) {
    let mut rules: Vec<Box<dyn Rule>> =
        PEERS.iter().chain([&ALPHA_RATE]).map(|entry| (entry.fit)(&life.model)).collect();
    for _ in 0..days {
        let summary = life.next_day(Change::Nothing);
        let mut alarms = life.judge(&summary, &mut rules);
        let ours = verdict(&life.model, &summary, day_start(0), &settings(), daily_alpha());
        // The window's p-value is over all tests, whatever their effect: the same rule without floors.
        alarms.extend([usize::from(ours.p_value.is_some_and(|p| p <= ours.alpha)), usize::from(ours.alarm)]);
        tallies.iter_mut().zip(alarms).for_each(|(tally, alarms)| tally.add(alarms));
    }
}

fn print_chunks() {
    const MODELS: u64 = 20;
    const DAYS: usize = 20;
    let rules = [NANNYML_KS, NANNYML];
    println!(
        "\n### The threshold of three standard deviations, false alarms per test, n = 1,000, {MODELS} models\n"
    );
    head(&["reference chunks", NANNYML_KS.name, "published", NANNYML.name]);
    for (chunks, published) in [(10, ".053"), (30, ".020")] {
        let plan = Plan { laws: mixed(), weather: STILL, rows: 1_000, reference_days: chunks };
        let model = plan.train(&mut Random::new(SEED, 17));
        let mut tallies = [Tally::default(); 2];
        for number in 0..MODELS {
            let mut life = plan.start(&model, Random::new(SEED, 18_000 + 100 * chunks as u64 + number));
            watch(&mut life, DAYS, &rules, &mut tallies);
        }
        let tests = tallies[0].days * 100;
        let [on_ks, on_js] = tallies.map(|tally| format!("{:.4}", tally.alarms as f64 / tests as f64));
        row([chunks.to_string(), on_ks, published.to_owned(), on_js]);
    }
}

/// Reference windows of the rank rule.
const REFERENCES: [usize; 4] = [60, 90, 180, 365];

/// A world of the second table with what was published for it: the i.i.d. rows, and the rank rule's alarm days
/// and power.
struct World {
    weather: Weather,
    seasonal: bool,
    independent: [&'static str; 2],
    rank: [&'static str; 4],
}

const WORLDS: [World; 4] = [
    World {
        weather: STILL,
        seasonal: false,
        independent: ["151", ".99"],
        rank: ["1.05 / 1.0", ".89 / 1.0", ".91 / 1.0", ".82 / 1.0"],
    },
    World {
        weather: WANDERING,
        seasonal: false,
        independent: ["1,637", "781"],
        rank: ["1.24 / .45", "1.25 / .48", "1.36 / .55", ".99 / .52"],
    },
    World {
        weather: SEASONAL,
        seasonal: true,
        independent: ["2,311", "1,639"],
        rank: [".82 / .92", "1.03 / .96", ".87 / .97", ".84 / .99"],
    },
    World {
        weather: PERSISTENT,
        seasonal: false,
        independent: ["-", "-"],
        rank: ["9.4 / .65", "4.9 / .65", "2.2 / .51", ".90 / .36"],
    },
];

/// What is counted in a world.
#[derive(Default)]
struct Counted {
    independent: [Tally; 3],
    rank: [[Ranked; 4]; RULES.len()],
}

/// A rule that rests on reference windows, with one number of them.
#[derive(Default, Clone, Copy)]
struct Ranked {
    quiet: Tally,
    shifted: Tally,
    /// The quiet days of models whose reference windows bear the budget.
    promised: Tally,
    bears_budget: u64,
    /// The sum of what their reference windows are worth.
    effective: f64,
}

fn print_worlds() {
    const MODELS: u64 = 8;
    const DAYS: usize = 90;
    println!("\n### Worlds that move, n = 5,000 a day: {MODELS} models of 100 normal features\n");
    println!("Alarms per 30 days when nothing has happened, over 30 days a model:\n");
    head(&[
        "world",
        KS_05.name,
        "published",
        ALPHA_RATE.name,
        "published",
        "Driftline, i.i.d. rule: windows (share of days)",
    ]);
    let mut lines = vec![Vec::new(); RULES.len()];
    let mut promises = vec![Vec::new(); RULES.len()];
    for (number, world) in WORLDS.iter().enumerate() {
        let plan = Plan { laws: normals(), weather: world.weather, rows: 5_000, reference_days: 0 };
        let trained = plan.train(&mut Random::new(SEED, 18));
        let mut counted = Counted::default();
        for model in 0..MODELS {
            let life = plan.start(&trained, Random::new(SEED, 180_000 + 1_000 * number as u64 + model));
            live(life, world.seasonal, DAYS, &mut counted);
        }
        let [ks, published_rule, ours] = counted.independent;
        let [known_ks, known_rule] = world.independent.map(ToOwned::to_owned);
        let name = world.weather.name.to_owned();
        row([
            name.clone(),
            short(ks.per_month()),
            known_ks,
            short(published_rule.per_month()),
            known_rule,
            rate(&ours),
        ]);
        for ((lines, promises), ranked) in lines.iter_mut().zip(&mut promises).zip(&counted.rank) {
            let cells = ranked.iter().zip(world.rank);
            let cells = cells.flat_map(|(ranked, known)| [ranked_cell(ranked), known.to_owned()]);
            lines.push([name.clone()].into_iter().chain(cells).collect::<Vec<_>>());
            let cells = ranked.iter().map(|ranked| promise_cell(ranked, MODELS));
            promises.push([name.clone()].into_iter().chain(cells).collect::<Vec<_>>());
        }
    }
    for ((rule, lines), promises) in RULES.iter().zip(lines).zip(promises) {
        println!(
            "\nThe {}, {DAYS} days a model: alarm days per 30 days (95 %) / power for one feature shifted .2 sd \
             for one day:\n",
            rule.flat.name
        );
        head(&["world", "R = 60", "published", "90", "published", "180", "published", "365", "published"]);
        lines.into_iter().for_each(row);
        println!(
            "\nThe {}: in how many of {MODELS} models the promise is made, the mean R_eff, and alarm days per 30 \
             days of these models (95 %):\n",
            rule.flat.name
        );
        head(&["world", "R = 60", "90", "180", "365"]);
        promises.into_iter().for_each(row);
    }
}

fn ranked_cell(ranked: &Ranked) -> String {
    let Ranked { quiet, shifted, .. } = ranked;
    let (low, high) = clopper_pearson(quiet.alarm_days, quiet.days, 0.95);
    format!(
        "{:.2} ({:.2} to {:.2}) / {:.2}",
        quiet.per_month(),
        30.0 * low,
        30.0 * high,
        shifted.share_of_days(),
    )
}

fn promise_cell(ranked: &Ranked, models: u64) -> String {
    let Ranked { promised, bears_budget, effective, .. } = ranked;
    let (low, high) = clopper_pearson(promised.alarm_days, promised.days, 0.95);
    let alarms = if promised.days > 0 {
        format!("; {:.2} ({:.2} to {:.2})", promised.per_month(), 30.0 * low, 30.0 * high)
    } else {
        String::new()
    };
    format!("{bears_budget}, {:.0}{alarms}", effective / models as f64)
}

/// A year of reference, then days that are judged as they are and with one feature shifted.
fn live(mut life: Life, seasonal: bool, days: usize, counted: &mut Counted) {
    let panes: Vec<_> = (0..REFERENCES[3]).map(|_| life.next_day(Change::Nothing)).collect();
    let models = REFERENCES.map(|windows| {
        let first = panes.len() - windows;
        life.model.with_reference(first as i64, panes[first..].to_vec())
    });
    let mut rank = RULES.map(|rule| {
        let entry = if seasonal { rule.weekly } else { rule.flat };
        models.each_ref().map(|model| (entry.fit)(model))
    });
    for (counted, rule) in counted.rank.iter_mut().flatten().zip(rank.iter().flatten()) {
        counted.bears_budget += u64::from(rule.bears_budget());
        counted.effective += rule.effective().unwrap_or(0.0);
    }
    life.model = models[1].clone();
    let mut independent = [KS_05, ALPHA_RATE, INDEPENDENT].map(|entry| (entry.fit)(&life.model));
    for day in 0..days {
        let windows = life.next_day_and(&[Change::Nothing, Change::OneMean(0.2)]);
        let start = day_start(life.today());
        for (counted, rules) in counted.rank.iter_mut().zip(&mut rank) {
            for ((counted, rule), model) in counted.iter_mut().zip(rules).zip(&models) {
                let mut alarms = |summary| rule.alarms(&Window { model, start, summary, measures: &[] });
                let [quiet, shifted] = [0, 1].map(|which| alarms(&windows[which]));
                counted.quiet.add(quiet);
                counted.shifted.add(shifted);
                if rule.bears_budget() {
                    counted.promised.add(quiet);
                }
            }
        }
        if day < 30 {
            let alarms = life.judge(&windows[0], &mut independent);
            counted.independent.iter_mut().zip(alarms).for_each(|(tally, alarms)| tally.add(alarms));
        }
    }
}

/// p-values by rank that are counted on days without drift.
const RANKS: [f64; 4] = [0.05, 0.1, 0.2, 0.5];

fn print_ranks() {
    const MODELS: u64 = 60;
    const DAYS: usize = 40;
    println!(
        "\n### The rank of quiet days, n = 1,000 a day: {MODELS} models of 20 normal features, {DAYS} days each\n"
    );
    println!("Shares of days: found, and what ranks promise.\n");
    head(&["world", "R", "alarms per 30 d (95 %)", "promised", "p <= .05", "p <= .1", "p <= .2", "p <= .5"]);
    let worlds = [
        (STILL, SeasonSetting::None),
        (WANDERING, SeasonSetting::None),
        (SEASONAL, SeasonSetting::DayOfWeek),
    ];
    for (weather, season) in worlds {
        for windows in [60, 90, 180] {
            let plan = Plan { laws: features(20, 0, 0), weather, rows: 1_000, reference_days: windows };
            let trained = plan.train(&mut Random::new(SEED, 77));
            let (mut alarms, mut promised, mut below) = (Tally::default(), 0.0, [0_u64; RANKS.len()]);
            for number in 0..MODELS {
                let stream = 900_000 + 1_000 * windows as u64 + number;
                let mut life = plan.start(&trained, Random::new(SEED, stream));
                let rule = Production::fit(&life.model, season);
                let k = rule.standing().map_or(0, |standing| standing.k);
                promised += k.max(1) as f64 / (windows + 1) as f64 / MODELS as f64;
                for _ in 0..DAYS {
                    let (summary, start) = (life.next_day(Change::Nothing), day_start(life.today()));
                    let window = Window { model: &life.model, start, summary: &summary, measures: &[] };
                    let verdict = rule.verdict(&window);
                    alarms.add(usize::from(verdict.alarm));
                    let p = verdict.ranked.map_or(1.0, |ranked| ranked.p_value);
                    below.iter_mut().zip(RANKS).for_each(|(below, level)| *below += u64::from(p <= level));
                }
            }
            let (low, high) = clopper_pearson(alarms.alarm_days, alarms.days, 0.95);
            let shares = below.iter().zip(RANKS).map(|(below, level)| {
                let due = (level * (windows + 1) as f64).floor() / (windows + 1) as f64;
                format!("{:.3} / {due:.3}", *below as f64 / alarms.days as f64)
            });
            let found = format!("{:.2} ({:.2} to {:.2})", alarms.per_month(), 30.0 * low, 30.0 * high);
            let name = weather.name.to_owned();
            row([name, windows.to_string(), found, format!("{:.2}", 30.0 * promised)]
                .into_iter()
                .chain(shares));
        }
    }
}

fn print_scales() {
    const RUNS: usize = 60;
    const HOURS_MAX: usize = 720;
    const MONTHS: usize = 3;
    let grid = scales::one_feature(&mut Random::new(SEED, 19));
    println!(
        "\n### Windows of 1 h, 6 h, 1 d and 7 d sliding by the hour: median hours to the alarm, {RUNS} runs each\n"
    );
    head(&["change of one feature of 100", "hourly windows only", "published", "four lengths", "published"]);
    let mean = |shift: f64| State { shift, ..USUAL };
    let scale = |scale: f64| State { scale, ..USUAL };
    let changes = [
        ("mean .05 sd", mean(0.05), ["75 % never in 30 d", "25.5"]),
        ("mean .1 sd", mean(0.1), ["104", "7"]),
        ("mean .2 sd", mean(0.2), ["2", "3"]),
        ("mean .5 sd", mean(0.5), ["1", "1"]),
        ("sd × 1.1", scale(1.1), ["never", "24"]),
        ("sd × 1.3", scale(1.3), ["15", "6"]),
    ];
    for (number, (name, state, published)) in changes.into_iter().enumerate() {
        let mut cells = vec![name.to_owned()];
        for (lengths, published) in [&LENGTHS[..1], &LENGTHS[..]].into_iter().zip(published) {
            let mut random = Random::new(SEED, 190 + 10 * number as u64);
            let found: Vec<f64> = (0..RUNS)
                .map(|_| {
                    let model = scales::trained_anew(&grid, &mut random);
                    scales::delay(&model, lengths, &state, HOURS_MAX, &mut random)
                })
                .collect();
            let missed = found.iter().filter(|hours| hours.is_infinite()).count();
            let middle = median(found);
            let middle = if middle.is_finite() { format!("{middle:.1}") } else { "never".to_owned() };
            let often = if missed > 0 {
                format!(" (never in {} % of runs)", 100 * missed / RUNS)
            } else {
                String::new()
            };
            cells.extend([middle + &often, published.to_owned()]);
        }
        row(cells);
    }
    println!("\nWithout drift, over {MONTHS} months of 100 features:\n");
    head(&[
        "windows",
        "alarming windows per 30 d",
        "alarms (runs of alarming hours) per 30 d",
        "published",
        "budget",
    ]);
    for (lengths, name, published) in
        [(&LENGTHS[..1], "hourly only", ".75"), (&LENGTHS[..], "four lengths", ".25")]
    {
        let mut random = Random::new(SEED, 199);
        let (windows, alarms) = quiet_months(&grid, lengths, MONTHS * 100, &mut random);
        let per_month = |count: usize| short(count as f64 / MONTHS as f64);
        row([name.to_owned(), per_month(windows), per_month(alarms), published.to_owned(), "1".to_owned()]);
    }
}

/// Alarming windows and alarms of so many columns for thirty days each.
fn quiet_months(
    grid: &kit::world::Model,
    lengths: &[usize],
    columns: usize,
    random: &mut Random,
) -> (usize, usize) {
    let (mut windows, mut alarms) = (0, 0);
    for _ in 0..columns {
        let model = scales::trained_anew(grid, random);
        let mut watched = Watched::new(&model, lengths, random);
        let mut before = false;
        for _ in 0..720 {
            let alarming = watched.hour(&USUAL, random);
            windows += alarming;
            alarms += usize::from(alarming > 0 && !before);
            before = alarming > 0;
        }
    }
    (windows, alarms)
}

fn print_compare() {
    const MODELS: u64 = 20;
    const DAYS_MAX: usize = 14;
    let changes = [
        ("one feature + .2 sd", Change::OneMean(0.2)),
        ("all + .1 sd", Change::AllMeans(0.1)),
        ("missing .5 % → 5 %", Change::Missing(0.05)),
        ("a new name, 1 %", Change::NewName(0.01)),
    ];
    let mut entries: Vec<Entry> = vec![INDEPENDENT];
    entries.extend(RULES.map(|rule| rule.flat));
    entries.push(NANNYML);
    entries.extend(PEERS);
    for (number, weather) in [STILL, WANDERING].into_iter().enumerate() {
        println!(
            "\n### Side by side in the world \"{}\": n = 5,000 a day, 90 reference days, {MODELS} models\n",
            weather.name
        );
        let plan = Plan { laws: mixed(), weather, rows: 5_000, reference_days: 90 };
        let trained = plan.train(&mut Random::new(SEED, 20));
        let mut tallies = vec![Tally::default(); entries.len()];
        let mut found = vec![vec![Vec::new(); entries.len()]; changes.len()];
        for model in 0..MODELS {
            let life = plan.start(&trained, Random::new(SEED, 200_000 + 1_000 * number as u64 + model));
            watch(&mut life.clone(), 30, &entries, &mut tallies);
            for (found, (_, change)) in found.iter_mut().zip(changes) {
                let days = delays(&mut life.clone(), change, DAYS_MAX, &entries);
                found.iter_mut().zip(days).for_each(|(found, day)| found.push(day));
            }
        }
        let columns = ["rule", "false alarms per 30 d (share of days)"];
        head(&columns.into_iter().chain(changes.iter().map(|(name, _)| *name)).collect::<Vec<_>>());
        for (index, (entry, tally)) in entries.iter().zip(&tallies).enumerate() {
            let delays = found.iter().map(|found| match median(found[index].clone()) {
                days if days.is_infinite() => format!("not in {DAYS_MAX}"),
                days => format!("{days:.0}"),
            });
            row([entry.name.to_owned(), rate(tally)].into_iter().chain(delays));
        }
    }
    println!("\nThe last four columns are the median day, from 1, of the first alarm after the change.");
}
